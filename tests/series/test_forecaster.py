"""A trained model, asked in the data's own units."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from physode.datasets.series import IrregularSeries
from physode.errors import ConfigError, DataError
from physode.series import Forecaster, SeriesConfig, create_series_run, fit, train
from physode.series.scaler import make_model

pytestmark = pytest.mark.usefixtures("float64")

LEVELS = {"mean": 10.0, "spread": 3.0, "noise": 1.0}


@pytest.fixture(scope="module")
def levels():
    """A model of series that are a level of their own, from N(10, 9), and noise of standard deviation 1."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    t, y = level_series(200, 10, seed=0)
    settings = {"latent": 2, "units": (4,), "hidden": 16, "encoder_units": (8,), "method": "rk4", "step": 0.5}
    try:
        return fit(t, y, epochs=60, batch=40, lr=0.05, kl_rise=0.2, observed=1.0, split=1, **settings)
    finally:
        torch.set_default_dtype(before)


def level_series(count, points, *, seed):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 4, (count, points)), axis=1)
    level = LEVELS["mean"] + LEVELS["spread"] * rng.standard_normal((count, 1, 1))
    return t, level + LEVELS["noise"] * rng.standard_normal((count, points, 1))


@pytest.fixture
def untrained(config_of):
    """Forecasters with the weights of their seed."""

    def make(model="latent-ode", channels=("a", "b")):
        config = config_of(model=model)
        return Forecaster(make_model(config, len(channels)).eval(), config, channels, ("",) * len(channels))

    return make


# Uncertainty, on data of a known distribution.


@pytest.mark.slow
def test_new_observations_lie_within_two_standard_deviations_as_often_as_those_of_a_normal_do(levels):
    t, y = level_series(400, 12, seed=1)
    told = levels.interpolate(t[:, :9], y[:, :9], at=t[:, 9:], draws=200)
    covered = np.abs(told.mean - y[:, 9:]) <= 2 * told.std
    assert 0.92 < covered.mean() < 0.985
    assert 0.5 * LEVELS["noise"] < told.std.mean() < 2 * LEVELS["noise"]


def test_the_level_is_found_and_drawn_series_have_the_distribution_of_the_data(levels):
    t, y = level_series(100, 10, seed=2)
    found = levels.interpolate(t, y, at=[2.0])
    level = y.mean(axis=1)[:, 0]
    assert np.corrcoef(found.mean[:, 0, 0], level)[0, 1] > 0.95
    drawn = levels.sample(2000, at=[0.5, 2.0], noise=True)
    assert drawn.shape == (2000, 2, 1)
    assert drawn.mean() == pytest.approx(LEVELS["mean"], abs=1.0)
    assert drawn.std() == pytest.approx(math.hypot(LEVELS["spread"], LEVELS["noise"]), rel=0.35)
    quiet = levels.sample(2000, at=[0.5, 2.0])
    assert np.abs(np.diff(quiet, axis=1)).mean() < np.abs(np.diff(drawn, axis=1)).mean()


def test_more_observations_leave_less_open(levels):
    t, y = level_series(50, 10, seed=3)
    spreads = [levels.interpolate(t[:, :count], y[:, :count], at=[4.0]).draws.std(0).mean() for count in (1, 3, 10)]
    assert spreads[0] > spreads[1] > spreads[2]


def test_the_deviation_is_that_of_the_draws_and_the_noise_together(levels):
    t, y = level_series(5, 6, seed=4)
    found = levels.interpolate(t, y, at=[1.0, 3.0], draws=50)
    noise = levels.model.sigma.detach().numpy()
    np.testing.assert_allclose(found.std, np.sqrt(found.draws.var(0) + noise**2), rtol=1e-12)


# Arrays.


@pytest.mark.parametrize("model", ["latent-ode", "ode-rnn", "rnn", "gru"])
def test_forecasts_have_the_shapes_of_series_times_and_channels(model, untrained, sines_of):
    forecaster, (t, y) = untrained(model), sines_of(20)
    found = forecaster.interpolate(t, y, at=[0.5, 1.0, 1.5], draws=4)
    drawn = 4 if model == "latent-ode" else 1
    assert found.t.shape == (20, 3)
    assert found.mean.shape == found.std.shape == (20, 3, 2)
    assert found.draws.shape == (drawn, 20, 3, 2)
    assert found.latent.shape[:2] == (20, 3)
    assert (found.std > 0).all()


@pytest.mark.parametrize("model", ["latent-ode", "ode-rnn", "rnn", "gru"])
def test_a_forecast_of_a_series_depends_on_its_observations_only(model, untrained, sines_of):
    """Neither on its company, nor on masked values, padding, or the batches in which it is computed."""
    forecaster, (t, y) = untrained(model), sines_of(20, missing=0.3)
    y[:, 0, 0] = 1.0
    at = np.linspace(-0.5, 2.5, 7)
    whole = forecaster.interpolate(t, y, at=at)
    alone = forecaster.interpolate(t[11:12], y[11:12], at=at)
    np.testing.assert_allclose(alone.mean, whole.mean[11:12], rtol=1e-10, atol=1e-10)
    mask = np.isfinite(y)
    masked = forecaster.interpolate(t, np.where(mask, y, 1e6), mask, at=at)
    np.testing.assert_array_equal(masked.mean, whole.mean)
    padded = [np.concatenate([each, np.full_like(each[:, :3], np.nan)], axis=1) for each in (t, y)]
    np.testing.assert_allclose(forecaster.interpolate(*padded, at=at).mean, whole.mean, rtol=1e-10, atol=1e-10)


