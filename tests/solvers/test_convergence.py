"""Every method's order: of its steps, of its error estimate, and of its interpolant.

Measured on nonlinear, non-autonomous problems with exact solutions, and derived from the coefficients by the order
conditions of all rooted trees.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

import physode as po
from physode.problem.checks import checked_method
from physode.solvers.clock import error_ratio
from physode.solvers.runge_kutta import end_derivative, local_errors, take_step
from physode.solvers.tableaus import METHODS, Tableau
from physode.solvers.tableaus.base import in_basis
from tests.solvers.implicit.problems import Logarithmic
from tests.solvers.rooted_trees import density, square, trees

pytestmark = pytest.mark.usefixtures("float64")

ADAPTIVE = [name for name, tableau in METHODS.items() if tableau.adaptive]
ORDERS = {
    "euler": 1,
    "midpoint": 2,
    "heun": 2,
    "rk4": 4,
    "heun_euler": 2,
    "bosh3": 3,
    "dopri5": 5,
    "tsit5": 5,
    "dopri8": 8,
}


class WarpedKepler:
    """Kepler's ellipse run through with an uneven clock s = t + c sin t; solved by Kepler's equation."""

    def __init__(self, eccentricity, unevenness, span):
        self.e, self.c, self.span = eccentricity, unevenness, span

    def __call__(self, t, y):
        r, v = y[..., :2], y[..., 2:]
        distance = (r * r).sum(-1, keepdim=True).sqrt()
        return (1 + self.c * torch.cos(t)) * torch.cat([v, -r / distance**3], -1)

    def exact(self, t):
        mean = t + self.c * torch.sin(t)
        anomaly = mean.clone()
        for _ in range(60):
            anomaly = anomaly - (anomaly - self.e * torch.sin(anomaly) - mean) / (1 - self.e * torch.cos(anomaly))
        minor, distance = math.sqrt(1 - self.e**2), 1 - self.e * torch.cos(anomaly)
        cos, sin = torch.cos(anomaly), torch.sin(anomaly)
        return torch.stack([cos - self.e, minor * sin, -sin / distance, minor * cos / distance], -1)


# Numbers of steps between which the error falls by the method's own power: enough steps for the leading term to rule,
# few enough for rounding to stay far below. The methods of high order have their leading term on other problems sooner.
CASES = {
    "euler": (Logarithmic(), 512, 1024),
    "midpoint": (Logarithmic(), 256, 512),
    "heun": (Logarithmic(), 256, 512),
    "rk4": (Logarithmic(), 256, 512),
    "heun_euler": (Logarithmic(), 256, 512),
    "bosh3": (Logarithmic(), 128, 256),
    "dopri5": (Logarithmic(), 64, 128),
    "tsit5": (WarpedKepler(0.1, 0.3, (0.0, 8.0)), 512, 1024),
    "dopri8": (WarpedKepler(0.5, 0.3, (1.0, 5.0)), 24, 48),
}


def end_error(method, problem, steps, *, backward=False):
    start, end = reversed(problem.span) if backward else problem.span
    t = torch.tensor([start, end])
    sol = po.solve(problem, problem.exact(t[0]), t, method=method, step_size=abs(end - start) / steps)
    assert len(sol.step_times) == steps + 1
    return float((sol.y[-1] - problem.exact(t[1])).abs().max())


def test_the_methods_claim_their_published_orders():
    assert {name: tableau.order for name, tableau in METHODS.items()} == ORDERS


@pytest.mark.parametrize("method", METHODS)
def test_the_error_falls_with_the_method_s_order(method):
    problem, few, many = CASES[method]
    slope = math.log(end_error(method, problem, few) / end_error(method, problem, many)) / math.log(many / few)
    assert slope == pytest.approx(ORDERS[method], abs=0.1)


@pytest.mark.parametrize("method", ["rk4", "bosh3", "tsit5"])
def test_backward_in_time_it_falls_the_same(method):
    problem = WarpedKepler(0.1, 0.3, (0.0, 8.0)) if method == "tsit5" else Logarithmic()
    errors = [end_error(method, problem, steps, backward=True) for steps in (512, 1024)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[method], abs=0.1)


def slope_of(sizes, errors):
    """The power of the step size, by least squares over all sizes."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


# Step sizes for single steps, where the leading term rules and rounding does not.
SINGLE = {"euler": 2e-3, "midpoint": 4e-3, "heun": 4e-3, "heun_euler": 4e-3, "bosh3": 8e-3, "rk4": 1e-2}


def single_sizes(method, default):
    return [SINGLE.get(method, default) * factor for factor in (1.0, 0.8, 0.64, 0.5)]


