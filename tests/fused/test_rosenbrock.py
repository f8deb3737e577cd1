"""rodas5p by kernels: the uncompiled solve's steps, states and gradients, published solutions, finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import physode as po
from physode.fused.evaluation import evaluate
from physode.fused.inputs import pack_shared
from physode.fused.linearisation import Linearisation
from physode.status import Status
from tests.fused.holding import lowered
from tests.fused.same import assert_same, close, loss_of

pytestmark = pytest.mark.usefixtures("float64")

STIFF = {"method": "rodas5p", "rtol": 1e-6, "atol": 1e-10}


def robertson(t: Tensor, y: Tensor, rates: Tensor) -> Tensor:
    (k1, k2, k3), (a, b, c) = rates.unbind(-1), y.unbind(-1)
    slow, fastest, fast = k1 * a, k2 * b * b, k3 * b * c
    return torch.stack((fast - slow, slow - fast - fastest, fastest), -1)


def driven(t: Tensor, y: Tensor, rates: Tensor) -> Tensor:
    """A stiff linear system that follows the time."""
    (x, v), time = y.unbind(-1), t.reshape(-1) if t.ndim else t
    first = -1000.0 * (x - torch.cos(time)) * rates[..., 0] + v
    return torch.stack((first, rates[..., 1] * (torch.sin(3.0 * time) - v) + x), -1)


def cyclic(t: Tensor, y: Tensor, rates: Tensor) -> Tensor:
    """Each component's derivative is the next one's: rows are exchanged where steps are long."""
    ahead = torch.cat((y[..., 1:], -rates * y[..., :1]), -1)
    return -1e4 * (ahead + 0.1 * y * y)


def van_der_pol(t: Tensor, y: Tensor, rates: Tensor) -> Tensor:
    x, v = y.unbind(-1)
    return torch.stack((v, rates[..., 0] * ((1.0 - x * x) * v) - x), -1)


class Stiff(NamedTuple):
    f: Callable[..., Tensor]
    y0: tuple[float, ...]
    rates: tuple[float, ...]
    times: tuple[float, ...]

    def posed(self, samples: int) -> tuple[Tensor, Tensor, Tensor]:
        """States, rates spread around their own, and times; of one sample without an axis of samples."""
        y0, rates = torch.tensor(self.y0), torch.tensor(self.rates)
        if samples:
            spread = torch.linspace(-0.2, 0.2, samples * len(rates)).reshape(samples, -1)
            y0, rates = y0.repeat(samples, 1), rates * 10.0**spread
        return y0.requires_grad_(), rates.requires_grad_(), torch.tensor(self.times)

    def grid(self, steps: int) -> Tensor:
        """Growing steps, from a millionth of the span."""
        end = self.times[-1]
        ends = torch.logspace(math.log10(1e-6 * end), math.log10(end), steps)
        ends[-1] = end
        return torch.cat((torch.zeros(1), ends))


ROBERTSON = Stiff(robertson, (1.0, 0.0, 0.0), (0.04, 3e7, 1e4), (0.0, 0.3, 40.0, 1e3))
DRIVEN = Stiff(driven, (2.0, 0.0), (1.0, 50.0), (0.0, 0.3, 1.0, 2.0))
CYCLIC_6 = Stiff(cyclic, (1.0, 0.8, 0.9, 1.1, 0.7, 1.0), (1.0,), (0.0, 1e-4, 3e-4))
CYCLIC_11 = Stiff(cyclic, tuple(1.0 + 0.03 * i for i in range(11)), (1.0,), (0.0, 1e-4, 3e-4))
OSCILLATOR = Stiff(van_der_pol, (2.0, 0.0), (1000.0,), (0.0, 100.0, 500.0))


def assert_same_on_grid(problem: Stiff, samples: int, *, steps: int = 40, times_too: bool = False, **options) -> None:
    """On the same steps states and gradients differ by roundings only, each component's beside its own size."""
    y0, rates, times = problem.posed(samples)
    leaves = [y0, rates] + ([times.requires_grad_()] if times_too else [])
    solved = [
        po.solve(
            problem.f, y0, times, args=(rates,), method="rodas5p", grid=problem.grid(steps), compile=compiled, **options
        )
        for compiled in (False, True)
    ]
    expected, found = (sol.y for sol in solved)
    assert ((found - expected).abs() <= 1e-12 * expected.abs().amax((0, 1))).all()
    pairs = zip(*(torch.autograd.grad(loss_of(sol.y), leaves) for sol in solved), strict=True)
    for wanted, gradient in pairs:
        close(gradient / wanted.abs().max(), wanted / wanted.abs().max(), 1e-10)


@pytest.mark.parametrize("control", ["per-sample", "shared"])
def test_states_and_gradients_on_given_steps_are_those_of_the_uncompiled_solve(control):
    assert_same_on_grid(ROBERTSON, 5, step_control=control)


