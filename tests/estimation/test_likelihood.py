"""Likelihoods and their derivatives, against SciPy's distributions and finite differences; the search, on functions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from physode.errors import DataError
from physode.estimation.likelihood import Facing
from physode.estimation.problem import (
    DISTRIBUTIONS,
    Estimation,
    Experiment,
    Measurements,
    Model,
    Observable,
    Prior,
    Unknown,
)  # fmt: skip
from physode.estimation.scales import Scales, density
from physode.estimation.scoring import Point, minimise, minimise_each
from physode.estimation.search import Problem
from physode.estimation.simulation import SolverOptions
from physode.estimation.starts import second_chance, start_points

T = np.linspace(0.0, 2.0, 7)
MODEL = Model(("x",), ("k",), lambda t, x, p, u: -p * x, lambda p: torch.full_like(p, 2.0), ("k",))
VALUES = 2 * np.exp(-0.6 * T) * np.exp(0.1 * np.random.default_rng(0).normal(size=7))


def posed(distribution, spread=None, scale="linear", prior=None):
    if spread is None:
        spread = lambda t, x, p, u, q: 0.1 + 0.2 * x[:, 0] * p[:, 0] + 0 * q[:, 0]  # noqa: E731
    observable = Observable("x", lambda t, x, p, u, q: q[:, 0] * x[:, 0], spread, distribution)
    measured = Measurements(np.zeros(7, int), np.zeros(7, int), T, VALUES, own=(("s",),) * 7)
    unknowns = (
        Unknown("k", 0.8, scale=scale, prior=prior),
        Unknown("s", 1.1, 0.1, 9.0),
        Unknown("idle", 3.0, free=False),
    )
    return Problem(
        Estimation(MODEL, unknowns, (Experiment("e"),), (observable,), measured), SolverOptions("dopri5", 1e-11, 1e-13)
    )


def density_of(distribution, value, g, s):
    base = distribution.rpartition("-")[2]
    family = stats.norm if base == "normal" else stats.laplace
    if distribution.startswith("log10"):
        return family.logpdf(np.log10(value), np.log10(g), s) - np.log(value * math.log(10))
    if distribution.startswith("log"):
        return family.logpdf(np.log(value), np.log(g), s) - np.log(value)
    return family.logpdf(value, g, s)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_likelihood_is_that_of_the_distribution(distribution):
    problem = posed(distribution)
    found = problem.likelihood(torch.tensor([[0.8, 1.1]], dtype=torch.float64))
    x = 2 * np.exp(-0.8 * T)
    expected = -density_of(distribution, VALUES, 1.1 * x, 0.1 + 0.2 * 0.8 * x).sum()
    assert float(found.loss) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("scale", ["linear", "log", "log10"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_gradients_are_those_of_finite_differences(distribution, scale):
    problem = posed(distribution, scale=scale, prior=Prior("normal", (0.5, 0.1)))
    z, step = problem.scales.guess()[None], 1e-6
    for i in range(2):
        moved = torch.zeros_like(z)
        moved[0, i] = step
        difference = (problem(z + moved).loss - problem(z - moved).loss) / (2 * step)
        assert float(problem(z).gradient[0, i]) == pytest.approx(float(difference), rel=1e-5, abs=1e-5)


def test_an_unknown_spread_is_the_best_one():
    problem = posed("normal")
    one = problem.estimation.observables[0]
    profiled = replace(problem, estimation=replace(problem.estimation, observables=(replace(one, spread=None),)))
    z = torch.tensor([[0.8, 1.1]], dtype=torch.float64)
    found = profiled.likelihood(z)
    losses = [float(posed("normal", lambda t, x, p, u, q, s=s: s + 0 * t).likelihood(z).loss) for s in (0.9, 1.0, 1.1)]
    best = math.sqrt(np.square(VALUES - 2.2 * np.exp(-0.8 * T)).mean())
    assert float(found.spreads[0, 0]) == pytest.approx(best, rel=1e-8)
    exact = float(posed("normal", lambda t, x, p, u, q: best + 0 * t).likelihood(z).loss)
    assert float(found.loss) == pytest.approx(exact, rel=1e-10)
    assert all(loss > exact for loss in losses)
    step, moved = 1e-6, torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    difference = (profiled(z + step * moved).loss - profiled(z - step * moved).loss) / (2 * step)
    assert float(profiled(z).gradient[0, 0]) == pytest.approx(float(difference), rel=1e-5)


def test_the_information_is_the_expected_curvature():
    problem, z = posed("normal"), torch.tensor([[0.8, 1.1]], dtype=torch.float64)
    x = 2 * np.exp(-0.8 * T)
    s, rng = 0.1 + 0.16 * x, np.random.default_rng(0)
    scores = []
    facing, prediction = problem.facing, problem.likelihood(z).prediction
    for _ in range(4000):
        values = 1.1 * x + s * rng.normal(size=7)
        scores.append(replace(facing, values=torch.from_numpy(values)).compare(prediction).gradient[0].numpy())
    covariance = np.cov(np.stack(scores).T)
    assert np.allclose(problem.likelihood(z).information[0].numpy(), covariance, rtol=0.1)


def test_logarithms_need_values_above_zero():
    problem = posed("log-normal")
    data = replace(problem.estimation.measurements, values=VALUES - VALUES[2])
    with pytest.raises(DataError, match="all values must be above 0"):
        Facing.of(replace(problem.estimation, measurements=data))


@pytest.mark.parametrize(
    ("kind", "numbers", "reference"),
    [
        ("uniform", (0.5, 2.0), stats.uniform(0.5, 1.5)),
        ("normal", (1.0, 0.3), stats.norm(1.0, 0.3)),
        ("laplace", (1.0, 0.3), stats.laplace(1.0, 0.3)),
        ("log-normal", (0.2, 0.3), stats.lognorm(0.3, scale=math.exp(0.2))),
        ("log-laplace", (0.2, 0.3), stats.loglaplace(1 / 0.3, scale=math.exp(0.2))),
        ("log-uniform", (0.5, 2.0), stats.loguniform(0.5, 2.0)),
        ("cauchy", (1.0, 0.3), stats.cauchy(1.0, 0.3)),
        ("chi-squared", (3.0,), stats.chi2(3)),
        ("exponential", (0.7,), stats.expon(scale=0.7)),
        ("gamma", (2.0, 0.7), stats.gamma(2.0, scale=0.7)),
        ("rayleigh", (0.7,), stats.rayleigh(scale=0.7)),
    ],
)
def test_priors_are_the_densities_of_their_names(kind, numbers, reference):
    x = np.array([0.6, 1.0, 1.7])
    assert np.allclose(density(Prior(kind, numbers), torch.from_numpy(x)).numpy(), reference.logpdf(x))
    if kind not in ("normal", "laplace", "cauchy"):
        assert float(density(Prior(kind, numbers), torch.tensor([-1.0]))) == -math.inf


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [("normal", (1.0, 0.5)), ("log-normal", (0.1, 0.6)), ("gamma", (2.0, 0.7)), ("laplace", (0.5, 0.4)),
     ("cauchy", (1.0, 0.3)), ("rayleigh", (0.8,)), ("exponential", (0.7,)), ("log-laplace", (0.1, 0.3))],
)  # fmt: skip
def test_truncated_priors_integrate_to_one_within_bounds(kind, numbers):
    prior = Prior(kind, numbers, truncated=True)
    scales = Scales.of((Unknown("k", 1.0, 0.4, 2.5, prior=prior),))
    x = torch.linspace(0.4, 2.5, 20001, dtype=torch.float64)[:, None]
    density = (-scales.priors(x)[0]).exp()
    assert float(torch.trapezoid(density, x[:, 0])) == pytest.approx(1.0, abs=1e-6)


def test_starts_lie_within_bounds_and_are_the_same_for_a_seed():
    scales = Scales.of(
        (Unknown("a", 2.0, 1.0, 3.0), Unknown("b", 0.1, 1e-3, 10.0, "log10"), Unknown("c", -4.0), Unknown("d", 0.0))
    )
    z = start_points(scales, 20, 7)
    assert z[0].tolist() == pytest.approx([2.0, -1.0, -4.0, 0.0])
    values = scales.values(z)
    low, high = torch.tensor([1.0, 1e-3, -20.0, -1.0]), torch.tensor([3.0, 10.0, -0.8, 1.0])
    assert bool(((values >= low) & (values <= high)).all())
    assert bool((values[:, 1] < 0.1).any())
    assert torch.equal(z, start_points(scales, 20, 7))
    assert not torch.equal(z, start_points(scales, 20, 8))


def rosenbrock(z):
    x, y = z.unbind(1)
    r = torch.stack([10 * (y - x**2), 1 - x], 1)
    j = torch.stack(
        [torch.stack([-20 * x, torch.full_like(x, 10.0)], 1), torch.tensor([-1.0, 0.0]).expand(len(x), 2)], 1
    )
    return Point(0.5 * r.square().sum(1), (j.mT @ r.unsqueeze(2)).squeeze(2), j.mT @ j)


def test_searches_arrive_whatever_is_searched_beside_them():
    z = torch.tensor([[-1.2, 1.0], [3.0, -2.0], [0.5, 0.5]], dtype=torch.float64)
    free = torch.full((2,), torch.inf, dtype=torch.float64)
    found = minimise(rosenbrock, z, -free, free)
    assert torch.allclose(found.z, torch.ones_like(z), atol=1e-6)
    assert found.converged == (True, True, True)
    alone = minimise(rosenbrock, z[1:2], -free, free)
    assert torch.equal(alone.z[0], found.z[1])
    assert found.best == 0


def test_bounds_hold_and_the_rest_goes_on():
    free = torch.full((2,), torch.inf, dtype=torch.float64)
    high = torch.tensor([0.5, torch.inf], dtype=torch.float64)
    found = minimise(rosenbrock, torch.tensor([[-1.2, 1.0]], dtype=torch.float64), -free, high)
    assert found.z[0].tolist() == pytest.approx([0.5, 0.25])
    assert found.converged == (True,)


def test_the_best_spread_is_taken_where_nothing_else_depends_on_it():
    problem = posed("normal", lambda t, x, p, u, q: q[:, 0] + 0 * t)
    one = replace(problem.estimation.observables[0], value=lambda t, x, p, u, q: x[:, 0])
    problem = replace(problem, estimation=replace(problem.estimation, observables=(one,)))
    z = torch.tensor([[0.8, 1.1], [0.3, 9.0]], dtype=torch.float64)
    found = problem.settled(z)
    spreads = [math.sqrt(np.square(VALUES - 2 * np.exp(-k * T)).mean()) for k in (0.8, 0.3)]
    assert found.z[:, 0].tolist() == [0.8, 0.3]
    assert found.z[:, 1].tolist() == pytest.approx(np.clip(spreads, 0.1, 9.0), rel=1e-6)
    there = problem(found.z)
    assert torch.allclose(found.loss, there.loss)
    assert torch.allclose(found.gradient, there.gradient, atol=1e-8)


def test_nothing_is_settled_that_predictions_depend_on():
    problem, z = posed("normal"), torch.tensor([[0.8, 1.1]], dtype=torch.float64)
    assert torch.equal(problem.settled(z).z, z)
    assert torch.equal(problem.settled(z).loss, problem(z).loss)


def test_second_chances_draw_anew_what_does_not_matter():
    problem = posed("normal", lambda t, x, p, u, q: 0.05 + 0 * t)
    unknowns = (Unknown("k", 0.6, 1e-3, 10.0, "log"), Unknown("s", 1.0, 0.1, 9.0), Unknown("idle", 3.0, 2.0, 5.0))
    problem = replace(problem, estimation=replace(problem.estimation, unknowns=unknowns))
    z = torch.tensor([[math.log(0.6), 1.0, 3.0]], dtype=torch.float64).repeat(200, 1)
    moved = second_chance(problem, z, np.random.default_rng(0))
    k, s, idle = (moved - z).T.numpy()
    assert np.std(k) == pytest.approx(0.1 * math.log(1e4), rel=0.2)
    assert np.median(s) == pytest.approx(0.0, abs=0.2)
    assert moved[:, 1].min() >= 0.1
    assert np.allclose(np.quantile(idle, [0.0, 0.5, 1.0]), [-1.0, 0.5, 2.0], atol=0.25)


def test_hopeless_starts_are_given_up_only_beside_others_of_the_same_loss():
    low = torch.tensor([[-1.3, -torch.inf], [-2.0, -torch.inf]], dtype=torch.float64)
    high = torch.tensor([[2.0, torch.inf], [-1.99, torch.inf]], dtype=torch.float64)
    z = torch.tensor([[1.1, 1.0], [-2.0, -70.0]], dtype=torch.float64)
    each = minimise_each(lambda z, _: scaled_rosenbrock(z), z, low, high)
    assert each.converged == (True, True)
    both = minimise(scaled_rosenbrock, z, low, high)
    assert both.reasons[1].startswith("given up")
    rival = minimise_each(lambda z, _: scaled_rosenbrock(z), z[1:], low[1:], high[1:], rival=0.0)
    assert rival.reasons[0].startswith("given up")


def scaled_rosenbrock(z):
    point = rosenbrock(z)
    return Point(100 * point.loss, 100 * point.gradient, 100 * point.information)
