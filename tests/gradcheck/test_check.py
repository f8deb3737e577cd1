"""Gradient methods against finite differences, and what the numbers are said to mean."""

from __future__ import annotations

import dataclasses
import weakref

import pytest
import torch
from torch import nn

import physode as po
from physode.cli.rhs_spec import find_target
from physode.errors import SolveError
from physode.gradcheck.advice import Facts, Row, advice
from physode.gradcheck.check import check_gradients, differences, directions
from physode.gradcheck.diagnosis import is_deterministic, peak_bytes, stability, unregistered
from tests.systems import Spiral

pytestmark = pytest.mark.usefixtures("float64")

Y0 = torch.tensor([1.0, 0.5], dtype=torch.float64)
GOOD = Facts(True, (), 3, "float64", 1e-6, 0.1, 1e-7, True, True)


def test_differences_are_derivatives_and_leave_the_tensors_as_they_were():
    x, y = torch.tensor([0.3, -1.2]), torch.tensor([[2.0]])
    along = torch.randn(4, 3)
    found = differences(lambda: x[0].sin() * y[0, 0] ** 3 + x[1].exp(), [x, y], along)
    gradient = torch.stack([torch.cos(x[0]) * 8, x[1].exp(), 12 * x[0].sin()])
    assert torch.allclose(found.values, along @ gradient, rtol=1e-9)
    assert found.unrest < 1e-4
    assert (x.tolist(), y.tolist()) == ([0.3, -1.2], [[2.0]])


def test_differences_across_a_jump_do_not_settle():
    x = torch.zeros(1)
    assert differences(lambda: (x > 1e-4).double().sum() + x.sum(), [x], torch.eye(1)).unrest > 0.1


def test_directions_are_axes_while_they_are_few():
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(directions(3, 4, generator), torch.eye(3))
    many = directions(100, 4, generator)
    assert many.shape == (4, 100)
    assert torch.allclose(many.norm(dim=1), torch.ones(4))


@pytest.mark.slow
def test_aca_and_naive_are_exact_and_the_others_of_the_order_of_the_tolerance():
    found = check_gradients(Spiral(), Y0, torch.linspace(0, 2, 5), gradients=["aca", "adjoint", "naive", "naive-steps"])
    aca, adjoint, naive, steps = found.rows
    assert max(aca.error, naive.error) < 1e-9
    assert aca.error < adjoint.error < 1e-3
    assert aca.error < steps.error < 1e-3
    assert adjoint.peak_bytes < naive.peak_bytes
    assert naive.rhs_backward == 0 < adjoint.rhs_backward
    assert found.facts.parameters == 5
    assert "aca agrees with finite differences" in found.advice[0]


def test_single_precision_is_judged_by_differences_in_double():
    found = check_gradients(Spiral().float(), Y0.float(), torch.linspace(0, 1, 3), gradients=["aca"])
    assert 1e-9 < found.rows[0].error < 1e-4
    assert any("float32" in line for line in found.advice)


def test_a_gradient_that_is_cut_is_found():
    rate = torch.tensor(0.5, requires_grad=True)
    found = check_gradients(lambda t, y: -rate * y * y.detach(), Y0, [0.0, 1.0], gradients=["aca"])
    assert found.rows[0].error_y0 > 0.1
    assert any("does f detach tensors" in line for line in found.advice)
    assert any("no module has registered" in line for line in found.advice)


def test_a_method_that_fails_is_reported_beside_the_others():
    extra = torch.ones((), requires_grad=True)

    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.late = nn.Parameter(torch.ones(()))
            self.extra = weakref.ref(extra)

        def forward(self, t, y):
            return -self.late * y if t < 0.5 else -self.late * self.extra() * y

    found = check_gradients(Growing(), Y0, [0.0, 1.0], gradients=["aca", "naive"])
    assert "its evaluation at the start did not use" in found.rows[0].failure
    assert found.rows[0].error is None
    assert found.advice[0].startswith("aca gave no gradient: the right-hand side uses a tensor")