@pytest.mark.parametrize("method", METHODS)
def test_inside_a_step_the_error_falls_with_the_interpolant_s_order(method):
    """One step from an exact state: the error within it is of order h^(q + 1), q at most the method's own order."""
    tableau = METHODS[method]
    problem, start = WarpedKepler(0.3, 0.3, (0.0, 8.0)), torch.tensor(3.0)
    sizes = single_sizes(method, 0.3 if method == "dopri8" else 0.05)
    errors = []
    for h in sizes:
        times = start + h * torch.linspace(0, 1, 21)
        inside = po.solve(problem, problem.exact(start), times, method=method, grid=times[[0, -1]]).y[1:-1]
        errors.append(float((inside - problem.exact(times[1:-1])).abs().max()))
    expected = min(tableau.order, tableau.interpolant_order) + 1
    assert slope_of(sizes, errors) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_the_error_estimate_falls_with_its_order(method):
    tableau, problem, t = METHODS[method], WarpedKepler(0.3, 0.3, (0.0, 8.0)), torch.tensor(3.0)
    sizes, estimates = single_sizes(method, 0.3 if method == "dopri8" else 0.05), []
    for size in sizes:
        h, y = torch.tensor(size), problem.exact(t)
        step = take_step(problem, tableau, t, y, h)
        ks = (*step.ks, end_derivative(problem, t, h, step)) if tableau.fsal else step.ks
        errors = local_errors(tableau, h, ks)
        estimates.append(float(error_ratio(errors, torch.ones_like(y), lambda x: x.abs().max())))
    assert slope_of(sizes, estimates) == pytest.approx(tableau.error_order + 1, abs=0.1)


# ---- Order conditions: Butcher's trees, independent of any measurement.


def stage_weights(tree, a):
    """Each stage's elementary weight: the product over subtrees of A times theirs."""
    result = np.ones(len(a))
    for branch in tree:
        result = result * (a @ stage_weights(branch, a))
    return result


def all_stages(tableau: Tableau):
    """The stage matrix over the stages, the derivative at the step's end, and the interpolant's extra stages."""
    return square([*tableau.a, tableau.b, *tableau.a_extra])


def order_of(weights, a, *, largest=9, theta=1.0):
    """The highest order all of whose conditions hold: sum w phi(tree) = theta^|tree| / density(tree)."""
    weights = np.concatenate([weights, np.zeros(len(a) - len(weights))])
    for order in range(1, largest + 1):
        for tree in trees(order):
            terms = weights * stage_weights(tree, a)
            slack = 2e-14 * (1 + np.abs(weights) @ np.abs(stage_weights(tree, np.abs(a))))
            if abs(terms.sum() - theta**order / density(tree)) > slack:
                return order - 1
    return largest


def test_there_are_as_many_rooted_trees_as_cayley_counted():
    assert [len(trees(order)) for order in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]


@pytest.mark.parametrize("method", METHODS)
def test_the_weights_meet_the_conditions_of_their_order_and_of_no_higher(method):
    tableau = METHODS[method]
    assert order_of(np.array(tableau.b), all_stages(tableau)) == ORDERS[method]


@pytest.mark.parametrize(
    ("method", "orders"),
    [("heun_euler", [1]), ("bosh3", [2]), ("dopri5", [4]), ("tsit5", [4]), ("dopri8", [5, 3])],
)
def test_the_embedded_weights_meet_the_conditions_of_theirs(method, orders):
    tableau = METHODS[method]
    found = []
    for row in tableau.b_err:
        b = np.zeros(len(row))
        b[: tableau.stages] = tableau.b
        found.append(order_of(b - np.array(row), all_stages(tableau)))
    assert found == orders


def continuous_weights(tableau, theta):
    """The weights b(theta) of the documented form y + theta F1 + theta (1 - theta) F2 + theta^2 (1 - theta) F3 ..."""
    stages = len(all_stages(tableau))
    b, first, last = np.zeros(stages), np.zeros(stages), np.zeros(stages)
    b[: tableau.stages], first[0], last[tableau.stages] = tableau.b, 1.0, 1.0
    parts = [b, first - b, 2 * b - first - last, *map(np.array, tableau.d)]
    total, basis = np.zeros(stages), theta
    for p, part in enumerate(parts):
        total = total + basis * part
        basis *= (1 - theta) if p % 2 == 0 else theta
    return total


@pytest.mark.parametrize("theta", [0.1, 0.37, 0.5, 0.9])
@pytest.mark.parametrize("method", METHODS)
def test_the_interpolant_s_weights_meet_the_conditions_of_its_order(method, theta):
    tableau = METHODS[method]
    expected = min(tableau.order, tableau.interpolant_order)
    assert order_of(continuous_weights(tableau, theta), all_stages(tableau), theta=theta) >= expected


@pytest.mark.parametrize("method", METHODS)
def test_the_interpolant_meets_the_end_and_both_slopes(method):
    """Continuously differentiable from step to step."""
    problem, times = Logarithmic(), torch.tensor([0.3, 0.5])
    sol = po.solve(problem, problem.exact(times[0]), times, method=method, grid=times, dense=True)
    eps = 1e-6
    assert torch.allclose(sol(times), sol.y, atol=1e-15)
    for i, inward in ((0, eps), (1, -eps)):
        slope = (sol(times[i] + inward) - sol.y[i]) / inward
        assert torch.allclose(slope, problem(times[i], sol.y[i]), atol=2e-5)


