"""How fits end: by name, never worse than their start, within a time limit, and in JSON that every reader takes."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from physode.errors import ConfigError, DataError
from physode.fit_status import is_trusted, status_of
from physode.fitting import FitConfig, create_run, effective_config, fit, open_run
from physode.fitting.data import digest
from physode.fitting.problem import pose_fit
from physode.fitting.sanity_checks import astray, share_left, verdict
from physode.fitting.state import TrainingState
from physode.simulators import simulate_van_der_pol

GRID = {"method": "rk4", "train_until": 6.0}
RUNAWAYS = {
    "sgd": {"optimizer": "sgd", "lr": 300.0, "epochs": 6, "free": ("mu",)},
    "sgd, no way on": {"optimizer": "sgd", "lr": 1e3, "epochs": 6},
    "adam": {"optimizer": "adam", "lr": 30.0, "epochs": 4, "free": ("mu",)},
    "adam, known start": {"optimizer": "adam", "lr": 8.0, "epochs": 4, "initial_state": "known"},
    "a network": {"rhs": "neural", "optimizer": "adam", "lr": 100.0, "epochs": 4, "hidden": (4,)},
    "growing": {"optimizer": "adam", "lr": 5.0, "epochs": 6, "schedule": "growing", "stages": 3},
    "shooting": {"optimizer": "adam", "lr": 5.0, "epochs": 6, "schedule": "shooting", "stages": 2},
}


@pytest.fixture(scope="module")
def noisy():
    return simulate_van_der_pol(preset="aca", t_end=6.0, points=31, noise=0.01)


def start_of(data, config):
    """The loss of the initial guess over the whole training span."""
    config = effective_config(config, data)
    torch.manual_seed(config.seed)
    problem = pose_fit(data, config)
    return problem.begin(problem.stages[-1]).loss()


@pytest.mark.parametrize("kind", RUNAWAYS)
def test_a_fit_that_runs_away_says_so_and_is_never_worse_than_its_start(noisy, kind):
    config = FitConfig(**RUNAWAYS[kind], **GRID)
    found = fit(noisy, config)
    losses = [epoch.loss for epoch in found.history if epoch.loss is not None]
    assert found.report.status in ("diverged", "no progress")
    assert found.report.ended.startswith(f"{found.report.status}: ")
    assert max(losses) > losses[0]
    assert found.report.loss <= start_of(noisy, config) * (1 + 1e-12)


def test_a_fit_that_runs_into_a_flat_place_has_not_converged():
    """SGD that has jumped to where no gradient is comes to rest; the loss there is not the smallest."""
    state = TrainingState(9, 7e12, {}, {}, {}, 0.5, {}, finished="converged: the parameters no longer move")
    assert verdict(state, start=0.5).startswith("diverged: the loss went from 0.5 to 7e+12; the smallest, 0.5, is kept")
    assert status_of(verdict(state, start=math.inf)) == "diverged"


def test_a_single_step_that_is_too_long_is_no_divergence():
    for last, status in ((50.0, "max epochs"), (7e12, "diverged")):
        state = TrainingState(1, last, {}, {}, {}, 1.0, {}, finished="all 1 epochs done")
        assert status_of(verdict(state, start=1.0)) == status


@pytest.mark.parametrize(
    ("finished", "start", "last", "best", "status"),
    [
        ("converged: x", 1.0, 0.1, 0.1, "converged"),
        ("converged: x", 1.0, 1.0, 1.0, "converged"),
        ("converged: x", 1.0, 0.2, 0.1, "diverged"),
        ("all 9 epochs done", 1.0, 0.5, 0.1, "max epochs"),
        ("all 9 epochs done", 1.0, 5.0, 0.1, "max epochs"),
        ("all 9 epochs done", 1.0, 11.0, 0.1, "diverged"),
        ("all 9 epochs done", 1.0, 1.5, 1.0, "no progress"),
        ("all evaluations used up before it converged; raise `epochs`", math.inf, 1.0, 1.0, "max epochs"),
        ("out of time: x", 1.0, 50.0, 1.0, "out of time"),
    ],
)
def test_the_verdict_holds_claims_against_losses(finished, start, last, best, status):
    state = TrainingState(9, last, {}, {}, {}, best, {}, finished=finished)
    assert status_of(verdict(state, start=start)) == status


@pytest.mark.parametrize(
    ("mse", "left", "chi_square", "status"),
    [
        (0.5, 0.5, None, "converged"),
        (0.5, 1.01, None, "explains nothing"),
        (7e12, 7e12, None, "explains nothing"),
        (7e12, 7e12, 7e12, "explains nothing"),
        (0.5, 1.01, 1.1, "converged"),  # no more than noise is left, of data that are no more than that
        (0.5, math.nan, None, "converged"),  # of data that do not vary
        (None, math.nan, None, "diverged"),
    ],
)
@pytest.mark.parametrize("ended", ["converged: the loss no longer falls", "all 9 epochs done"])
def test_what_came_to_rest_far_from_the_data_explains_nothing(ended, mse, left, chi_square, status):
    expected = status_of(ended) if status == "converged" else status
    assert status_of(astray(ended, mse, left, chi_square=chi_square, freedom=100)) == expected
    assert is_trusted(expected) == (status == "converged")


@pytest.mark.parametrize("sigma", [None, 0.1])
def test_the_share_that_is_left_is_that_of_weighted_squares(noisy, sigma):
    from physode.fitting.data import prepare

    config = effective_config(FitConfig(sigma=sigma, **GRID), noisy)
    data = prepare(noisy, config)
    y = noisy.y[0, noisy.t <= 6.0]
    predicted = y + 0.3 * np.cos(np.arange(y.size)).reshape(y.shape)
    rows = slice(1, None) if not data.training[0].any() else slice(None)
    expected = ((predicted - y)[rows] ** 2).sum() / ((y[rows] - y[rows].mean(0)) ** 2).sum()
    states = torch.from_numpy(np.concatenate([predicted, noisy.y[0, noisy.t > 6.0]]))
    states = states.unsqueeze(1) if data.batched else states
    assert share_left(data, states) == pytest.approx(expected, rel=1e-9)
    assert math.isnan(share_left(data, states * math.nan))


def test_what_has_failed_already_or_goes_on_keeps_its_name():
    for ended in ("diverged: x", "no progress: x", "out of time: x"):
        assert astray(ended, 9.0, 9.0) == ended


def test_least_squares_in_a_hopeless_place_explain_nothing(noisy):
    """No oscillation from this known state is as small as these values: least squares converge, and not to them."""
    y = noisy.y.copy()
    y[:, 1:] *= 1e-3
    data = dataclasses.replace(noisy, y=y, y_clean=None)
    found = fit(data, FitConfig(initial_state="known", schedule="full", free=("threshold",), **GRID))
    assert found.report.status == "explains nothing"
    assert "of the data's variance, their means leave less" in found.report.ended


@pytest.mark.parametrize("settings", [{}, {"optimizer": "lbfgs"}, {"optimizer": "adam", "epochs": 3}])
def test_good_fits_end_as_before(noisy, settings):
    found = fit(noisy, FitConfig(**settings, **GRID))
    assert found.report.status == ("max epochs" if settings.get("epochs") else "converged")


def test_a_rate_below_rounding_is_no_convergence(noisy):
    found = fit(noisy, FitConfig(optimizer="adam", lr=1e-30, epochs=5, **GRID))
    assert found.report.ended.startswith("no progress: steps are below rounding at the learning rate 1e-30")


def test_the_last_stage_begins_at_the_guess_where_shorter_spans_have_led_astray(noisy):
    """Values that are not the oscillator's lead the stage before the last away from a guess that was right."""
    y = noisy.y_clean.copy()
    y[0, 1:16] = -y[0, 1:16]
    data = dataclasses.replace(noisy, y=y)
    start = {"mu": (1.0,), "threshold": (0.15,)}
    settings = {"optimizer": "adam", "lr": 0.3, "epochs": 12, "schedule": "growing", "stages": 2, "init": start}
    config = FitConfig(**settings, **GRID)
    found = fit(data, config)
    astray_at = [epoch.constants for epoch in found.history if epoch.stage == 1][-1]
    assert abs(astray_at["mu"][0] - 1.0) > 0.05
    assert found.report.loss <= start_of(data, config) * (1 + 1e-12)