def test_gradients_in_times_and_steps_are_those_of_the_uncompiled_solve_where_the_system_follows_the_time():
    assert_same_on_grid(DRIVEN, 3, times_too=True, step_control="per-sample")


@pytest.mark.parametrize("problem", [CYCLIC_6, pytest.param(CYCLIC_11, marks=pytest.mark.slow)], ids=["6", "11"])
def test_pivots_are_sought_lane_by_lane(problem):
    assert_same_on_grid(problem, 9, steps=8, step_control="per-sample")


@pytest.mark.parametrize("problem", [ROBERTSON, pytest.param(DRIVEN, marks=pytest.mark.slow)], ids=["free", "driven"])
def test_adaptive_steps_of_samples_with_rates_of_their_own_are_those_of_the_uncompiled_solve(problem):
    y0, rates, times = problem.posed(9)
    assert_same(
        problem.f, y0, times, leaves=[y0, rates], args=(rates,), step_control="per-sample", outputs=1e-8, clock=1e-5,
        gradients=1e-7, **STIFF,
    )  # fmt: skip


def test_samples_that_run_out_of_attempts_end_as_in_the_uncompiled_solve():
    y0, rates, times = ROBERTSON.posed(9)
    with torch.no_grad():
        sol = assert_same(
            ROBERTSON.f, y0, times, args=(rates,), step_control="per-sample", outputs=1e-8, clock=1e-5, throw=False,
            max_steps=62, **STIFF,
        )  # fmt: skip
    assert {Status.SUCCESS, Status.MAX_STEPS} == {Status(status) for status in sol.status.tolist()}


@pytest.mark.slow
def test_time_may_fall():
    y0, rates, times = DRIVEN.posed(9)
    falling = (-rates).detach().requires_grad_()
    assert_same(
        driven, y0, times.flip(0), leaves=[y0, falling], args=(falling,), step_control="per-sample", outputs=1e-8,
        clock=1e-5, gradients=1e-7, **STIFF,
    )  # fmt: skip


@pytest.mark.slow
def test_adaptive_steps_on_one_clock_and_the_dense_solution_are_those_of_the_uncompiled_solve():
    y0, rates, times = ROBERTSON.posed(9)
    assert_same(ROBERTSON.f, y0, times, leaves=[y0, rates], args=(rates,), outputs=1e-8, clock=1e-5, **STIFF)
    with torch.no_grad():
        found = assert_same(ROBERTSON.f, y0, times, args=(rates,), outputs=1e-8, clock=1e-5, dense=True, **STIFF)
        expected = po.solve(ROBERTSON.f, y0, times, args=(rates,), dense=True, **STIFF)
        close(found(17.0), expected(17.0), 1e-8)


@pytest.mark.slow
def test_a_relaxation_oscillator_takes_the_uncompiled_solves_steps():
    y0, rates, times = OSCILLATOR.posed(2)
    with torch.no_grad():
        assert_same(
            OSCILLATOR.f, y0, times, args=(rates,), step_control="per-sample", outputs=1e-7, clock=1e-4, **STIFF
        )


def test_a_gradient_is_the_slope_of_the_numerical_solution():
    y0, rates, times = ROBERTSON.posed(5)
    options = {"method": "rodas5p", "grid": ROBERTSON.grid(40), "step_control": "per-sample", "compile": True}

    def loss(rates: Tensor) -> Tensor:
        return loss_of(po.solve(ROBERTSON.f, y0, times, args=(rates,), **options).y[1:] * torch.tensor([1.0, 1e4, 1.0]))

    (gradient,) = torch.autograd.grad(loss(rates), rates)
    with torch.no_grad():
        for i in range(3):
            moved = torch.zeros_like(rates)
            moved[2, i] = 1e-5 * rates[2, i]
            slope = (loss(rates + moved) - loss(rates - moved)) / (2e-5 * rates[2, i])
            assert slope.item() == pytest.approx(gradient[2, i].item(), rel=1e-6)


def test_gradients_can_be_differentiated_in_turn():
    y0, rates, times = ROBERTSON.posed(5)
    options = {"args": (rates,), "method": "rodas5p", "grid": ROBERTSON.grid(40), "step_control": "per-sample"}
    seconds = []
    for more in ({"compile": True}, {"gradient": po.ACA(memory="graph")}):
        (first,) = torch.autograd.grad(
            loss_of(po.solve(ROBERTSON.f, y0, times, **options, **more).y), rates, create_graph=True
        )
        seconds.append(torch.autograd.grad((first * rates.detach()).sum(), rates)[0] * rates.detach())
    close(*seconds, 1e-10)


