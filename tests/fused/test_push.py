"""Sensitivities by kernels, beside those of the eager engine and finite differences."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import physode as po
from physode.errors import SolveError
from physode.fused import forward, tangents
from physode.fused.differentiation import pushforward
from physode.fused.evaluation import evaluate
from physode.fused.graph import Graph, Program
from physode.fused.tangent_map import tangent_map
from physode.problem.checks import pose
from physode.sensitivity import sensitivities
from physode.solvers.driver import Plan
from tests.fused.same import Swing, close

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.cuda_registers import compiled, nvcc

pytestmark = pytest.mark.usefixtures("float64")

TIMES = torch.linspace(0.0, 2.0, 7, dtype=torch.float64)
COARSE = {"method": "bosh3", "rtol": 1e-4, "atol": 1e-5}
Y0 = torch.tensor([[1.0, 0.5], [0.2, -0.8], [-1.5, 0.3]], dtype=torch.float64)


class Driven(nn.Module):
    """A pendulum whose parameters enter by way of others, and one of them not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.logarithms = nn.Parameter(torch.tensor([0.2, -1.0], dtype=torch.float64))
        self.force = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.idle = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, t, y):
        stiffness, friction = self.logarithms.exp().unbind()
        x, v = y[..., :1], y[..., 1:]
        slope = -stiffness * torch.sin(x) - friction * v * v.abs() + self.force * torch.sin(3.0 * t)
        return torch.cat([v, torch.where(x > 0.9, slope - (x - 0.9), slope)], -1)


def both(f, y0, t, parameters, **options):
    """Solve by kernels and without, compare, and return what the kernels found."""
    options = COARSE | options
    found, expected = (sensitivities(f, y0, t, parameters, compile=compiled, **options) for compiled in (True, False))
    close(found.y, expected.y, 1e-11)
    close(found.jacobian, expected.jacobian, 1e-10)
    assert torch.equal(found.accepted, expected.accepted)
    return found


@pytest.fixture(autouse=True)
def _no_fallback(recwarn):
    yield
    assert not [warning for warning in recwarn if "without compilation" in str(warning.message)]


@pytest.mark.parametrize("method", ["bosh3", "heun_euler", "midpoint"])
def test_one_trajectory_with_outputs_inside_and_at_the_ends_of_steps(method):
    f = Driven()
    options = {"method": method} | ({"step_size": 0.15} if method == "midpoint" else {})
    found = both(f, Y0[0], TIMES, list(f.parameters()), initial_state=True, **options)
    assert found.jacobian.shape == (7, 2, 6)
    assert bool((found.jacobian[..., 3] == 0).all())
    both(f, Y0[0], TIMES.flip(0), list(f.parameters()), initial_state=True, **options)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8"])