LIMITED = {
    "lm": {"schedule": "growing", "stages": 2},
    "adam": {"optimizer": "adam", "lr": 0.05, "epochs": 12, "schedule": "shooting", "stages": 3},
    "lbfgs": {"optimizer": "lbfgs", "epochs": 5},
}


@pytest.mark.parametrize("kind", LIMITED)
def test_a_fit_out_of_time_says_so_and_goes_on_to_the_same_numbers(noisy, tmp_path, kind):
    config = effective_config(FitConfig(**LIMITED[kind], **GRID), noisy)
    whole, limited = (create_run(tmp_path / name, config, data=[], digest=digest(noisy)) for name in ("whole", "part"))
    expected = fit(noisy, config, run=whole)
    found = fit(noisy, config, run=limited, max_seconds=1e-9)
    assert found.report.status == "out of time"
    assert found.report.ended.startswith("out of time: the limit of 1e-09 s was reached after epoch 0")
    assert open_run(limited.path).report()["status"] == "out of time"
    assert np.isfinite(found.predictions.y[0, :10]).all()
    found = fit(noisy, config, run=open_run(limited.path), resume=True, max_seconds=1e-9)
    assert found.report.status == "out of time"
    found = fit(noisy, config, run=open_run(limited.path), resume=True)
    assert limited.history() == whole.history()
    assert found.report == expected.report
    np.testing.assert_array_equal(found.predictions.y, expected.predictions.y)