def test_draws_are_those_of_their_seed(untrained, sines_of):
    forecaster, (t, y) = untrained(), sines_of(4)
    first, again, other = (forecaster.interpolate(t, y, at=[1.0], draws=3, seed=seed).draws for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    samples = [forecaster.sample(3, at=[0.0, 1.0], seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(samples[0], samples[1])
    assert (samples[0] != samples[2]).all()


def test_extrapolation_is_interpolation_after_the_last_observation(untrained, sines_of):
    forecaster, (t, y) = untrained(), sines_of(4)
    at = t[:, -1:] + np.array([0.1, 0.5])
    np.testing.assert_array_equal(forecaster.extrapolate(t, y, at=at).mean, forecaster.interpolate(t, y, at=at).mean)


def test_a_run_s_model_says_what_the_trained_one_did(series_of, config_of, tmp_path, sines_of):
    series, config = series_of(), config_of(epochs=2)
    run = create_series_run(
        tmp_path / "run", config, data=tmp_path, channels=series.channels, units=series.units, time_unit="",
        digest=series.digest(),
    )  # fmt: skip
    trainer = train(series, config, run=run)
    t, y = sines_of(3, seed=5)
    trained = Forecaster(trainer.model.eval(), config, series.channels, series.units)
    read = Forecaster.of_run(run)
    np.testing.assert_array_equal(read.interpolate(t, y, at=[1.0]).draws, trained.interpolate(t, y, at=[1.0]).draws)
    assert Forecaster.of_run(run, which="best").channels == series.channels
    (tmp_path / "run" / "checkpoints" / "best.pt").unlink()
    with pytest.raises(DataError, match=r"best\.pt does not exist"):
        Forecaster.of_run(run, which="best")


def test_fit_takes_arrays_with_masks_and_names(sines_of):
    t, y = sines_of(12)
    mask = np.random.default_rng(0).uniform(size=y.shape) < 0.8
    mask[:, :2] = True
    seen = []
    model = fit(
        t, y, mask, channels=("x", "v"), channel_units=("m", "m/s"), progress=lambda share, text: seen.append(text),
        model="gru", hidden=4, epochs=2, batch=5,
    )  # fmt: skip
    assert (model.channels, model.units) == (("x", "v"), ("m", "m/s"))
    assert [line.epoch for line in model.history] == [1, 2]
    assert seen[0] == "epoch 1/2"
    assert model.config == SeriesConfig(model="gru", hidden=4, epochs=2, batch=5)
    series = IrregularSeries.of_arrays(t, y, mask, ("x", "v"))
    assert model.history[-1].loss == train(series, model.config).state(model.history[-1]).line["loss"]


# What is refused.


@pytest.mark.parametrize(
    ("at", "why"),
    [
        ([1.0, 0.5], "`at` must be finite and rise strictly; sort it"),
        ([1.0, 1.0], "`at` must be finite and rise strictly; sort it, and drop repeated times"),
        ([1.0, math.nan], "`at` must be finite"),
        ([], "at least one, got the shape (0,)"),
        ([[1.0], [2.0]], "`at` must be (times,) or (4, times), at least one, got the shape (2, 1)"),
    ],
)
def test_times_that_cannot_be_asked_for_are_refused(at, why, untrained, sines_of):
    with pytest.raises(ValueError, match="`at`") as raised:
        untrained().interpolate(*sines_of(4), at=at)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_extrapolation_to_times_already_observed_is_refused(untrained, sines_of):
    t, y = sines_of(4)
    with pytest.raises(ValueError, match=r"`at` must be after the last observation, at .* in series 0; got 0\.1; use"):
        untrained().extrapolate(t, y, at=[0.1, 5.0])


def test_observations_of_other_channels_are_refused(untrained, sines_of):
    with pytest.raises(DataError, match=r"^`y` has 2 channels, the model was trained on 1: a$"):
        untrained(channels=("a",)).interpolate(*sines_of(4), at=[1.0])


@pytest.mark.parametrize("model", ["ode-rnn", "rnn", "gru"])
def test_recurrent_models_have_no_prior(model, untrained):
    with pytest.raises(ConfigError, match=f"^the model {model} has no prior to sample from; latent-ode has$"):
        untrained(model).sample(3, at=[0.0, 1.0])


@pytest.mark.parametrize(("count", "at"), [(0, [0.0, 1.0]), (2, [-1.0, 1.0])])
def test_samples_that_cannot_be_drawn_are_refused(count, at, untrained):
    with pytest.raises(ValueError, match="`count` must be at least 1 and `at` at least 0"):
        untrained().sample(count, at=at)


def test_settings_that_do_not_exist_and_a_negative_number_of_draws_are_refused(sines_of, untrained):
    t, y = sines_of(4)
    with pytest.raises(ConfigError, match="unknown settings: colour"):
        fit(t, y, colour="red")
    with pytest.raises(ValueError, match="`draws` must be at least 0, got -1"):
        untrained().interpolate(t, y, at=[1.0], draws=-1)
