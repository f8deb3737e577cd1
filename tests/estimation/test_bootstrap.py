"""The bootstrap: against the covariance of linear models, and by its parts."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch

from physode.errors import ConfigError, SolveError
from physode.estimation import bootstrap, fit
from physode.estimation.scoring import Point, minimise_each

T = np.linspace(0.0, 3.0, 13)
NOISE = 0.05 * np.cos(11 * T + 0.3)


@functools.cache
def line(**options):
    return fit(
        lambda t, x, v: v.expand(1), {"t": T, "y": 1 + 0.5 * T + NOISE}, constants={"v": 1.0}, starts=1, **options
    )


def test_a_straight_line_has_the_errors_of_least_squares():
    fitted = line()
    found = bootstrap(fitted, samples=3000)
    assert (found.names, found.values.shape, found.failed) == (("v", "y(0)"), (3000, 2), 0)
    for i, name in enumerate(found.names):
        assert found.errors[i] == pytest.approx(fitted[name].error, rel=0.04)
        assert abs(found.bias[i]) < 4 * fitted[name].error / math.sqrt(3000)
    assert found.correlation[0, 1] == pytest.approx(fitted.correlation[0, 1], abs=0.03)
    low, high = found.intervals()[0]
    assert high - low == pytest.approx(2 * 1.96 * fitted["v"].error, rel=0.08)


def test_drawn_residuals_give_their_own_mean_square():
    fitted = line()
    found = bootstrap(fitted, samples=3000, kind="residual")
    design = np.stack([T, np.ones_like(T)], 1)
    hat = design @ np.linalg.pinv(design)
    residuals = (1 + 0.5 * T + NOISE - hat @ (1 + 0.5 * T + NOISE)) / np.sqrt(1 - np.diag(hat))
    errors = residuals.std() * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    np.testing.assert_allclose(found.errors, errors, rtol=0.04)
    np.testing.assert_allclose(fitted.leverages, np.diag(hat), rtol=1e-6)


def test_known_spreads_are_those_of_the_noise():
    fitted = line(sigma=0.2)
    found = bootstrap(fitted, samples=2000, seed=3)
    assert found.errors[0] == pytest.approx(fitted["v"].error, rel=0.05)
    assert fitted["v"].error > 3 * line()["v"].error


def test_seeds_repeat_samples_and_batches_do_not_matter():
    fitted = line()
    one, again, other = (bootstrap(fitted, samples=20, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values, again.values)
    assert np.abs(one.values - other.values).min() > 0
    assert "95 % from" in repr(one)
    np.testing.assert_array_equal(one["v"], one.values[:, 0])
    with pytest.raises(KeyError, match="'q' is none of v"):
        one["q"]


def test_each_sample_faces_its_own_values():
    """The same by one fit a sample."""
    fitted = fit(
        lambda t, x, k: -k * x, {"t": T, "x": 2 * np.exp(-T) + NOISE}, constants={"k": 1.0}, starts=1, sigma=0.05
    )
    problem, rng = fitted.problem, np.random.default_rng(0)
    values = torch.from_numpy(2 * np.exp(-T) + 0.05 * rng.standard_normal((3, 13)))
    drawn = problem.facing.facing(values)
    z = fitted.z.expand(3, -1)
    together = problem.facing_others(z, drawn)
    for i in range(3):
        alone = problem.facing_others(z[i : i + 1], problem.facing.facing(values[i]))
        torch.testing.assert_close(alone.loss[0], together.loss[i])
        torch.testing.assert_close(alone.gradient[0], together.gradient[i])
    assert drawn.take(torch.tensor([2])).values.shape == (1, 13)


def test_losses_of_their_own_are_minimised_as_they_are_numbered():
    centres = torch.tensor([[1.0], [2.0], [5.0]], dtype=torch.float64)

    def objectives(z, starts):
        away = z - centres[starts]
        level = torch.tensor([0.0, 1e3, 1e6], dtype=torch.float64)[starts]
        return Point(level + 0.5 * away.square().sum(1), away, torch.ones(len(z), 1, 1, dtype=torch.float64))

    low, high = torch.tensor([[-9.0], [3.0], [-9.0]]), torch.tensor([[9.0], [9.0], [4.0]])
    minima = minimise_each(objectives, torch.zeros(3, 1, dtype=torch.float64), low.double(), high.double())
    np.testing.assert_allclose(minima.z[:, 0], [1.0, 3.0, 4.0], rtol=1e-5)


def test_losses_of_their_own_are_no_rivals():
    """A loss that is a thousand above another's is still minimised."""

    def objectives(z, rows):
        flat = torch.eye(1, dtype=torch.float64).expand(len(z), 1, 1)
        return Point(1000.0 * rows + (z[:, 0] - 3).cosh(), (z - 3).sinh(), flat)

    start = torch.zeros(3, 1, dtype=torch.float64)
    free = torch.full((1,), torch.inf, dtype=torch.float64)
    minima = minimise_each(objectives, start, -free, free)
    assert minima.converged == (True, True, True)
    assert torch.allclose(minima.z, torch.full_like(start, 3.0), atol=1e-4)


@pytest.mark.slow
def test_samples_of_logarithmic_noise_stay_above_zero():
    from physode.estimation.fit import estimate

    fitted = fit(lambda t, x, a: a * x, {"t": T, "x": np.exp(0.4 * T + NOISE)}, constants={"a": 0.3}, starts=1)
    observable = dataclasses.replace(fitted.estimation.observables[0], distribution="log-normal")
    fitted = estimate(dataclasses.replace(fitted.estimation, observables=(observable,)), starts=1)
    found = bootstrap(fitted, samples=1000)
    design = np.stack([T, np.ones_like(T)], 1)
    error = fitted.spreads["x"] * np.sqrt(np.linalg.inv(design.T @ design)[0, 0])
    assert found.errors[0] == pytest.approx(error, rel=0.07)


def test_what_cannot_be_drawn_is_refused():
    fitted = line()
    with pytest.raises(ConfigError, match="`kind` must be parametric or residual, got 'wild'"):
        bootstrap(fitted, kind="wild")
    with pytest.raises(ConfigError, match="`samples` must be at least 2"):
        bootstrap(fitted, samples=1)
    with pytest.raises(ConfigError, match="`level` must lie between 0 and 1"):
        bootstrap(fitted, samples=2).intervals(1.5)
    with pytest.raises(SolveError, match=r"arrived in 0 of 5 samples; allow more `iterations`"):
        bootstrap(fitted, samples=5, iterations=1)
    few = fit(
        lambda t, x, v: v.expand(2),
        {"t": T, "a": 1 + T, "b": np.where(T < 0.3, T, np.nan)},
        constants={"v": 1.0},
        sigma=0.1,
        starts=1,
    )
    with pytest.raises(ConfigError, match="b has 2 residuals, too few to draw from; use kind='parametric'"):
        bootstrap(few, kind="residual")


def test_a_bootstrap_is_a_table():
    pytest.importorskip("pandas")
    frame = bootstrap(line(), samples=10).to_frame()
    assert list(frame.index) == ["v", "y(0)"]
    assert list(frame.columns) == ["value", "error", "low", "high", "bias"]
