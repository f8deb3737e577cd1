"""Implicit methods converge with their orders, at steps' ends and inside steps, and are stable where it is stiff."""

from __future__ import annotations

import math

import pytest
import torch

import physode as po
from physode.solvers.methods import METHODS
from physode.solvers.runge_kutta import local_errors, take_step
from tests.solvers.implicit.problems import ADAPTIVE, ALL, Logarithmic

pytestmark = pytest.mark.usefixtures("float64")

ORDERS = {
    "kvaerno3": 3, "kencarp5": 5, "radau5": 5, "rodas5p": 5, "implicit_euler": 1, "implicit_midpoint": 2,
    "trapezoid": 2, "sdirk2": 2, "trbdf2": 2, "radauIIA3": 3, "radauIIA5": 5, "gl4": 4, "gl6": 6,
}  # fmt: skip
DAMPING = [name for name in ALL if name not in ("implicit_midpoint", "trapezoid", "gl4", "gl6")]


def slope(errors):
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize("method", ALL)
def test_the_error_falls_with_the_method_s_order(method):
    """On a problem whose right-hand side depends on time: df/dt counts, too."""
    problem, t = Logarithmic(), torch.tensor([0.0, 1.2])
    few = 24 if ORDERS[method] > 2 else 48
    errors = []
    for steps in (few, 2 * few):
        end = po.solve(problem, problem.exact(t[0]), t, method=method, step_size=1.2 / steps).y[-1]
        errors.append(float((end - problem.exact(t[1])).abs().max()))
    assert METHODS[method].order == ORDERS[method]
    assert slope(errors) == pytest.approx(ORDERS[method], abs=0.3)


@pytest.mark.parametrize("method", ALL)
def test_inside_a_step_the_error_falls_with_the_interpolant_s_order(method):
    problem, start = Logarithmic(), torch.tensor(0.6)
    errors = []
    for h in (0.08, 0.04):
        times = start + h * torch.linspace(0, 1, 11)
        inside = po.solve(problem, problem.exact(start), times, method=method, grid=times[[0, -1]]).y[1:-1]
        errors.append(float((inside - problem.exact(times[1:-1, None]).reshape(-1, 2)).abs().max()))
    assert slope(errors) >= min(METHODS[method].interpolant_order, ORDERS[method]) + 1 - 0.4


@pytest.mark.parametrize("method", ADAPTIVE)
def test_the_error_estimate_falls_with_its_order(method):
    problem, t = Logarithmic(), torch.tensor(0.6)
    errors = []
    for size in (0.03, 0.015):
        h = torch.tensor(size)
        step = take_step(problem, METHODS[method].prepared(rtol=1e-11, atol=1e-12), t, problem.exact(t), h)
        errors.append(float(local_errors(METHODS[method], h, step.ks)[0].abs().max()))
    assert slope(errors) == pytest.approx(METHODS[method].error_order + 1, abs=0.4)


@pytest.mark.parametrize("method", ALL)
def test_a_step_of_size_zero_is_the_identity(method):
    y = torch.tensor([1.3, 0.7])
    assert torch.equal(take_step(Logarithmic(), METHODS[method], torch.tensor(0.5), y, torch.tensor(0.0)).y, y)


@pytest.mark.parametrize("method", ALL)
def test_no_mode_of_the_left_half_plane_grows(method):
    """A-stability, on rotations that decay slowly and steps much longer than a turn."""
    for rate, turn in ((-1e-3, 1.0), (-1.0, 30.0), (-1e4, 1e4)):
        matrix = torch.tensor([[rate, turn], [-turn, rate]])
        step = take_step(lambda t, y: matrix @ y, METHODS[method], 0.0, torch.tensor([1.0, 0.0]), 1.0)  # noqa: B023
        assert float(step.y.norm()) <= 1 + 1e-9


@pytest.mark.parametrize("method", DAMPING)
def test_an_infinitely_stiff_mode_vanishes_in_one_step(method):
    step = take_step(lambda t, y: -1e9 * y, METHODS[method], 0.0, torch.tensor([1.0]), 1.0)
    assert float(step.y.abs()) < 1e-7


@pytest.mark.parametrize("method", ADAPTIVE)
def test_prothero_and_robinson_s_problem_takes_steps_of_the_slow_solution(method):
    """y' = lambda (y - phi) + phi' with lambda = -1e6: the solution phi, between steps as well."""
    sol = po.solve(
        lambda t, y: -1e6 * (y - torch.cos(t)) - torch.sin(t), torch.ones(1), torch.linspace(0, 10, 101),
        method=method, rtol=1e-6, atol=1e-6, max_step=0.1,
    )  # fmt: skip
    assert int(sol.stats.attempts) < 120
    assert float((sol.y[:, 0] - torch.cos(sol.t)).abs().max()) < 5e-5


def test_no_stage_leaves_the_step():
    for name in ALL:
        assert all(0.0 <= node <= 1.0 for node in METHODS[name].c)
