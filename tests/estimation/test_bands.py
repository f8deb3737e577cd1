"""Curves with bands: against closed forms, and by how often they cover."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from physode.errors import ConfigError
from physode.estimation import bands, fit
from physode.estimation.fit import estimate
from physode.estimation.problem import (
    Change,
    Estimation,
    Experiment,
    Input,
    Measurements,
    Model,
    Observable,
    Unknown,
)  # fmt: skip

T = np.linspace(0.0, 3.0, 13)


def ramp(t, x, v):
    return v.expand(1)


def decay(t, x, k):
    return -k * x


def straight(rng, **options):
    y = 1.0 + 0.5 * T + 0.1 * rng.standard_normal(len(T))
    return y, fit(ramp, {"t": T, "y": y}, constants={"v": 1.0}, starts=1, **options)


def line_error(design, at, sigma):
    """Standard error of a straight line by textbook least squares."""
    inverse = np.linalg.inv(design.T @ design)
    rows = np.stack([np.ones_like(at), at], 1)
    return sigma * np.sqrt(np.einsum("ni,ij,nj->n", rows, inverse, rows))


DESIGN = np.stack([np.ones_like(T), T], 1)


def test_a_straight_line_has_the_textbook_s_bands(rng):
    y, fitted = straight(rng)
    curve = bands(fitted, points=31, until=5.0).observables[0]
    coefficients, (squares,), *_ = np.linalg.lstsq(DESIGN, y)
    spread, q = math.sqrt(squares / (len(T) - 2)), stats.t.ppf(0.975, len(T) - 2)
    error = line_error(DESIGN, curve.t, spread)
    np.testing.assert_allclose(curve.mean, coefficients[0] + coefficients[1] * curve.t, rtol=1e-6)
    np.testing.assert_allclose(curve.error, error, rtol=1e-5)
    np.testing.assert_allclose(curve.high - curve.low, 2 * q * error, rtol=1e-5)
    np.testing.assert_allclose(curve.highest - curve.mean, q * np.hypot(error, spread), rtol=1e-5)
    assert (curve.t[-1], curve.until, len(curve.t)) == (5.0, 3.0, 31)
    np.testing.assert_array_equal(curve.values, y)


def test_known_spreads_take_the_normal_quantile(rng):
    _, fitted = straight(rng, sigma=0.1)
    curve = bands(fitted, times=[0.0, 1.5, 10.0]).observables[0]
    error = line_error(DESIGN, curve.t, 0.1)
    np.testing.assert_allclose(curve.mean - curve.low, 1.959964 * error, rtol=1e-5)
    np.testing.assert_allclose(curve.mean - curve.lowest, 1.959964 * np.hypot(error, 0.1), rtol=1e-5)


def test_standard_deviations_of_single_values_are_those_of_the_nearest(rng):
    sigma = np.linspace(0.05, 0.2, len(T))
    fitted = fit(ramp, {"t": T, "y": 1 + 0.5 * T, "y_sigma": sigma}, constants={"v": 1.0}, starts=1)
    curve = bands(fitted, times=T[[0, 6, 12]]).observables[0]
    noise = np.sqrt((curve.highest - curve.mean) ** 2 - (curve.high - curve.mean) ** 2) / 1.959964
    np.testing.assert_allclose(noise, sigma[[0, 6, 12]], rtol=1e-5)


def test_states_have_bands_of_the_mean_alone(rng):
    y = 2.0 * np.exp(-0.7 * T) + 0.02 * rng.standard_normal(len(T))
    fitted = fit(
        decay, {"t": T, "twice": 2 * y}, constants={"k": 1.0}, states=["x"], observe=lambda t, x, k: 2 * x, starts=1
    )
    found = bands(fitted, points=5)
    (state,), (observable,) = found.states, found.observables
    np.testing.assert_allclose(2 * state.error, observable.error, rtol=1e-9)
    np.testing.assert_allclose(2 * state.high, observable.high, rtol=1e-9)
    assert np.isnan(state.lowest).all()
    assert not len(state.times)


def growth(*, distribution, data, experiments=None, changes=(), **options):
    """x' = a x with one observable of x, its spread unknown."""
    model = Model(("x",), ("a", "x0"), lambda t, x, p, u: p[:, :1] * x, lambda p: p[:, 1:], ("a", "x0"), **options)
    observable = Observable("x", lambda t, x, p, u, q: x[:, 0], distribution=distribution)
    n = len(data)
    measured = Measurements(np.zeros(n, np.int64), np.zeros(n, np.int64), T[:n], data)
    return Estimation(
        model, (Unknown("a", 0.3), Unknown("x0", 1.0)), (Experiment("one", changes=changes),), (observable,), measured
    )


