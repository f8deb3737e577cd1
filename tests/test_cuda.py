"""The same answers on a GPU: skipped where there is none."""

from __future__ import annotations

import copy

import pytest
import torch

import physode as po
from physode.sensitivity import sensitivities
from tests.systems import Spiral, van_der_pol

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

GRADIENTS = ["aca", po.ACA(parallel=False), po.ACA(memory="graph"), "naive", "adjoint"]


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "rk4"])
def test_solutions_and_gradients_agree_with_the_cpu(method, gradient):
    found = {}
    for device in ("cpu", "cuda"):
        system = Spiral().to(device)
        y0 = torch.tensor([1.0, 0.5], device=device, requires_grad=True)
        times = torch.linspace(0, 2, 9, device=device)
        y = po.solve(system, y0, times, method=method, gradient=gradient, rtol=1e-9, atol=1e-11).y
        assert y.device.type == device
        found[device] = [y, *torch.autograd.grad(y.square().sum(), [y0, *system.parameters()])]
    for a, b in zip(found["cpu"], found["cuda"], strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_per_sample_steps_and_failures_agree_with_the_cpu(gradient):
    found = {}
    for device in ("cpu", "cuda"):
        mu = torch.linspace(0.1, 5, 7, device=device)[:, None].requires_grad_()
        y0 = torch.tensor([[2.0, 0.0]], device=device).repeat(7, 1)
        sol = po.solve(
            van_der_pol, y0, [0.0, 1.0, 3.0], args=(mu,), step_control="per-sample", gradient=gradient, dense=True
        )
        assert sol.success
        assert sol(0.5).shape == (7, 2)
        found[device] = [sol.y, *torch.autograd.grad(sol.y[-1].sum(), mu)]
    for a, b in zip(found["cpu"], found["cuda"], strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-4, atol=1e-5)
    bad = torch.tensor([[0.1], [float("nan")]], device="cuda")
    sol = po.solve(lambda t, y: y * y, bad, [0.0, 1.0], step_control="per-sample", throw=False)
    assert list(sol.failures) == [1]


def test_sensitivities_agree_with_the_cpu():
    found = {}
    for device in ("cpu", "cuda"):
        system = Spiral().to(device)
        y0 = torch.tensor([1.0, 0.5], device=device)
        found[device] = sensitivities(system, y0, [0.0, 0.7, 2.0], list(system.parameters()), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(found["cuda"].jacobian.cpu(), found["cpu"].jacobian, rtol=1e-7, atol=1e-8)


def test_dropout_and_batch_norm_work():
    layers = [torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)]
    net = torch.nn.Sequential(*layers).cuda()
    sol = po.solve(lambda t, y, net=net: net(y), torch.randn(16, 3, device="cuda"), [0.0, 0.1], rtol=1e-3, atol=1e-3)
    sol.y[-1].sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters())


def agree(solved, rtol=1e-7, atol=1e-9):
    """Check that what ``solved(device)`` returns is the same on both devices."""
    found = {device: solved(device) for device in ("cpu", "cuda")}
    assert all(part.device.type == "cuda" for part in found["cuda"])
    for a, b in zip(found["cpu"], found["cuda"], strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=rtol, atol=atol)


@pytest.mark.parametrize("method", ["rodas5p", "radau5", "kencarp5", "kvaerno3", "auto", "radauIIA5", "trapezoid"])
@pytest.mark.parametrize("step_control", ["shared", "per-sample"])
def test_implicit_methods_agree_with_the_cpu(method, step_control):
    def solved(device):
        mu = torch.linspace(1.0, 30.0, 5, device=device)[:, None].requires_grad_()
        y0 = torch.tensor([[2.0, 0.0]], device=device).repeat(5, 1).requires_grad_()
        times = torch.linspace(0, 1, 21, device=device)
        options = {"args": (mu,), "method": method, "step_control": step_control, "rtol": 1e-8, "atol": 1e-10}
        y = po.solve(van_der_pol, y0, times, **options).y
        return [y.detach(), *torch.autograd.grad(y[-1].sum(), [y0, mu])]

    agree(solved, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("method", "gradient"), [("yoshida4", "mali"), ("leapfrog", "aca"), ("alf", "mali")])
def test_motion_that_conserves_agrees_with_the_cpu(method, gradient):
    def solved(device):
        masses = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
        bodies = po.rhs.NBody(masses.tolist(), G=1.0).to(device)
        y0 = torch.tensor([1.0, 0, 0, -0.5, 0, 0, 0, 1.0, 0, 0, -0.5, 0], device=device, requires_grad=True)
        fixed = {} if method == "alf" else {"step_size": 0.01}
        sol = po.solve(bodies, y0, [0.0, 0.5, 1.0], method=method, gradient=gradient, record="invariants", **fixed)
        return [sol.y.detach(), sol.recorded["energy"].values, *torch.autograd.grad(sol.y[-1].sum(), y0)]

    agree(solved)


def test_events_and_discontinuities_agree_with_the_cpu():
    def solved(device):
        y0 = torch.tensor([[1.0, 0.0], [2.0, 0.0]], device=device, requires_grad=True)
        turn = torch.tensor([1.0, -0.8], device=device)
        floor = po.Event(lambda t, y: y[:, 0], direction=-1, jump=lambda t, y: y * turn)
        pull = torch.tensor([0.0, -9.81], device=device)
        sol = po.solve(
            lambda t, y: torch.stack([y[:, 1], pull[1] * (1 + (t[:, 0] > 0.3))], 1), y0, [0.0, 0.7, 1.5],
            events=floor, jump_t=[0.3], step_control="per-sample",
        )  # fmt: skip
        return [sol.y.detach(), sol.events[0].t.detach(), *torch.autograd.grad(sol.events[0].t.sum(), y0)]

    agree(solved)