def test_methods_whose_interpolants_have_coefficients_of_their_own(method):
    f, steps = Driven(), torch.linspace(0.0, 2.0, 9)  # given: rounding in error estimates would move them
    both(f, Y0[0], TIMES, list(f.parameters()), initial_state=True, method=method, grid=steps, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_batches_with_shared_parameters(control):
    f = Driven()
    found = both(f, Y0, TIMES, list(f.parameters()), initial_state=True, step_control=control)
    assert found.jacobian.shape == (7, 3, 2, 6 if control == "per-sample" else 10)
    assert both(f, Y0, TIMES, [f.force], step_control=control).jacobian.shape == (7, 3, 2, 1)


def test_times_of_each_samples_own():
    f, times = Driven(), TIMES[:, None] * torch.tensor([1.0, 0.3, -0.7])
    both(f, Y0, times, list(f.parameters()), initial_state=True, step_control="per-sample")


def test_derivatives_agree_with_finite_differences():
    f, step, tight = Driven(), 1e-6, {"method": "midpoint", "step_size": 0.15}
    found = sensitivities(f, Y0, TIMES, list(f.parameters()), initial_state=True, compile=True, **tight)
    place = 0
    for parameter in f.parameters():
        for element in range(parameter.numel()):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[element] += sign * step
                    ends.append(po.solve(f, Y0, TIMES, **tight).y)
                    parameter.view(-1)[element] -= sign * step
            close(found.jacobian[..., place], (ends[0] - ends[1]) / (2 * step), 1e-8)
            place += 1


def test_parameters_of_each_samples_own():
    def f(t, y, rates, shift, table):
        own = torch.cat([rates * 2.0, shift], -1)
        return torch.stack([own[:, 0] * y[:, 1], -own[:, 1] * y[:, 0] + own[:, 2] * table], -1)

    rates, shift = torch.tensor([[0.5, 1.0], [0.7, 1.5], [0.4, 0.8]]), torch.tensor([[0.1], [0.2], [-0.3]])
    table = torch.tensor([1.0, -1.0, 0.5])
    options = {"args": (rates, shift, table), "sample_args": True, "step_control": "per-sample"}
    found = both(f, Y0, TIMES, [rates, shift], initial_state=True, **options)
    assert found.jacobian.shape == (7, 3, 2, 5)
    assert not rates.requires_grad
    args = rates[1:2], shift[1:2], table[1:2]
    alone = both(f, Y0[1:2], TIMES, [args[1], args[0]], step_control="per-sample", sample_args=True, args=args)
    close(alone.jacobian[:, 0], found.jacobian[:, 1][..., [2, 0, 1]], 1e-12)


@pytest.mark.slow
def test_one_parameter_in_rows_of_all_samples():
    """A shared parameter that reaches each sample by a number of its own: directions differ from sample to sample."""
    scale, loads = torch.tensor([0.7, 1.3]), torch.tensor([[1.0], [2.0], [3.0]])

    def f(t, y, scale, loads):
        return -(scale * loads) * y + 0.1 * y.square()

    both(f, Y0, TIMES, [scale], args=(scale, loads), initial_state=True)
    both(f, Y0, TIMES, [scale], args=(scale, loads), step_control="per-sample", sample_args=[False, True])


def test_samples_that_fail_are_nan_from_there_on():
    swing = Swing()
    y0, c = torch.tensor([[1.0, 0.5], [10.0, 0.5], [0.1, -0.2]]), torch.tensor(0.8)
    options = {"args": (c,), "throw": False, "max_steps": 40}
    for control in ("per-sample", "shared"):
        found = both(swing, y0, TIMES, [swing.rate, c], initial_state=True, step_control=control, **options)
        assert bool(found.jacobian[-1, 1].isnan().all())
    with pytest.raises(SolveError):
        sensitivities(swing, y0, TIMES, [swing.rate, c], args=(c,), compile=True, max_steps=40, **COARSE)


def test_records_of_several_blocks(monkeypatch):
    f = Driven()
    whole = sensitivities(f, Y0, TIMES, list(f.parameters()), initial_state=True, compile=True, **COARSE)
    own = sensitivities(f, Y0, TIMES, [f.force], step_control="per-sample", compile=True, **COARSE)
    monkeypatch.setattr(forward, "_FIRST_ROWS", 3)
    again = sensitivities(f, Y0, TIMES, list(f.parameters()), initial_state=True, compile=True, **COARSE)
    assert torch.equal(again.jacobian, whole.jacobian)
    again = sensitivities(f, Y0, TIMES, [f.force], step_control="per-sample", compile=True, **COARSE)
    assert torch.equal(again.jacobian, own.jacobian)


def test_the_same_bits_for_any_number_of_threads_and_of_columns_a_lane(monkeypatch):
    f, y0 = Driven(), torch.randn(150, 2)
    options = {"initial_state": True, "step_control": "per-sample", "compile": True, **COARSE}
    whole = sensitivities(f, y0, TIMES, list(f.parameters()), **options)
    monkeypatch.setattr(tangents, "threads_for", lambda count: 3)
    assert torch.equal(sensitivities(f, y0, TIMES, list(f.parameters()), **options).jacobian, whole.jacobian)
    monkeypatch.setattr(tangents, "_MOST_COLUMNS", 2)
    assert torch.equal(sensitivities(f, y0, TIMES, list(f.parameters()), **options).jacobian, whole.jacobian)
    alone = sensitivities(f, y0[70:72], TIMES, list(f.parameters()), **options)
    assert torch.equal(alone.jacobian, whole.jacobian[:, 70:72])


@pytest.mark.slow
def test_single_precision():
    f = Driven().float()
    found, expected = (
        sensitivities(f, Y0.float(), TIMES, list(f.parameters()), initial_state=True, compile=compiled, **COARSE)
        for compiled in (True, False)
    )
    assert found.jacobian.dtype == torch.float32
    close(found.jacobian, expected.jacobian, 1e-3)


def test_the_initial_state_alone():
    both(lambda t, y: -torch.sin(y), Y0, TIMES, [], initial_state=True)


def test_a_parameter_that_does_not_require_gradients_is_left_as_it_was():
    f = Driven().requires_grad_(False)
    both(f, Y0, TIMES, [f.force], initial_state=True)
    assert not f.force.requires_grad
    assert f.force.grad is None


def test_a_matrix_of_parameters():
    f = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    both(lambda t, y, *weights: torch.func.functional_call(f, dict(zip(NAMES, weights, strict=True)), y), Y0, TIMES,
         list(f.parameters()), args=tuple(f.parameters()), initial_state=True)  # fmt: skip


NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")


def test_once_and_each_are_the_derivative_together():
    graph = Graph()
    x, y = (graph.leaf("state", d) for d in (0, 1))
    k, q = graph.leaf("shared", 1), graph.leaf("sample", 0)
    first = graph.apply("where", graph.apply("lt", x, y), graph.apply("mul", k, graph.apply("exp", x)), q)
    second = graph.apply("div", graph.apply("sin", graph.apply("mul", q, y)), graph.apply("add", x, k))
    program: Program = graph.program([first, second], shared=2, sample=1)
    leaves = {
        "state": torch.randn(5, 2), "shared": torch.randn(2), "sample": torch.randn(5, 1), "time": torch.zeros(5, 1),
        "tangent": torch.randn(5, 4),
    }  # fmt: skip
    pushed = pushforward(program, shared=(1,), sample=(0,))
    expected = evaluate(pushed.nodes, leaves, pushed.tangents)
    linear = tangent_map(program, shared=(1,), sample=(0,))
    kept = evaluate(linear.once, leaves, linear.kept)
    leaves |= {"kept": kept, "tangent": leaves["tangent"][:, :2], "slot": leaves["tangent"][:, 2:]}
    found = evaluate(linear.each, leaves, linear.tangents)
    close(found, expected, 1e-14)
    assert len(linear.each) < len(pushed.nodes)


@pytest.mark.slow
@pytest.mark.skipif(nvcc() is None, reason="needs nvcc")
@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_the_kernel_compiles_for_cuda_too(method):
    f = Driven()
    with torch.no_grad():
        problem = pose(f, Y0, TIMES, method=method, step_control="per-sample")
        given = tangents.prepare_tangents(problem, Plan(), list(f.parameters()), own=False, initial_state=True)
    assert given.prepared.wanted is not None
    assert set(compiled(given.prepared.fusion.text("push", given.prepared.wanted), "sm_90")) == {"push"}
