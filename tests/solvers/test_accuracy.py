"""Adaptive solves keep their tolerance.

What a solver controls is the error that one step adds. Three readings of "the error stays near the tolerance" follow:

- every single step, measured against the exact flow from the step's own start, is within 10 times its tolerance
  ``atol + rtol max(|y_i|, |y_{i+1}|)``, in the norm that the solver judges by;
- the error at the end equals that of SciPy's solver of the same pair and controller, at the same tolerances;
- the error at the end falls in proportion to the tolerance, and where the flow does not stretch errors (Lorenz up to
  t = 2, from a start near the attractor) it is within 10 times the tolerance for the methods of order 5 and 8.

On an orbit, errors of the first steps move a body along its path, the further the longer it runs: after a period of
Kepler's ellipse with e = 0.6, or of the figure-eight choreography, the end is up to 300 tolerances off, in SciPy too.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import physode as po
from physode.solvers.step_control import I, Predictive

pytestmark = pytest.mark.usefixtures("float64")

SCIPY = {"bosh3": "RK23", "dopri5": "RK45", "dopri8": "DOP853"}
HIGH = ("dopri5", "tsit5", "dopri8")


class Kepler:
    """Two bodies' relative motion, period 2 pi."""

    period = 2 * math.pi

    def __init__(self, eccentricity):
        e = eccentricity
        self.y0 = torch.tensor([1 - e, 0.0, 0.0, math.sqrt((1 + e) / (1 - e))])

    def __call__(self, t, y):
        r = y[:2]
        return torch.cat([y[2:], -r / (r * r).sum() ** 1.5])


def problem(name):
    """Right-hand side, initial state, end time."""
    if name == "kepler":
        kepler = Kepler(0.6)
        return kepler, kepler.y0, kepler.period
    if name == "figure-eight":
        preset = po.rhs.ThreeBody.find_preset("figure-eight")
        return po.rhs.ThreeBody.from_preset("figure-eight"), torch.tensor(preset.y0), preset.t_end
    return po.rhs.Lorenz(), torch.tensor([1.0, 1.0, 1.0]), 2.0


PROBLEMS = ("kepler", "figure-eight", "lorenz")


def scipy_solution(name, method, rtol, atol):
    f, y0, end = problem(name)

    def numpy_f(t, y):
        return f(torch.tensor(t), torch.from_numpy(y)).numpy()

    return solve_ivp(numpy_f, (0.0, end), y0.numpy(), method=method, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def exact():
    """End states by SciPy's DOP853 near rounding, each made once."""
    made = {}

    def end_state(name):
        if name not in made:
            made[name] = torch.from_numpy(scipy_solution(name, "DOP853", 3e-14, 1e-15).y[:, -1])
        return made[name]

    return end_state


def relative_error(end, reference, tolerance):
    """The largest component's error, in tolerances of the state's size."""
    return float((end - reference).abs().max() / (tolerance * (1 + reference.abs().max())))


def solved(name, method, tolerance, **options):
    f, y0, end = problem(name)
    return po.solve(f, y0, [0.0, end], method=method, rtol=tolerance, atol=tolerance, **options)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
@pytest.mark.parametrize("method", HIGH)
@pytest.mark.parametrize("name", PROBLEMS)
def test_no_step_adds_more_than_ten_times_its_tolerance(name, method, tolerance):
    f, _, _ = problem(name)
    sol = solved(name, method, tolerance, dense=True)
    times = sol.step_times
    states = sol(times)
    worst = 0.0
    chosen = np.unique(np.linspace(0, len(times) - 2, 25).astype(int))
    for i in chosen.tolist():
        ends = times[i : i + 2]
        substeps = torch.linspace(float(ends[0]), float(ends[1]), 9)
        substeps[-1] = ends[1]
        flow = po.solve(f, states[i], ends, method="dopri8", grid=substeps).y[-1]
        scale = tolerance * (1 + torch.maximum(states[i].abs(), states[i + 1].abs()))
        worst = max(worst, float(((states[i + 1] - flow) / scale).square().mean().sqrt()))
    assert worst < 10.0


@pytest.mark.parametrize("method", SCIPY)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_error_at_the_end_is_scipy_s(name, method, exact):
    for tolerance in (1e-4, 1e-6) if method == "bosh3" else (1e-4, 1e-6, 1e-8):
        ours = relative_error(solved(name, method, tolerance, controller=I()).y[-1], exact(name), tolerance)
        end = torch.from_numpy(scipy_solution(name, SCIPY[method], tolerance, tolerance).y[:, -1])
        assert ours == pytest.approx(relative_error(end, exact(name), tolerance), rel=0.05)


@pytest.mark.parametrize("method", SCIPY)
def test_the_steps_are_scipy_s(method):
    """The same pair, first step, controller and norm: the same times, one by one."""
    expected = scipy_solution("lorenz", SCIPY[method], 1e-6, 1e-6).t
    found = solved("lorenz", method, 1e-6, controller=I()).step_times
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-12)


