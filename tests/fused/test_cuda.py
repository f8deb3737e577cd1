"""Kernels' CUDA source and its launches: the same answers as the libraries for CPUs, on a GPU that is played."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import physode as po
from physode.fused import cuda, fusion, nvrtc, solving
from physode.fused.cache import Cache, cache_folder
from physode.fused.graph import Matrix, Node, Program
from physode.fused.unsupported import Unsupported
from physode.problem.checks import pose
from physode.solvers.driver import Plan
from tests.fused.fake_gpu import FakeGpu

CPU = torch.device("cpu")
STREAM = 1234


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """A GPU in whose memory tensors of the CPU lie; solves go to it."""
    fake = FakeGpu(tmp_path)
    for module in (cuda, nvrtc):
        monkeypatch.setattr(module, "bindings", lambda: fake.bindings)
    monkeypatch.setattr(cuda, "_loaded", {})
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=STREAM))
    monkeypatch.setattr(solving, "_fusions", type(solving._fusions)())
    cuda.gpu.cache_clear()
    yield fake
    cuda.gpu.cache_clear()


def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send solves to the GPU from now on."""
    monkeypatch.setattr(solving, "_fusions", type(solving._fusions)())
    monkeypatch.setattr(fusion, "_compiled", cuda.modules)


def lorenz(t, y, rates):
    x, v, z = y.unbind(-1)
    return torch.stack(
        [rates[0] * (v - x), x * (rates[1] - z) - v, x * v - rates[2] * z + torch.sin(t).squeeze(-1)], -1
    )


def solved(f, y0, t, args, leaves, **options):
    """Return the outputs, the clock and the gradients of a solve."""
    solution = po.solve(f, y0, t, args=args, compile=True, **options)
    weights = torch.linspace(0.5, 1.5, solution.y.numel(), dtype=solution.y.dtype).reshape(solution.y.shape)
    gradients = torch.autograd.grad((solution.y * weights).sum(), leaves)
    return [solution.y.detach(), solution.step_times, solution.stats.accepted, solution.stats.rejected, *gradients]


def agree(found, expected, tolerance=1e-9, clock=1e-6):
    """Compare what :func:`solved` returns; rounding reaches steps' sizes by way of error estimates."""
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        bound = clock if number == 1 else tolerance
        torch.testing.assert_close(one, other, rtol=bound, atol=bound)


@pytest.mark.parametrize(("method", "dtype"), [("dopri5", torch.float64), ("bosh3", torch.float32)])
def test_adaptive_solves_and_their_gradients_are_those_of_the_cpu(fake, monkeypatch, method, dtype):
    y0 = (torch.ones(70, 3, dtype=dtype) + torch.linspace(0, 1, 70, dtype=dtype)[:, None]).requires_grad_()
    rates = torch.tensor([10.0, 28.0, 8 / 3], dtype=dtype, requires_grad=True)
    t = torch.linspace(0, 0.4, 9, dtype=dtype)
    options = {"method": method, "step_control": "per-sample", "rtol": 1e-5, "atol": 1e-5}
    expected = solved(lorenz, y0, t, (rates,), [y0, rates], **options)
    assert not fake.launches
    on_the_gpu(monkeypatch)
    found = solved(lorenz, y0, t, (rates,), [y0, rates], **options)
    if dtype == torch.float64:
        agree(found, expected)
    else:  # by other steps
        agree(found[:1] + found[4:], expected[:1] + expected[4:], 2e-3, 2e-3)
    entries = [entry for entry, *_ in fake.launches]
    assert entries[:2] == ["begin", "walk"]
    assert entries[-1] == "total"
    assert "pull" in entries
    assert {stream for *_, stream in fake.launches} == {STREAM}
    assert not fake.contexts


