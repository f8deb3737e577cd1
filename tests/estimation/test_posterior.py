"""The posterior density, its gradient against differences, and draws from it."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from physode.errors import ConfigError
from physode.estimation import LogPosterior, fit, log_posterior, sample
from physode.estimation.fit import estimate
from physode.estimation.problem import Estimation, Experiment, Measurements, Model, Observable, Prior, Unknown

T = np.linspace(0.0, 3.0, 13)
NOISE = 0.05 * np.cos(11 * T + 0.3)
Y = 2 * np.exp(-0.7 * T) + NOISE


def decay(t, x, k):
    return -k * x


BOUNDS = {"k": (0.1, 3.0), "x(0)": (0.0, np.inf)}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bounds": BOUNDS},
        {"bounds": {"k": (0.1, 3.0), "x(0)": (-np.inf, 4.0)}},
        {"log": True},
        {"log": True, "bounds": {"k": (0.1, 3.0)}, "priors": {"k": (0.6, 0.1)}},
        {"sigma": 0.05, "priors": {"k": (0.6, 0.1)}},
    ],
)
def test_gradients_are_those_of_differences(options):
    posterior = log_posterior(fit(decay, {"t": T, "x": Y}, constants={"k": 1.0}, starts=1, **options))
    y = posterior.unconstrain({"k": 0.75, "x(0)": 1.9})
    value, gradient = posterior.value_and_gradient(y)
    assert value == pytest.approx(posterior(y), rel=1e-9)
    np.testing.assert_allclose(gradient, optimize.approx_fprime(y, posterior, 1e-6), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(posterior.constrain(y), [0.75, 1.9])


def test_tensors_have_gradients_and_arrays_may_be_many():
    posterior = log_posterior(fit(decay, {"t": T, "x": Y}, constants={"k": 1.0}, starts=1, bounds=BOUNDS))
    rows = posterior.unconstrain(np.array([[0.75, 1.9], [0.6, 2.0], [1.0, 1.0]]))
    values, gradients = posterior.value_and_gradient(rows)
    assert (values.shape, gradients.shape) == ((3,), (3, 2))
    np.testing.assert_allclose(posterior(rows), values, rtol=1e-9)
    y = torch.from_numpy(rows).requires_grad_()
    posterior(y).sum().backward()
    np.testing.assert_allclose(y.grad, gradients)
    single = torch.from_numpy(rows[0]).float()
    assert posterior(single).dtype == torch.float32
    assert posterior(single).shape == ()


def test_densities_of_bounded_constants_integrate_as_those_of_their_values():
    """The same expectation by quadrature over the values themselves, and over the scale without bounds."""
    fitted = fit(decay, {"t": T, "x": Y}, constants={"k": 0.6}, bounds={"k": (0.5, 0.75)}, start=[2.0], sigma=0.05)
    posterior = log_posterior(fitted)
    assert posterior.names == ("k",)
    k = np.linspace(0.5, 0.75, 2001)
    weight = np.exp(-0.5 * ((Y - 2 * np.exp(-k[:, None] * T)) ** 2).sum(1) / 0.05**2)
    y = np.linspace(-12.0, 12.0, 1201)[:, None]
    density = np.exp(posterior(y) - posterior(y).max())
    mean = (density * posterior.constrain(y)[:, 0]).sum() / density.sum()
    assert mean == pytest.approx((weight * k).sum() / weight.sum(), rel=1e-4)


def level(prior, scale="linear", values=(1.0, 1.2, 0.9), **options):
    """One constant, measured directly, with a spread of 1."""
    model = Model(("x",), ("m",), lambda t, x, p, u: 0 * x, lambda p: p, ("m",))
    n = len(values)
    observable = Observable("x", lambda t, x, p, u, q: x[:, 0], lambda t, x, p, u, q: torch.ones_like(t))
    return Estimation(
        model,
        (Unknown("m", 1.1, scale=scale, prior=prior, **options),),
        (Experiment("one"),),
        (observable,),
        Measurements(np.zeros(n, np.int64), np.zeros(n, np.int64), np.arange(1.0, n + 1), np.array(values)),
    )


@pytest.mark.parametrize(
    ("prior", "scaled"),
    [
        (Prior("gamma", (2.0, 0.5)), lambda m: stats.gamma(2.0, scale=0.5).logpdf(m) + np.log(m)),
        (Prior("normal", (0.2, 0.3), scaled=True), lambda m: stats.norm(0.2, 0.3).logpdf(np.log(m))),
        (Prior("uniform", (0.5, 1.5)), lambda m: stats.uniform(0.5, 1.0).logpdf(m) + np.log(m)),
        (None, lambda m: 0.0 * m),
    ],
)
def test_priors_are_densities_of_the_value_or_of_its_scale(prior, scaled):
    posterior = LogPosterior(estimate(level(prior, "log"), starts=1).problem)
    m = np.array([0.6, 0.9, 1.4])
    likelihood = np.array([stats.norm(one, 1.0).logpdf([1.0, 1.2, 0.9]).sum() for one in m])
    np.testing.assert_allclose(posterior(np.log(m)[:, None]), likelihood + scaled(m), rtol=1e-9)
    if prior is not None and prior.kind == "uniform":
        assert posterior(np.log([2.0])) == -np.inf


def test_what_is_outside_or_missing_is_named():
    posterior = log_posterior(fit(decay, {"t": T, "x": Y}, constants={"k": 1.0}, starts=1, bounds=BOUNDS))
    with pytest.raises(ConfigError, match=r"'k' must lie between its bounds 0.1 and 3"):
        posterior.unconstrain([3.5, 1.0])
    with pytest.raises(ConfigError, match=r"`values` has no 'x\(0\)'"):
        posterior.unconstrain({"k": 1.0})
    with pytest.raises(ConfigError, match=r"one of 2 unknowns, k, x\(0\): .* got the shape \(3,\)"):
        posterior(np.zeros(3))


def test_where_the_equation_cannot_be_solved_the_density_is_nothing():
    fitted = fit(lambda t, x, a: a * x**2, {"t": T, "x": 1 / (5 - T) + 0.01 * NOISE}, constants={"a": 0.9}, starts=1)
    posterior = log_posterior(fitted)
    y = posterior.unconstrain({"a": 1.0, "x(0)": 5.0})
    assert posterior(y) == -np.inf
    value, gradient = posterior.value_and_gradient(y)
    assert value == -np.inf
    np.testing.assert_array_equal(gradient, 0.0)


def test_the_package_has_the_names():
    import physode.estimation.estimate

    assert physode.fit is physode.estimation.fit
    assert physode.log_posterior is log_posterior
    assert callable(physode.estimation.estimate)
    with pytest.raises(AttributeError, match="it has Bands, Bootstrap"):
        getattr(physode.estimation, "nonsense")  # noqa: B009


def test_a_missing_sampler_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(ConfigError, match=r"sampling a posterior needs emcee; .*physode\[sampling\]"):
        sample(fit(decay, {"t": T, "x": Y}, constants={"k": 1.0}, starts=1))


@pytest.mark.slow
def test_draws_have_the_moments_of_a_normal_posterior():
    pytest.importorskip("emcee")
    fitted = estimate(level(Prior("normal", (0.0, 2.0))), starts=1)
    found = sample(fitted, 150, tune=20, walkers=64, seed=1)
    precision = 3.0 + 0.25
    mean, deviation = 3.1 / precision, precision**-0.5
    assert found.draws.shape == (64, 150, 1)
    assert found["m"].mean() == pytest.approx(mean, abs=5 * deviation / np.sqrt(found.effective[0]))
    assert found["m"].std() == pytest.approx(deviation, rel=0.08)
    np.testing.assert_allclose(found.intervals()[0], mean + deviation * np.array([-1.96, 1.96]), atol=0.12)
    repeated = sample(fitted, 3, tune=0, walkers=16, seed=1)
    np.testing.assert_array_equal(repeated.draws, sample(fitted, 3, tune=0, walkers=16, seed=1).draws)
    assert "independent draws" in repr(found)
    assert "ask for more draws" in repr(repeated)
    with pytest.raises(KeyError, match="'q' is none of m"):
        found["q"]


@pytest.mark.slow
def test_draws_go_to_arviz_and_into_tables():
    pytest.importorskip("emcee")
    fitted = estimate(level(Prior("normal", (0.0, 2.0))), starts=1)
    found = sample(fitted, 20, tune=10, walkers=8)
    pytest.importorskip("pandas")
    assert list(found.to_frame().columns) == ["mean", "deviation", "low", "high", "effective"]
    if importlib.util.find_spec("arviz") is None:
        pytest.skip("ArviZ is not installed")
    data = found.to_arviz()
    np.testing.assert_array_equal(data.posterior["m"], found.draws[..., 0])
    np.testing.assert_array_equal(data.sample_stats["lp"], found.log_density)
    np.testing.assert_array_equal(data.observed_data["x"], [1.0, 1.2, 0.9])


@pytest.mark.slow
def test_estimates_at_a_bound_are_drawn_from_within():
    pytest.importorskip("emcee")
    fitted = estimate(level(None, values=(-1.0, -1.2, -0.9), low=0.0, high=10.0), starts=1)
    assert bool(fitted.at_bound.all())
    found = sample(fitted, 100, tune=40, walkers=64)
    assert found["m"].min() >= 0.0
    mean = -3.1 / 3
    truncated = stats.truncnorm(-mean * 3**0.5, np.inf, loc=mean, scale=3**-0.5)
    assert found["m"].mean() == pytest.approx(truncated.mean(), rel=0.15)


def test_what_has_no_posterior_is_refused():
    pytest.importorskip("emcee")
    fitted = fit(
        lambda t, x, k, idle: torch.stack([-k * x[0], idle * x[0]]),
        {"t": T, "x": Y}, constants={"k": 1.0, "idle": 1.0}, states=["x", "y"], observe=["x"],
        start={"x": "fit", "y": 0.0}, starts=1,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="the data do not determine 'idle': give it bounds or a prior to draw from"):
        sample(fitted)
    with pytest.raises(ConfigError, match="`walkers` must be even and at least 8 for 3 constants, got 7"):
        sample(fitted, walkers=7)
    with pytest.raises(ConfigError, match="`draws` must be at least 1"):
        sample(fitted, 0)