def test_facts_of_a_right_hand_side():
    weight = torch.ones(2, requires_grad=True)
    t = torch.tensor(0.0)
    assert not is_deterministic(lambda t, y: torch.rand_like(y), t, Y0)
    assert is_deterministic(Spiral(), t, Y0)
    assert unregistered(lambda t, y: weight * y, [weight]) == ((2,),)
    system = Spiral()
    assert unregistered(system, list(system.parameters())) == ()
    options = {"method": "dopri5"}
    steps = torch.linspace(0, 1, 101)
    assert stability(lambda t, y: -200.0 * y, Y0, steps, options) == pytest.approx(2.0)
    assert stability(lambda t, y: 3.0 * y, Y0, steps, options) == 0.0
    assert stability(lambda t, y: -y, torch.ones(300), steps, options) is None


@pytest.mark.parametrize(
    ("rows", "change", "expected"),
    [
        ([], {"deterministic": False}, "put dropout in eval()"),
        ([], {"unrest": 0.1}, "do not settle"),
        ([], {"stability": 2.5}, "the problem is stiff"),
        ([], {"parameters": 0}, "only the initial state was checked"),
        ([], {"dtype": "float32"}, "run again with float64"),
        ([Row("adjoint", 1e-3)], {}, "more than ten times rtol=1e-06"),
        ([Row("naive-steps", 1e-4, 1e-2)], {}, "off by 1.0e-02"),
    ],
)
def test_advice_follows_from_the_numbers(rows, change, expected):
    assert any(expected in line for line in advice(rows, dataclasses.replace(GOOD, **change)))


def test_good_numbers_need_no_advice():
    assert list(advice([Row("adjoint", 1e-6, 1e-6), Row("naive", 1e-9)], GOOD)) == []


def test_the_peak_is_that_of_tensors_alive_together():
    def work():
        first = torch.ones(1000)
        view = first[10:]
        del first
        second = view * 2.0
        del view, second
        torch.ones(500)

    assert peak_bytes(work, torch.device("cpu")) == 1000 * 8 + 990 * 8


def test_complex_states_are_refused():
    with pytest.raises(TypeError, match="`y0` must be one real tensor"):
        check_gradients(lambda t, y: -y, torch.ones(1, dtype=torch.complex128), [0.0, 1.0])


def test_implicit_and_fixed_steps_are_not_called_limited_by_stability():
    stiff = dataclasses.replace(GOOD, stability=100.0)
    assert any("an implicit method takes fewer" in line for line in advice([], stiff))
    assert not any("implicit" in line for line in advice([], dataclasses.replace(stiff, explicit=False)))
    oscillator = po.rhs.SecondOrder(lambda t, q: -q)
    facts = check_gradients(oscillator, Y0, [0.0, 1.0], method="leapfrog", step_size=0.5, gradients=["aca"]).facts
    assert (facts.adaptive, facts.explicit) == (False, False)


def test_parameters_in_single_precision_are_judged_by_differences_in_double():
    class Decay(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(1.3, dtype=torch.float32))

        def forward(self, t, y):
            return -self.rate * y

    assert check_gradients(Decay(), Y0, [0.0, 1.0], gradients=["aca"]).rows[0].error < 1e-6


@pytest.mark.slow
def test_concentrations_of_zero_and_rates_far_apart_have_differences():
    """Beside them, steps of a size for all would make one negative: Robertson's problem has no solution there."""
    found = check_gradients(
        find_target("robertson").f.double(),
        torch.tensor([1.0, 0.0, 0.0]),
        [0.0, 1.0],
        method="rodas5p",
        gradients=["aca"],
    )
    assert found.rows[0].error_y0 < 1e-5
    assert found.rows[0].error_parameters < 1e-5


def test_a_solve_that_fails_beside_the_state_is_named():
    f = lambda t, y: torch.where(y == 1.0, -y, torch.nan * y)  # noqa: E731
    with pytest.raises(SolveError, match="finite differences cannot be taken"):
        check_gradients(f, torch.ones(1), [0.0, 1.0], method="euler", step_size=1.0, gradients=["aca"])


def test_progress_and_limits_of_time_are_passed_on():
    told = []
    found = check_gradients(lambda t, y: -y, torch.ones(2), [0.0, 1.0], progress=told.append, max_seconds=100.0)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert all(row.failure is None for row in found.rows)
    with pytest.raises(SolveError, match="wall-clock time"):
        check_gradients(lambda t, y: -y * torch.cos(40 * t), torch.ones(2), [0.0, 1e6], max_seconds=0.05)


def test_integers_are_no_state():
    with pytest.raises(TypeError, match=r"floating-point numbers, got torch\.int64"):
        check_gradients(lambda t, y: -y, torch.ones(2, dtype=torch.int64), [0.0, 1.0])