def test_prediction_saves_rejections_and_costs_no_accuracy(exact):
    for tolerance in (1e-4, 1e-6):
        plain, predicted = (solved("kepler", "dopri5", tolerance, controller=rule) for rule in (I(), Predictive()))
        assert int(predicted.stats.rejected) <= 0.5 * int(plain.stats.rejected)
        assert int(predicted.stats.attempts) < 0.95 * int(plain.stats.attempts)
        errors = [relative_error(sol.y[-1], exact("kepler"), tolerance) for sol in (predicted, plain)]
        assert errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize("method", HIGH)
def test_lorenz_ends_within_ten_tolerances(method, exact):
    for exponent in range(4, 11):
        tolerance = 10.0**-exponent
        end = solved("lorenz", method, tolerance).y[-1]
        assert relative_error(end, exact("lorenz"), tolerance) < 10.0


@pytest.mark.parametrize("method", HIGH)
@pytest.mark.parametrize("name", ["kepler", "figure-eight"])
def test_after_a_period_the_error_is_in_proportion_to_the_tolerance(name, method, exact):
    for exponent in range(4, 11):
        tolerance = 10.0**-exponent
        end = solved(name, method, tolerance).y[-1]
        assert relative_error(end, exact(name), tolerance) < 300.0


@pytest.mark.parametrize("name", PROBLEMS)
def test_at_tight_tolerances_it_agrees_with_dop853_to_1e_12(name, exact):
    """Relative to the state's size; DOP853 itself runs at its tightest."""
    f, y0, end = problem(name)
    found = po.solve(f, y0, [0.0, end], method="dopri8", rtol=3e-14, atol=1e-15).y[-1]
    assert float((found - exact(name)).abs().max()) < 1e-12 * float(exact(name).abs().max())


def test_kepler_s_orbit_closes_after_a_period():
    """Independent of any solver: the exact end is the start."""
    f, y0, end = problem("kepler")
    closed = po.solve(f, y0, [0.0, end], method="dopri8", rtol=1e-13, atol=1e-14).y[-1]
    assert float((closed - y0).abs().max()) < 3e-11


@pytest.mark.parametrize("method", HIGH)
def test_outputs_between_steps_are_about_as_good_as_those_at_steps(method):
    """Dense outputs along the orbit against a solve at the tightest tolerance."""
    f, y0, end = problem("kepler")
    times = torch.linspace(0.0, end, 301)
    reference = po.solve(f, y0, times, method="dopri8", rtol=1e-13, atol=1e-14).y
    sol = po.solve(f, y0, times, method=method, rtol=1e-6, atol=1e-6, dense=True)
    at_steps = po.solve(f, y0, sol.step_times, method="dopri8", rtol=1e-13, atol=1e-14).y
    between, at = ((found - true).abs().max() for found, true in ((sol.y, reference), (sol(sol.step_times), at_steps)))
    assert float(between) < 2 * float(at)


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_backward_in_time_the_tolerance_holds_too(method):
    f, y0, end = problem("kepler")
    there = po.solve(f, y0, [0.0, end / 3], method="dopri8", rtol=1e-13, atol=1e-14).y[-1]
    back = po.solve(f, there, [end / 3, 0.0], method=method, rtol=1e-8, atol=1e-8).y[-1]
    assert relative_error(back, y0, 1e-8) < 300.0
