"""Right-hand sides rebuilt from a run's folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from physode.errors import ConfigError, DataError
from physode.fitting import FitConfig, create_run, effective_config, fit
from physode.fitting.data import digest
from physode.fitting.rhs import build_rhs, residual_parts
from physode.fitting.run import fitted_rhs
from physode.rhs import MLP, Hybrid, LotkaVolterra, Pendulum
from physode.simulators import simulate, simulate_three_body

T = np.linspace(0.0, 1.0, 21)
Y = np.random.default_rng(0).normal(size=(21, 2))


@pytest.fixture(scope="module")
def swing():
    return simulate(Pendulum(1.0, damping=0.4), [[2.0, 0.0]], T)


def fitted_run(data, folder, **settings):
    config = effective_config(FitConfig(epochs=2, seed=5, **settings), data)
    run = create_run(folder, config, data=[Path("swing.h5")], digest=digest(data))
    return run, fit(data, config, run=run)


def test_the_layer_has_the_units_and_the_pairs_that_are_asked_for():
    data = simulate_three_body(preset="aca", t_end=0.1, points=5)
    G, scale = data.attrs["rhs"]["G"], data.attrs["rhs"]["velocity_scale"]
    literal = build_rhs(FitConfig(rhs="augmented"), data)
    other = build_rhs(FitConfig(rhs="augmented", pairs="unordered", gravity_units=True), data)
    assert (literal.acceleration_scale, literal.layers[0].in_features) == (1 / scale, 81)
    assert (other.velocity_scale, other.acceleration_scale, other.layers[0].in_features) == (scale, G, 45)
    unknown = dataclasses.replace(data, attrs={})
    with pytest.raises(ConfigError, match="`gravity_units` needs data that say their gravitational constant G"):
        build_rhs(FitConfig(rhs="augmented", gravity_units=True), unknown)


@pytest.mark.parametrize(
    "settings",
    [
        {"free": ("length",), "positive": True},
        {"rhs": "hybrid", "free": ("length",), "fix": {"damping": (0.0,)}, "hidden": (4,)},
        {"rhs": "neural", "hidden": (4,), "dtype": "float32"},
    ],
)
def test_a_run_gives_back_what_its_fit_returned(swing, tmp_path, settings):
    run, found = fitted_run(swing, tmp_path / "run", **settings)
    state = torch.get_rng_state()
    rhs = fitted_rhs(run, swing)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(rhs) is type(found.rhs)
    y = torch.from_numpy(Y).to(next(rhs.parameters()).dtype)
    assert torch.equal(rhs(torch.zeros(()), y), found.rhs(torch.zeros(()), y))


def test_a_checkpoint_of_another_network_is_refused(swing, tmp_path):
    run, _ = fitted_run(swing, tmp_path / "run", rhs="neural", hidden=(4,))
    other, _ = fitted_run(swing, tmp_path / "other", rhs="neural", hidden=(5,))
    (other.path / "checkpoints" / "best.pt").replace(run.path / "checkpoints" / "best.pt")
    with pytest.raises(DataError, match=r"best\.pt does not hold the right-hand side that .*run describes"):
        fitted_rhs(run, swing)
    with pytest.raises(DataError, match=r"best\.pt does not exist"):
        fitted_rhs(other, swing)


def test_what_a_hybrid_lacks_is_the_truth_less_its_physics():
    hybrid = Hybrid(Pendulum(2.0), MLP(2).double(), acts_on=["angular_velocity"])
    learnt, missing = residual_parts(hybrid, Pendulum(1.0, damping=0.4), T, Y)
    np.testing.assert_allclose(missing[:, 1], -0.5 * 9.81 * np.sin(Y[:, 0]) - 0.4 * Y[:, 1], rtol=1e-12)
    with torch.no_grad():
        expected = hybrid.residual(torch.zeros(()), torch.from_numpy(Y)).numpy()
    np.testing.assert_allclose(learnt[:, 1], expected[:, 1])
    assert not learnt[:, 0].any()


@pytest.mark.parametrize("truth", [None, MLP(3)])
def test_nothing_is_missing_where_the_truth_is_not_known(truth):
    hybrid = Hybrid(LotkaVolterra(), MLP(2, time=True))
    before = hybrid.residual.layers[0].weight.dtype
    learnt, missing = residual_parts(hybrid, truth, T, Y)
    assert (learnt.shape, learnt.dtype, missing) == ((21, 2), np.float64, None)
    assert hybrid.residual.layers[0].weight.dtype is before