@pytest.mark.slow
def test_given_steps_and_their_gradients_are_those_of_the_cpu(fake, monkeypatch):
    y0 = torch.rand(40, 3, dtype=torch.float64, requires_grad=True)
    rates = torch.rand(3, dtype=torch.float64, requires_grad=True)
    t = torch.linspace(0, 1, 5, dtype=torch.float64, requires_grad=True)
    leaves = [y0, rates, t]
    expected = solved(lorenz, y0, t, (rates,), leaves, method="rk4", step_size=0.1)
    on_the_gpu(monkeypatch)
    agree(solved(lorenz, y0, t, (rates,), leaves, method="rk4", step_size=0.1), expected)


@pytest.mark.slow
def test_one_sample_and_numbers_of_each_are_those_of_the_cpu(fake, monkeypatch):
    def driven(t, y, mu):
        return torch.cat([y[:, 1:], mu * (1 - y[:, :1] ** 2) * y[:, 1:] - y[:, :1]], 1)

    mu = torch.linspace(0.1, 3, 33, dtype=torch.float64)[:, None].requires_grad_()
    y0 = torch.tensor([[2.0, 0.0]], dtype=torch.float64).repeat(33, 1).requires_grad_()
    t = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)

    def both():
        return (
            solved(driven, y0, t, (mu,), [y0, mu], step_control="per-sample"),
            solved(driven, y0[:1], t, (mu[:1],), [y0, mu]),
        )

    expected = both()
    on_the_gpu(monkeypatch)
    for one, other in zip(both(), expected, strict=True):
        agree(one, other)


@pytest.mark.slow
def test_networks_whose_samples_have_gradients_of_their_own_are_those_of_the_cpu(fake, monkeypatch):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8)).double()
    y0 = torch.linspace(-1, 1, 320, dtype=torch.float64).reshape(40, 8).requires_grad_()
    leaves = [y0, *net.parameters()]

    def f(t, y, net=net):
        return net(y)

    expected = solved(f, y0, [0.0, 0.4, 1.0], (), leaves, step_control="per-sample")
    on_the_gpu(monkeypatch)
    agree(solved(f, y0, [0.0, 0.4, 1.0], (), leaves, step_control="per-sample"), expected)
    assert any("outer<32, 8>" in text for _, text in cuda._loaded)


@pytest.mark.slow
def test_dense_solutions_and_long_records_are_those_of_the_cpu(fake, monkeypatch):
    y0 = torch.tensor([[1.0, 0.0, 2.0], [2.0, 1.0, 1.0]], dtype=torch.float64)
    rates = torch.tensor([10.0, 28.0, 8 / 3], dtype=torch.float64)

    def dense():
        with torch.no_grad():
            solution = po.solve(
                lorenz, y0, [0.0, 8.0], args=(rates,), dense=True, step_control="per-sample", compile=True,
                rtol=1e-7, atol=1e-7, method="dopri8",
            )  # fmt: skip
        assert int(solution.stats.accepted.max()) > 128  # more than a block of the record
        return [solution.y[-1], solution(0.77), solution(3.3)]

    expected = dense()
    on_the_gpu(monkeypatch)
    agree(dense(), expected, 1e-4, 1e-4)  # chaos


def test_grids_leave_no_multiprocessor_idle_and_hold_no_more_than_runs_at_once(fake):
    function = cuda.Function(None, {128: 4, 64: 8, 32: 16})
    gpu = cuda.gpu(CPU)._replace(multiprocessors=10)
    assert cuda._grid("walk", {"active": 100_000}, function, gpu) == (40, 128)
    assert cuda._grid("walk", {"active": 1280}, function, gpu) == (10, 128)
    assert cuda._grid("walk", {"active": 1279}, function, gpu) == (20, 64)
    assert cuda._grid("begin", {"samples": 33, "active": 1}, function, gpu) == (2, 32)
    assert cuda._grid("pull", {"active": 0}, function, gpu) == (0, 32)
    assert cuda._grid("total", {"totals": torch.zeros(7)}, function, gpu) == (7, 128)