def test_a_recurrent_network_s_fit_has_a_limit_and_a_status(bodies, tmp_path):
    settings = {"rhs": "lstm", "epochs": 3, "hidden": (4,), "sequence": 8, "given": 4, "train_until": 0.4}
    config = effective_config(FitConfig(**settings), bodies)
    run = create_run(tmp_path / "run", config, data=[], digest=digest(bodies))
    limited = fit(bodies, config, run=run, max_seconds=1e-9)
    assert (limited.report.status, limited.report.epochs) == ("out of time", 0)
    whole = fit(bodies, config)
    assert whole.report.ended.startswith("explains nothing: all 3 epochs done; the fit leaves ")
    assert fit(bodies, config, run=run, resume=True).report == whole.report
    wild = fit(bodies, dataclasses.replace(config, lr=1e6))
    assert wild.report.status in ("diverged", "no progress")


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_a_limit_is_a_length_of_time(noisy, seconds):
    with pytest.raises(ValueError, match="`max_seconds` must be a positive number"):
        fit(noisy, max_seconds=seconds)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_the_time_between_checkpoints_is_finite(noisy, seconds):
    with pytest.raises(ValueError, match="`checkpoint_seconds` must be at least 0 and finite"):
        fit(noisy, checkpoint_seconds=seconds)


def test_history_and_report_are_valid_json_and_old_ones_are_read(noisy, tmp_path):
    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    run = create_run(tmp_path / "run", effective_config(FitConfig(), noisy), data=[], digest=digest(noisy))
    run.append({"epoch": 0, "loss": math.inf, "constants": {"mu": [math.nan, 1.0]}})
    run.write_results(noisy, {"loss": math.nan, "errors": [{"mse": -math.inf}]})
    line = (run.path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=refuse) == {"epoch": 0, "loss": None, "constants": {"mu": [None, 1.0]}}
    report = (run.path / "report.json").read_text()
    assert json.loads(report, parse_constant=refuse) == {"loss": None, "errors": [{"mse": None}]}
    (run.path / "metrics.jsonl").write_text('{"epoch": 0, "loss": Infinity}\n{"epoch": 1, "loss": NaN}\n')
    assert [line["epoch"] for line in run.history()] == [0, 1]
    run.forget_after(0, first=0)
    assert run.history() == [{"epoch": 0, "loss": None}]


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_values_are_not_left_out_of_a_fit(noisy, value):
    y = noisy.y.copy()
    y[0, 7, 1] = value
    with pytest.raises(DataError, match="1 values are infinite, the first is y2 at time 7 of trajectory 0"):
        fit(dataclasses.replace(noisy, y=y))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": 65}, "`stages` must not be larger than 64"),
        ({"sigma": 1e-320}, "`sigma` must not be smaller than 1e-150: its square is 0"),
        ({"robust_scale": 1e308, "robust": "huber"}, "`robust_scale` must not be larger than 1e[+]150"),
        ({"fix": {"mu": (math.nan,)}}, "`fix` of 'mu' must be finite"),
    ],
)
def test_settings_of_an_impossible_size_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        FitConfig(**settings)