def test_logarithmic_distributions_have_bands_of_the_logarithm(rng):
    noise = 0.1 * rng.standard_normal(len(T))
    data = 2.0 * np.exp(0.4 * T + noise)
    fitted = estimate(growth(distribution="log-normal", data=data), starts=1)
    curve = bands(fitted, points=7).observables[0]
    (b0, b1), (squares,), *_ = np.linalg.lstsq(DESIGN, np.log(data))
    spread, q = math.sqrt(squares / (len(T) - 2)), stats.t.ppf(0.975, len(T) - 2)
    error = line_error(DESIGN, curve.t, spread)
    mean = b0 + b1 * curve.t
    np.testing.assert_allclose(curve.low, np.exp(mean - q * error), rtol=1e-5)
    np.testing.assert_allclose(curve.highest, np.exp(mean + q * np.hypot(error, spread)), rtol=1e-5)


@pytest.mark.slow
def test_new_measurements_of_laplace_s_noise_have_its_quantile(rng):
    data = 2.0 * np.exp(0.4 * T) + rng.laplace(scale=0.05, size=len(T))
    fitted = estimate(growth(distribution="laplace", data=data), starts=1, growing=False, iterations=20)
    curve = bands(fitted, points=7).observables[0]
    noise = np.sqrt((curve.highest - curve.mean) ** 2 - (curve.high - curve.mean) ** 2)
    np.testing.assert_allclose(noise, stats.laplace.ppf(0.975, scale=fitted.spreads["x"]), rtol=1e-6)


@pytest.mark.slow
def test_doses_are_shown_before_and_after():
    dose = Change(1.0, states={"x": lambda t, x, p: x[0] + 5.0})
    data = np.exp(0.4 * T) + np.where(T >= 1.0, 5.0 * np.exp(0.4 * (T - 1.0)), 0.0)
    fitted = estimate(growth(distribution="normal", data=data, changes=(dose,)), starts=1)
    curve = bands(fitted, points=4).states[0]
    at = int(np.flatnonzero(curve.t == 1.0)[0])
    assert curve.t[at] - curve.t[at - 1] == pytest.approx(3e-6)
    assert curve.mean[at] - curve.mean[at - 1] == pytest.approx(5.0, abs=1e-4)


def test_what_the_data_do_not_determine_has_no_band():
    y = 2.0 * np.exp(-0.7 * T)
    fitted = fit(
        lambda t, x, k, scale: -k * x,
        {"t": T, "s": y + 0.01 * np.cos(9 * T)},
        constants={"k": 1.0, "scale": 1.0},
        states=["x"],
        observe=lambda t, x, k, scale: scale * x,
        starts=1,
    )
    found = bands(fitted, points=5)
    assert np.isnan(found.states[0].error).all()
    assert np.isfinite(found.observables[0].error).all()


def test_experiments_have_curves_of_their_own_until_their_own_ends(rng):
    rows = {"t": [0.0, 1.0, 2.0, 0.0, 1.0], "x": [1.0, 0.5, 0.3, 2.0, 1.1], "experiment": list("AAABB")}
    found = bands(fit(decay, rows, constants={"k": 1.0}, starts=1), points=3)
    assert [(curve.experiment, curve.kind, curve.until) for curve in found.curves] == [
        ("A", "state", 2.0),
        ("B", "state", 1.0),
        ("A", "observable", 2.0),
        ("B", "observable", 1.0),
    ]
    frame = pytest.importorskip("pandas") and found.to_frame()
    assert len(frame) == 12
    assert list(frame.columns[:4]) == ["experiment", "kind", "name", "t"]


