"""The same answers on a GPU: skipped where there is none."""

from __future__ import annotations

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