def test_bounded_checkpoints_and_sinks_agree_with_the_cpu(tmp_path):
    def solved(device):
        system, y0 = Spiral().to(device), torch.tensor([1.0, 0.5], device=device, requires_grad=True)
        times = torch.linspace(0, 2, 9, device=device)
        y = po.solve(system, y0, times, method="rk4", step_size=0.01, gradient=po.ACA(checkpoints=8)).y
        with torch.no_grad():
            po.solve(system, y0, times, sink=tmp_path / f"{device}.h5")
        written = torch.as_tensor(po.datasets.read_trajectories(tmp_path / f"{device}.h5").y).to(device)
        return [y.detach(), written, *torch.autograd.grad(y.square().sum(), [y0, *system.parameters()])]

    agree(solved)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_fixed_steps_inside_of_torch_compile():
    def solved(device):
        system, y0 = Spiral().to(device), torch.tensor([1.0, 0.5], device=device, requires_grad=True)

        def end(y0):
            return po.solve(system, y0, [0.0, 0.5, 1.0], method="rk4").y

        y = (end if device == "cpu" else torch.compile(end, fullgraph=True))(y0)
        return [y.detach(), *torch.autograd.grad(y.square().sum(), [y0, *system.parameters()])]

    agree(solved)


@pytest.mark.parametrize("method", ["rodas5p", "radau5", "kencarp5", "auto"])
def test_banded_systems_agree_with_the_cpu(method):
    def heat(t, y, rate):
        padded = torch.nn.functional.pad(y, (1, 1))
        return rate * 1e4 * (padded[..., 2:] - 2 * y + padded[..., :-2]) - y**3

    found = {}
    for device in ("cpu", "cuda"):
        rate = torch.tensor(0.5, device=device, requires_grad=True)
        y0 = torch.linspace(0, 3, 99, device=device).sin().repeat(4, 1)
        sol = po.solve(
            heat, y0, [0.0, 0.1], args=(rate,), method=method, jac_structure=("banded", 1, 1),
            step_control="per-sample",
        )  # fmt: skip
        found[device] = [sol.y[-1], *torch.autograd.grad(sol.y[-1].sum(), rate)]
    for a, b in zip(found["cpu"], found["cuda"], strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-8, atol=1e-9)


FUSED_METHODS = ["dopri5", "dopri8", "bosh3", "rk4"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("method", FUSED_METHODS)
def test_fused_solves_agree_with_the_cpu(method, dtype):
    pytest.importorskip("cuda.bindings.nvrtc")

    def solved(device):
        mu = torch.linspace(0.1, 3, 300, device=device, dtype=dtype)[:, None].requires_grad_()
        y0 = torch.tensor([[2.0, 0.0]], device=device, dtype=dtype).repeat(300, 1).requires_grad_()
        times = torch.linspace(0, 2, 9, device=device, dtype=dtype)
        control = {"step_size": 0.02} if method == "rk4" else {"step_control": "per-sample", "rtol": 1e-6, "atol": 1e-6}
        y = po.solve(van_der_pol, y0, times, args=(mu,), method=method, compile=True, **control).y
        return [y.detach(), *torch.autograd.grad(y.square().sum(), [y0, mu])]

    single = dtype == torch.float32
    agree(solved, rtol=1e-2 if single else 1e-6, atol=1e-2 if single else 1e-6)


def test_fused_networks_and_single_samples_agree_with_the_cpu():
    pytest.importorskip("cuda.bindings.nvrtc")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8))

    def solved(device):
        own = copy.deepcopy(net).to(device)
        y0 = torch.linspace(-1, 1, 800, device=device).reshape(100, 8).requires_grad_()
        options = {"rtol": 1e-8, "atol": 1e-8, "compile": True}
        many = po.solve(lambda t, y: own(y), y0, [0.0, 0.4, 1.0], step_control="per-sample", **options).y
        one = po.solve(lambda t, y: own(y), y0[:1], [0.0, 0.4, 1.0], **options).y
        loss = many.square().sum() + one.square().sum()
        return [many.detach(), one.detach(), *torch.autograd.grad(loss, [y0, *own.parameters()])]

    agree(solved)


def test_fused_solves_run_on_the_current_stream():
    pytest.importorskip("cuda.bindings.nvrtc")
    y0 = torch.rand(1000, 3, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.no_grad():
        y = po.solve(lambda t, y: -y, y0, [0.0, 1.0], step_control="per-sample", rtol=1e-9, atol=1e-9, compile=True).y
        end = y[-1] * 2
    torch.cuda.current_stream().wait_stream(stream)
    torch.testing.assert_close(end, 2 * y0 * torch.exp(-torch.ones_like(y0)), rtol=1e-7, atol=1e-8)


def test_samples_that_fail_by_a_kernel_are_those_that_fail_without():
    pytest.importorskip("cuda.bindings.nvrtc")
    y0 = torch.tensor([[1.0], [0.1], [2.0]], device="cuda")
    options = {"step_control": "per-sample", "throw": False, "max_steps": 200}
    by_kernel = po.solve(lambda t, y: y * y, y0, [0.0, 0.25, 0.9, 3.0], compile=True, **options)
    without = po.solve(lambda t, y: y * y, y0, [0.0, 0.25, 0.9, 3.0], compile=False, **options)
    assert torch.equal(by_kernel.status, without.status)
    torch.testing.assert_close(by_kernel.y, without.y, rtol=1e-6, atol=1e-6, equal_nan=True)