def source_of_lorenz():
    y0, rates = torch.ones(2, 3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    problem = pose(lorenz, y0, [0.0, 1.0], args=(rates,), method="euler", step_size=0.5)
    prepared = solving.prepare(problem, Plan(), None)
    return [prepared.fusion.text(prepared.entry)]


def test_what_was_compiled_is_kept_by_compiler_and_architecture(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSODE_CACHE", str(tmp_path / "kept"))
    texts = source_of_lorenz()
    assert not cuda.is_kept(texts, CPU)
    first = cuda.modules(texts, CPU)
    assert cuda.modules(texts, CPU) == first
    assert cuda.is_kept(texts, CPU)
    assert [options for _, options in fake.compiled] == [
        [b"--std=c++20", b"--disable-warnings", b"--gpu-architecture=sm_90"]
    ]
    assert [path.suffix for path, *_ in Cache(cache_folder()).entries()] == [".cubin"]
    monkeypatch.setattr(cuda, "_loaded", {})
    cuda.modules(texts, CPU)  # from disk
    assert len(fake.compiled) == 1
    monkeypatch.setattr(cuda, "_loaded", {})
    fake.capability = (8, 6)
    cuda.gpu.cache_clear()
    cuda.modules(texts, CPU)
    assert fake.compiled[-1][1][-1] == b"--gpu-architecture=sm_80"
    assert Cache(cache_folder()).clear() == 2


def test_newer_gpus_are_compiled_for_by_their_driver_and_older_ones_refused(fake):
    assert nvrtc.target_of(12, 1) == nvrtc.Target(90, native=False)
    assert nvrtc.target_of(12, 1).flag == "--gpu-architecture=compute_90"
    assert nvrtc.target_of(12, 1).suffix == ".ptx"
    assert nvrtc.target_of(8, 9) == nvrtc.Target(80, native=True)
    with pytest.raises(Unsupported, match=r"no GPU of compute capability 7\.0"):
        nvrtc.target_of(7, 0)


def test_what_the_compiler_says_is_in_the_log(fake, caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(Unsupported, match="compiler failed"):
        cuda.modules(["#define ENTRY_WALK_GRID 1\nnothing that is C"], CPU)
    assert "nothing" in caplog.text


def test_refusals_of_the_driver_are_told(fake):
    texts = source_of_lorenz()
    (module,) = cuda.modules(texts, CPU)
    fake.failing = "walk"
    with pytest.raises(RuntimeError, match=r"'walk' was not launched: invalid_value"):
        module.launch("walk", {"samples": 1, "active": 1})
    with pytest.raises(RuntimeError, match=r"argument 'y' is on meta, not on cpu"):
        module.launch("walk", {"samples": 1, "active": 1, "y": torch.empty(3, device="meta")})
    assert not fake.contexts
    with pytest.raises(Unsupported, match="cuModuleLoadData: invalid_image"):
        cuda.CudaModule.load(b"no image", cuda.gpu(CPU))
    assert not fake.contexts


def test_kernels_that_do_not_fit_are_refused(fake):
    texts = source_of_lorenz()
    fake.local_bytes = 2**20
    with pytest.raises(Unsupported, match=r"a thread would take 1,048,576 bytes of its own"):
        cuda.modules(texts, CPU)
    with pytest.raises(Unsupported, match=r"gradients of 10,000 numbers for each of 100,000 samples"):
        cuda.check_gradients(CPU, 100_000, 10_000, 8)
    cuda.check_gradients(CPU, 100_000, 3, 8)


def test_without_cudas_modules_the_reason_says_what_to_install(monkeypatch):
    nvrtc.bindings.cache_clear()
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(Unsupported, match="pip install cuda-bindings"):
        nvrtc.bindings()


def test_right_hand_sides_too_large_for_a_thread_are_refused():
    weights = Node("matvec", (0,), matrix=Matrix(0, 200, 200, 200, 1))
    with pytest.raises(Unsupported, match=r"takes 40,001 operations a sample"):
        cuda.check_program(Program((weights,), (0,), shared=40_000))