@pytest.mark.slow
def test_hires_ends_where_the_test_set_says():
    system = po.rhs.Hires()
    preset = system.find_preset("classic")
    end = [
        0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
        0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
    ]  # fmt: skip
    sol = po.solve(
        system, torch.tensor(preset.y0), [0.0, preset.t_end], method="rodas5p", rtol=1e-8, atol=1e-12, compile=True
    )
    close(sol.y[-1] / torch.tensor(end), torch.ones(8), 1e-6)


def test_a_sample_is_the_same_alone_and_among_others_and_for_any_number_of_threads():
    y0, rates, times = ROBERTSON.posed(150)
    options = {"step_control": "per-sample", "compile": True, **STIFF}

    def solved(rows: Tensor) -> tuple[Tensor, Tensor]:
        sol = po.solve(ROBERTSON.f, y0[rows], times, args=(rates[rows],), **options)
        return sol.y.detach(), torch.autograd.grad(sol.y.sum(), rates)[0][rows]

    together = solved(torch.arange(150))
    order = torch.arange(149, -1, -1)
    alone, turned = solved(torch.tensor([7])), solved(order)
    torch.set_num_threads(2)
    by_two = solved(torch.arange(150))
    torch.set_num_threads(1)
    for part, one, back, other in zip(together, alone, turned, by_two, strict=True):
        axis = part.ndim - 2
        assert torch.equal(part.select(axis, 7), one.select(axis, 0))
        assert torch.equal(part.index_select(axis, order), back)
        assert torch.equal(part, other)


def test_single_precision_is_as_exact_as_it_can_be():
    y0, rates, times = DRIVEN.posed(3)
    options = {"method": "rodas5p", "grid": DRIVEN.grid(60), "step_control": "per-sample", "compile": True}
    with torch.no_grad():
        fine = po.solve(driven, y0, times, args=(rates,), **options)
        rough = po.solve(driven, y0.float(), times, args=(rates.float(),), **options)
    assert rough.y.dtype == torch.float32
    close(rough.y.double(), fine.y, 1e-5)


def test_a_matrix_without_an_inverse_ends_the_sample_as_in_the_uncompiled_solve():
    y0, rates = torch.ones(3, 2), torch.tensor([[1.0], [1e20], [-1.0]])  # beside 1e20 the identity does not count
    options = {
        "args": (rates,), "method": "rodas5p", "step_size": 0.5, "step_control": "per-sample", "throw": False,
    }  # fmt: skip
    with torch.no_grad():
        expected, found = (
            po.solve(lambda t, y, k: k * (y + y.flip(-1)), y0, [0.0, 1.0], compile=compiled, **options)
            for compiled in (False, True)
        )
    assert found.status.tolist() == [Status.SUCCESS, Status.NON_FINITE, Status.SUCCESS]
    assert torch.equal(found.status, expected.status)
    close(found.y, expected.y, 1e-13)


def test_derivatives_and_their_gradients_are_those_of_autograd():
    y0, rates, _ = DRIVEN.posed(0)
    case = lowered(driven, y0, (rates,), batch=False)
    linear = Linearisation.of(case.lowered.program)
    shared = pack_shared(case.lowered, case.recorded.inputs, case.recorded.numbers, y0).detach()
    leaves = {"state": y0.detach(), "time": torch.tensor([0.7]), "shared": shared}

    def values(y: Tensor, t: Tensor, k: Tensor) -> Tensor:
        by_state = torch.func.jacrev(driven, argnums=1)(t, y, k)
        by_time = torch.func.jacrev(driven)(t, y, k)
        entries = torch.stack([by_state[row, column] for row, column in linear.entries])
        return torch.cat((entries, by_time[list(linear.drifts)], driven(t, y, k)))

    where = (y0.detach(), torch.tensor(0.7), rates.detach())
    expected, pull = torch.func.vjp(values, *where)
    close(evaluate(linear.program.nodes, leaves, linear.program.outputs), expected, 1e-14)
    cotangent = torch.linspace(0.5, 1.5, len(expected))
    (place,) = (part for part in case.lowered.shared if case.recorded.inputs[part.input] is rates)
    pulled = linear.pullback(time=True, shared=frozenset(range(place.offset, place.offset + 2)), sample="all")
    wanted = [*pulled.state, pulled.time, *(node for _, node in pulled.shared)]
    found = evaluate(pulled.nodes, leaves | {"cotangent": cotangent}, wanted)
    d_y, d_t, d_k = pull(cotangent)
    close(found, torch.cat((d_y, d_t[None], d_k)), 1e-13)


@pytest.mark.parametrize(
    ("size", "options", "reason"),
    [
        (2, {"jac": lambda t, y: -torch.eye(2)}, "user's own"),
        (40, {"jac_structure": ("banded", 1, 1)}, "banded"),
        (33, {}, "too large"),
    ],
)
def test_what_is_not_fused_says_why(size, options, reason):
    with pytest.warns(RuntimeWarning, match=reason):
        po.solve(lambda t, y: -y, torch.ones(size), [0.0, 1.0], compile=True, **STIFF | options)
