"""Evaluations of models of series, and their files."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from physode.datasets.series import IrregularSeries
from physode.errors import ConfigError, DataError
from physode.series import create_series_run, evaluate, train
from physode.series.data import split
from physode.series.evaluation import held_out_series, keep_series_evaluation
from physode.series.reconstruction import reconstruct
from physode.training.evaluation_files import evaluation_name

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def trained(tmp_path, series_of, config_of):
    """Train a small model, and return its run and series."""

    def make(*, series=None, **settings):
        series = series_of(missing=0.3, noise=0.1) if series is None else series
        run = create_series_run(
            tmp_path / "run",
            config_of(**{"epochs": 2, "lr": 0.02, **settings}),
            data=tmp_path / "sines.h5",
            channels=series.channels,
            units=series.units,
            time_unit="s",
            digest=series.digest(),
        )
        train(series, run.config, run=run)
        return run, series

    return make


@pytest.mark.parametrize("task", ["interpolation", "extrapolation"])
def test_the_training_s_own_test_is_repeated(trained, task):
    run, series = trained(task=task)
    found = evaluate(run, series, draws=2)
    last = run.history()[-1]
    assert found.tasks[task].scores.mse == pytest.approx(last["test_mse"], rel=1e-12)
    assert found.tasks[task].scores.mse_by_range == pytest.approx(last["test_mse_by_range"], rel=1e-12)
    assert (found.epoch, len(found.series)) == (2, 4)


@pytest.mark.parametrize("model", ["latent-ode", "gru"])
def test_scores_are_those_of_the_predictions_that_are_kept(trained, model):
    run, series = trained(model=model)
    training = split(series, run.config)[0].y.reshape(-1, 2)
    sizes = np.nanstd(training, axis=0), np.nanmax(training, axis=0) - np.nanmin(training, axis=0)
    for each in evaluate(run, series, draws=3).tasks.values():
        asked = np.isfinite(each.mean) & np.isfinite(each.y)
        squares = [np.square((each.mean - each.y) / size) for size in sizes]
        scores = each.scores
        assert scores.values == asked.sum()
        assert scores.mse == pytest.approx(squares[0][asked].mean(), rel=1e-10)
        assert scores.mse_by_range == pytest.approx(squares[1][asked].mean(), rel=1e-10)
        # A point is known if any of its channels was told, and all of them are told together.
        unseen = asked & ~each.told.any(-1, keepdims=True)
        assert scores.unseen_by_range == pytest.approx(squares[1][unseen].mean(), rel=1e-10)
        for channel, rmse in enumerate(scores.rmse):
            here = asked[..., channel]
            assert rmse == pytest.approx(np.sqrt(np.square(each.mean - each.y)[here, channel].mean()), rel=1e-10)


def test_the_log_likelihood_of_a_model_without_draws_is_that_of_its_normal_distributions(trained):
    run, series = trained(model="gru")
    scale = np.nanstd(split(series, run.config)[0].y.reshape(-1, 2), axis=0)
    each = evaluate(run, series).tasks["interpolation"]
    known = np.isfinite(each.y)
    density = -0.5 * np.square((each.y - each.mean) / each.std) - np.log(each.std / scale) - 0.5 * np.log(2 * np.pi)
    assert each.scores.log_likelihood == pytest.approx(density[known].mean(), rel=1e-10)


def test_what_is_told_is_a_share_of_the_points_and_before_the_cut_in_extrapolation(trained, series_of):
    run, series = trained(series=series_of(points=10))
    tasks = evaluate(run, series, observed=0.2, draws=2).tasks
    assert_array_equal(tasks["interpolation"].told.any(-1).sum(1), 2)
    late = tasks["extrapolation"]
    cut = 0.5 * (late.t[:, :1] + late.t[:, -1:])
    assert not late.told[late.t > cut].any()
    assert np.isnan(late.mean[late.t <= cut]).all()
    assert np.isfinite(late.mean[late.t > cut]).all()
    assert (late.std[late.t > cut] > 0).all()


def test_padding_and_times_without_values_are_not_predicted(trained, sines_of):
    t, y = sines_of(points=6)
    y[::2, 4:] = np.nan
    t[::2, 4:] = np.nan
    y[1::2, 2] = np.nan  # times that nothing was observed at
    run, series = trained(series=IrregularSeries.of_arrays(t, y))
    found = evaluate(run, series, draws=2).tasks["interpolation"]
    lengths = np.isfinite(found.t).sum(1)
    assert_array_equal(np.sort(np.unique(lengths)), [4, 5])
    assert_array_equal(np.isnan(found.mean).all(-1), np.isnan(found.t))
    assert_array_equal(np.isnan(found.y).all(-1), np.isnan(found.t))


def test_another_solver_replaces_the_latent_path_s(trained):
    run, series = trained()
    fine = evaluate(run, series, solver={"method": "dopri8", "rtol": 1e-10, "atol": 1e-12}, draws=2)
    steps = evaluate(run, series, solver={"step": 0.01}, draws=2)
    own = evaluate(run, series, draws=2)
    assert fine.as_dict()["solver"] == "dopri8, rtol 1e-10, atol 1e-12"
    assert (steps.as_dict()["solver"], own.as_dict()["solver"]) == ("rk4, step 0.01", "rk4, step 0.2")
    mse = [each.tasks["interpolation"].scores.mse for each in (fine, steps, own)]
    assert mse[1] == pytest.approx(mse[0], rel=1e-7)
    assert mse[2] != mse[0]


def test_a_model_without_a_latent_path_refuses_a_solver(trained):
    run, series = trained(model="rnn")
    assert evaluate(run, series).solver is None
    with pytest.raises(ConfigError, match="the model rnn has no latent path, whose solver could be another one"):
        evaluate(run, series, solver={"method": "rk4"})


def test_other_series_are_tested_on_whole_or_refused(trained, series_of):
    run, series = trained()
    others = series_of(6, seed=1)
    with pytest.raises(DataError, match=r"these are not the series that .* was trained on"):
        evaluate(run, others)
    assert len(evaluate(run, others, all_series=True, draws=2).series) == 6
    assert len(evaluate(run, series, all_series=True, draws=2).series) == 20
    with pytest.raises(DataError, match=r"the series have the channels y1, y2, y3, .* knows y1, y2"):
        evaluate(run, series_of(channels=3), all_series=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"observed": 1.5}, ConfigError, "`observed` must be above 0, at most 1; got 1.5"),
        ({"tasks": ("smoothing",)}, ConfigError, "`task` must be one of interpolation, extrapolation; got 'smoothing'"),
        ({"draws": 0}, ValueError, "`draws` must be at least 1, got 0"),
        ({"which": "first"}, DataError, r"first\.pt does not exist"),
    ],
)
def test_what_cannot_be_evaluated_is_named(trained, options, error, message):
    run, series = trained()
    with pytest.raises(error, match=message):
        evaluate(run, series, **options)


def test_files_hold_the_scores_and_the_predictions(trained):
    run, series = trained()
    found = evaluate(run, series, draws=2)
    paths = keep_series_evaluation(found, "test")
    kept = json.loads(paths["json"].read_text())
    assert kept["tasks"]["extrapolation"]["mse"] == found.tasks["extrapolation"].scores.mse
    assert set(kept["tasks"]["interpolation"]["rmse"]) == {"y1", "y2"}
    with h5py.File(paths["h5"]) as file:
        assert (list(file), list(file.attrs["channels"])) == (["extrapolation", "interpolation"], ["y1", "y2"])
        assert list(file.attrs["series"]) == list(found.series.names)
        for task, each in found.tasks.items():
            for name in ("t", "y", "told", "mean", "std"):
                assert_array_equal(file[task][name][...], getattr(each, name))
    with pytest.raises(DataError, match="exists already"):
        keep_series_evaluation(found, "test")
    keep_series_evaluation(found, "test", overwrite=True)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({}, "test"),
        ({"which": "best", "everything": True}, "test-all-best"),
        ({"changes": {"observed": 0.1}, "solver": {"method": "rk4", "step": 0.02}}, "test-observed-0.1-rk4-step-0.02"),
    ],
)
def test_an_evaluation_is_called_after_what_differs(told, name):
    assert evaluation_name(**told) == name


# What figures show.


def test_a_path_is_asked_for_evenly_and_passes_through_the_test_s_predictions(trained):
    run, series = trained(series=None)
    found = evaluate(run, series, draws=2)
    forecaster, testing = found.forecaster, held_out_series(run, series)
    shown = reconstruct(forecaster, testing, run.config, rows=[1], points=401, draws=2)[0]
    assert shown.name == testing.names[1]
    assert_allclose(np.diff(shown.path.t[0]), (shown.t[-1] - shown.t[0]) / 400)
    each = found.tasks["interpolation"]
    used = np.isfinite(each.t[1])
    assert_array_equal(shown.told, each.told[1, used].any(-1))
    for channel in range(2):
        between = np.interp(shown.t, shown.path.t[0], shown.path.mean[0, :, channel])
        assert_allclose(between, each.mean[1, used, channel], atol=2e-3)


@pytest.mark.parametrize("model", ["ode-rnn", "rnn", "gru"])
def test_a_causal_model_says_the_same_of_a_time_whichever_others_are_asked(trained, model):
    run, series = trained(model=model)
    found = evaluate(run, series, tasks=("interpolation",))
    (shown,) = reconstruct(found.forecaster, found.series, run.config, rows=[1], points=7)
    observed = np.where(shown.told[:, None], shown.y, np.nan)[None]
    mask = np.isfinite(observed)
    for place, time in enumerate(shown.path.t[0]):
        alone = found.forecaster.interpolate(shown.t, observed, mask, at=[time])
        assert_allclose(alone.mean[0, 0], shown.path.mean[0, place], rtol=1e-10, atol=1e-12)