# ---- The tableaus' own check.


def replaced(name, **changes):
    return dataclasses.replace(METHODS[name], **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: replaced("rk4", b=(1 / 6, 1 / 3, 1 / 3, 1 / 5)), "b does not sum to 1"),
        (lambda: replaced("rk4", c=(0.0, 1 / 2, 1 / 3, 1.0)), "row 2 of a does not sum to c"),
        (lambda: replaced("rk4", c=(0.0, 1 / 2, 1 / 2)), "differ in length"),
        (lambda: replaced("rk4", c=(0.1, 1 / 2, 1 / 2, 1.0)), "the first stage is not at the step's start"),
        (lambda: replaced("rk4", a=((), (1 / 2,), (1 / 2,), (0.0, 0.0, 1.0))), "row 2 of a has 1 entries"),
        (lambda: replaced("dopri5", b_err=((1e-3, *METHODS["dopri5"].b_err[0][1:]),)), "b_err does not sum to 0"),
        (lambda: replaced("dopri5", b_err=((1.0, -1.0),)), "b_err has the wrong length"),
        (lambda: replaced("dopri5", d=((0.0,) * 6,)), "d has the wrong length"),
        (lambda: replaced("dopri8", c_extra=(0.1, 0.2, 0.7)), "extra row 2 does not sum to its node"),
        (lambda: replaced("dopri8", a_extra=((0.1,), *METHODS["dopri8"].a_extra[1:])), "extra row 0 has 1 entries"),
    ],
)
def test_wrong_coefficients_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        change()


def scipys(table):
    """A pair as SciPy has it: zeros behind the diagonal, b(theta) by powers, the last stage at the end."""
    n = table.n_stages
    return {
        "c": (*table.C[:n], 1.0),
        "a": (*(tuple(row[:n]) for row in table.A[:n]), tuple(table.B)),
        "b": (*table.B, 0.0),
        "b_hat": tuple(np.append(table.B, 0.0) + table.E),  # its E is of the opposite sign
        "b_theta": [tuple(row) for row in table.P],
    }


@pytest.mark.parametrize("method", ["bosh3", "dopri5"])
def test_a_table_as_papers_print_it_is_the_same_method(method):
    from scipy.integrate import RK23, RK45

    ours = METHODS[method]
    table = scipys({"bosh3": RK23, "dopri5": RK45}[method])
    found = Tableau.textbook("printed", order=ours.order, **table)
    assert (found.stages, found.fsal, found.error_order) == (ours.stages, True, ours.error_order)
    for name in ("c", "b", "b_err", "d"):
        assert np.allclose(getattr(found, name), getattr(ours, name), rtol=0, atol=1e-12), name
    for row, expected in zip(found.a, ours.a, strict=True):
        assert np.allclose(row, expected, rtol=0, atol=1e-15)


def test_polynomials_in_the_interpolants_basis_have_the_same_values():
    powers = [(0.3, -1.0), (2.0, 0.5), (-0.7, 4.0), (1.1, 0.0), (0.2, -3.0), (5.0, 0.25)]
    rows = in_basis(powers)
    for theta in (0.0, 0.2, 0.77, 1.0):
        basis, total = theta, np.zeros(2)
        for p, row in enumerate(rows):
            total, basis = total + basis * np.array(row), basis * ((1 - theta) if p % 2 == 0 else theta)
        expected = sum(theta ** (p + 1) * np.array(row) for p, row in enumerate(powers))
        assert np.allclose(total, expected, rtol=0, atol=1e-14)


HEUN = {"order": 2, "c": (0.0, 1.0), "a": ((), (1.0,)), "b": (0.5, 0.5)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": ((0.5, 0.5), (1.0, 0.0))}, "row 0 of a has weights on the diagonal or behind it"),
        ({"b_hat": (1.0,)}, "b_hat and b differ in length"),
        ({"b_theta": ((1.0,),)}, "b_theta and b differ in length"),
        ({"b_theta": ((1.0, -0.5), (0.0, 0.5))}, "b_theta does not lead to the step's end with the derivatives"),
    ],
)
def test_a_printed_table_that_cannot_be_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=f"'printed': {message}"):
        Tableau.textbook("printed", **{**HEUN, **change})


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8"])
def test_a_digit_that_the_sums_miss_breaks_the_order_conditions(method):
    """The tests above would notice: two weights changed so that their sum stays."""
    b = list(METHODS[method].b)
    b[-1], b[-2] = b[-1] + 1e-9, b[-2] - 1e-9
    tableau = replaced(method, b=tuple(b))
    assert order_of(np.array(tableau.b), all_stages(tableau)) < ORDERS[method]


def test_an_unknown_method_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"euler, midpoint.*dopri8.*got 'rk45'"):
        checked_method("rk45")
