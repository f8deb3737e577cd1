"""Recurrent networks are fitted, gone on with, and refuse what they cannot learn from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from physode.errors import ConfigError, DataError
from physode.fitting import FitConfig, create_run, effective_config, fit, open_run
from physode.fitting.data import digest
from physode.fitting.recurrent import RECURRENT
from physode.models import TrajectoryLSTM
from physode.simulators import simulate_three_body

SMALL = {"hidden": (8,), "sequence": 8, "given": 4, "epochs": 6}


@pytest.fixture(scope="module")
def pair():
    """Two trajectories of three bodies at 41 shared times."""
    return simulate_three_body(preset="aca", n=2, t_end=0.4, points=41, noise=1e-4)


@pytest.mark.parametrize("rhs", RECURRENT)
def test_a_fit_returns_the_network_and_its_forecasts(pair, rhs):
    found = fit(pair, FitConfig(rhs=rhs, **{**SMALL, "epochs": 30}))
    assert isinstance(found.model, TrajectoryLSTM)
    losses = [epoch.loss for epoch in found.history]
    assert min(losses) < 0.5 * losses[0]
    assert found.predictions.y.shape == pair.y.shape
    assert np.isfinite(found.predictions.y[..., :9]).all()
    assert np.isnan(found.predictions.y[..., 9:]).all()
    with pytest.raises(ConfigError, match=f"a fit of rhs='{rhs}' has no right-hand side; its network is `model`"):
        _ = found.rhs


def test_the_first_points_are_given_and_errors_are_those_of_forecasts(pair):
    found = fit(pair, FitConfig(rhs="lstm", **SMALL))
    predicted, observed = found.predictions.y[..., :9], pair.y[..., :9]
    np.testing.assert_array_equal(predicted[:, : SMALL["given"]], observed[:, : SMALL["given"]])
    training, beyond, _ = found.report.errors
    rows = pair.t > 0.2
    assert beyond.mse == pytest.approx(np.mean((predicted - observed)[:, rows] ** 2))
    assert (training.values, beyond.values) == (2 * 9 * 20, 2 * 9 * 20)
    assert found.report.constants == found.report.initial_states == ()
    assert found.report.parameters == sum(each.numel() for each in found.model.parameters())


def test_the_seed_decides_the_network(pair):
    settings = FitConfig(rhs="lstm", **{**SMALL, "epochs": 2})
    one, same, other = (fit(pair, dataclasses.replace(settings, seed=seed)) for seed in (0, 0, 1))
    assert one.history == same.history != other.history


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize("rhs", RECURRENT)
def test_an_interrupted_fit_goes_on_to_the_same_numbers(pair, tmp_path, rhs):
    config = effective_config(FitConfig(rhs=rhs, **SMALL), pair)
    whole, broken = (create_run(tmp_path / name, config, data=[], digest=digest(pair)) for name in ("whole", "broken"))

    def stop(epoch):
        if epoch.epoch == 3:
            raise InterruptionError

    expected = fit(pair, config, run=whole)
    with pytest.raises(InterruptionError):
        fit(pair, config, run=broken, on_epoch=stop, checkpoint_seconds=1e9)
    found = fit(pair, config, run=open_run(broken.path), resume=True)
    assert broken.history() == whole.history()
    assert found.report == expected.report
    for name, value in expected.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    np.testing.assert_array_equal(found.predictions.y, expected.predictions.y)


def uneven(data):
    return dataclasses.replace(data, t=data.t**2)


def own_times(data):
    return dataclasses.replace(data, t=np.stack([data.t, data.t + 0.01]))


def holed(data):
    y = data.y.copy()
    y[0, 7, 2] = np.nan
    return dataclasses.replace(data, y=y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (uneven, "equally spaced"),
        (own_times, "needs times that all trajectories share; choose one with `trajectories`"),
        (holed, "point 7 has missing values"),
    ],
)
def test_wrong_data_are_named(pair, change, message):
    with pytest.raises(ConfigError) as caught:
        fit(change(pair), FitConfig(rhs="lstm", **SMALL))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_without_bodies_are_named(oscillation):
    with pytest.raises(ConfigError, match=r"rhs='lstm' needs bodies' positions, columns r1_x, .* have y1, y2"):
        fit(oscillation, FitConfig(rhs="lstm", **SMALL))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequence": 22}, "22"),
        ({"given": 41}, "`given` 41 points leave none of the 41 to forecast"),
    ],
)
def test_sequences_that_do_not_fit_the_data_are_named(pair, settings, message):
    with pytest.raises((ConfigError, DataError), match=message):
        fit(pair, FitConfig(rhs="lstm", **{**SMALL, **settings}))