def test_times_before_the_start_and_inputs_that_end_are_refused(rng):
    _, fitted = straight(rng)
    with pytest.raises(ConfigError, match=r"`times` must be finite and from the start of experiment '0', 0, on"):
        bands(fitted, times=[-1.0, 1.0])
    with pytest.raises(ConfigError, match=r"`until` must lie behind the start of experiment '0', 0, got -2"):
        bands(fitted, until=-2.0)
    with pytest.raises(ConfigError, match="`points` must be at least 2, got 1"):
        bands(fitted, points=1)
    model = Model(("x",), ("a",), lambda t, x, p, u: p * u, lambda p: 0 * p, ("a",), inputs=("u",))
    driven = Estimation(
        model,
        (Unknown("a", 1.0),),
        (Experiment("one", inputs={"u": Input(T, np.sin(T))}),),
        (Observable("x", lambda t, x, p, u, q: x[:, 0]),),
        Measurements(np.zeros(13, np.int64), np.zeros(13, np.int64), T, 2 * (1 - np.cos(T)) + 0.01 * np.cos(7 * T)),
    )
    with pytest.raises(ConfigError, match=r"the input 'u' of experiment 'one' is known from 0 to 3, .* to 4"):
        bands(estimate(driven, starts=1), until=4.0)


def test_without_pandas_a_table_names_what_is_missing(rng, monkeypatch):
    _, fitted = straight(rng)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="needs pandas"):
        bands(fitted, points=2).to_frame()


@pytest.mark.slow
def test_bands_cover_in_nineteen_of_twenty_data_sets(rng):
    times, at = np.linspace(0.0, 3.0, 12), [0.5, 1.5, 4.0]
    truth = 2.0 * np.exp(-0.7 * np.array(at))
    means, news = [], []
    for _ in range(200):
        y = 2.0 * np.exp(-0.7 * times) + 0.05 * rng.standard_normal(12)
        curve = bands(fit(decay, {"t": times, "x": y}, constants={"k": 1.0}, starts=1), times=at).observables[0]
        new = truth + 0.05 * rng.standard_normal(3)
        means.append((curve.low < truth) & (truth < curve.high))
        news.append((curve.lowest < new) & (new < curve.highest))
    for covered in (*np.mean(means, 0), *np.mean(news, 0)):
        assert 0.90 <= covered <= 0.99


def test_variances_leave_out_what_cannot_move():
    from physode.estimation.modes import Modes

    information = torch.tensor([[4.0, 1.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    modes = Modes.of(information, torch.tensor([True, True, True]))
    inverse = torch.linalg.inv(information[:2, :2])
    torch.testing.assert_close(modes.covariance[:2, :2], inverse)
    slopes = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 1e-9]], dtype=torch.float64)
    variance = modes.variance(slopes)
    torch.testing.assert_close(variance[0], slopes[0, :2] @ inverse @ slopes[0, :2])
    assert bool(variance[1].isnan())
    held = Modes.of(information, torch.tensor([True, False, True]))
    torch.testing.assert_close(held.variance(slopes[:1]), torch.tensor([0.25], dtype=torch.float64))


def test_batches_with_scales_of_their_own_have_curves_of_their_own():
    """Two batches of one observable, each with an unknown scale; their constant spreads differ, too, and are known."""
    model = Model(("x",), ("k",), lambda t, x, p, u: -p * x, lambda p: 0 * p + 1.0, ("k",), stiff=False)
    observable = Observable("y", lambda t, x, p, u, q: q[:, 0] * x[:, 0], lambda t, x, p, u, q: q[:, 1], unit="V")
    n, one = len(T), np.zeros(2 * len(T), np.int64)
    values = np.concatenate([2.0 * np.exp(-0.7 * T), 3.0 * np.exp(-0.7 * T)]) + 0.01 * np.tile(np.cos(9 * T), 2)
    data = Measurements(one, one, np.tile(T, 2), values, own=(("s1", 0.1),) * n + (("s2", 0.3),) * n)
    unknowns = (Unknown("k", 0.5), Unknown("s1", 1.0), Unknown("s2", 1.0))
    posed = Estimation(model, unknowns, (Experiment("e"),), (observable,), data)
    fitted = estimate(posed, starts=1, growing=False)
    first, second = bands(fitted, points=5).observables
    assert (first.own, second.own, first.unit) == (("s1",), ("s2",), "V")
    assert first.mean[0] == pytest.approx(fitted.values["s1"])
    assert second.mean[0] == pytest.approx(fitted.values["s2"])
    np.testing.assert_array_equal(second.values, values[n:])
    for curve, spread in ((first, 0.1), (second, 0.3)):
        noise = np.sqrt((curve.highest - curve.mean) ** 2 - (curve.high - curve.mean) ** 2) / 1.959964
        np.testing.assert_allclose(noise, spread, rtol=1e-5)
