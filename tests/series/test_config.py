"""Settings: what cannot be is refused in one line, and what can survives TOML."""

from __future__ import annotations

import math
import tomllib

import pytest

from physode.errors import ConfigError
from physode.models import EULER
from physode.series import SeriesConfig
from physode.training.toml import dumps


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"model": "transformer"}, "`model` must be one of latent-ode, ode-rnn, rnn, gru, gru-d; got 'transformer'"),
        ({"epochs": 0}, "`epochs` must be a whole number, at least 1; got 0"),
        ({"epochs": 2.5}, "`epochs` must be a whole number, at least 1; got 2.5"),
        ({"batch": True}, "`batch` must be a whole number, at least 1; got True"),
        ({"min_points": 1}, "`min_points` must be a whole number, at least 2; got 1"),
        ({"observed": 0.0}, "`observed` must be above 0, at most 1; got 0.0"),
        ({"observed": 1.5}, "`observed` must be above 0, at most 1; got 1.5"),
        ({"until": 1.0}, "`until` must be between 0 and 1; got 1.0"),
        ({"test_fraction": 0.0}, "`test_fraction` must be between 0 and 1; got 0.0"),
        ({"kl_rise": 1.2}, "`kl_rise` must be from 0 to 1; got 1.2"),
        ({"kl_weight": -1.0}, "`kl_weight` must be at least 0, finite; got -1.0"),
        ({"units": 8}, "`units` must be whole numbers, at least 1, such as (100, 100); got 8"),
        ({"encoder_units": (8, 0)}, "`encoder_units` must be whole numbers, at least 1"),
        ({"lr": math.inf}, "`lr` must be above 0, finite; got inf"),
        ({"lr": math.nan}, "`lr` must be above 0, finite; got nan"),
        ({"sigma": 0.0}, "`sigma` must be above 0, finite; got 0.0"),
        ({"clip": 0.0}, "`clip` must be above 0; got 0.0"),
        ({"task": "classification"}, "`task` must be one of interpolation, extrapolation; got 'classification'"),
        ({"model": "gru", "latent": 3}, "the model gru has no `latent`"),
        ({"model": "rnn", "units": (4,)}, "the model rnn has no `units`"),
        ({"model": "gru", "encoder_steps": 2}, "the model gru has no flow between observations for `encoder_steps`"),
        ({"model": "ode-rnn", "gradient": "aca"}, "the model ode-rnn has no latent path for `gradient`"),
        ({"model": "gru-d", "samples": 3}, "the model gru-d has no initial state to draw for `samples`"),
        ({"optimiser": "sgd"}, "`optimiser` must be one of adamw, adamax; got 'sgd'"),
        ({"lr_decay": 1.5}, "`lr_decay` must be above 0, at most 1; got 1.5"),
        ({"kl_decay": 1.0}, "`kl_decay` must be between 0 and 1; got 1.0"),
        ({"gradient": "magic"}, "gradient"),
        ({"method": "rk17"}, "rk17"),
        ({"rtol": 0.0}, "`rtol` must be above 0, finite; got 0.0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings, why):
    with pytest.raises(ConfigError) as raised:
        SeriesConfig(**settings)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "config",
    [
        SeriesConfig(),
        SeriesConfig(units=(), encoder_units=(3, 4), clip=math.inf, gradient="adjoint", limit=7, min_points=2),
        SeriesConfig(model="gru", hidden=9, task="extrapolation"),
        SeriesConfig(optimiser="adamax", lr_decay=0.999, samples=3, kl_delay=10, kl_decay=0.99, scaling="range"),
    ],
)
def test_settings_survive_toml(config):
    assert SeriesConfig.from_dict(tomllib.loads(dumps(config.as_dict()))) == config


def test_unknown_settings_are_named():
    with pytest.raises(ConfigError, match=r"^unknown settings: depth, width$"):
        SeriesConfig.from_dict({"width": 1, "depth": 2})


def test_only_what_is_set_of_the_solver_replaces_the_model_s_own():
    assert SeriesConfig().solver() is None
    solver = SeriesConfig(gradient="adjoint").solver()
    assert solver is not None
    assert (solver.method, solver.rtol, solver.atol, solver.gradient) == ("dopri5", 1e-3, 1e-4, "adjoint")


@pytest.mark.parametrize("model", ["latent-ode", "ode-rnn"])
def test_a_gap_takes_as_many_euler_steps_as_are_set(model):
    solver = SeriesConfig(model=model, encoder_steps=4).encoder_solver()
    assert solver is not None
    assert (solver.method, solver.step, solver.gradient) == ("euler", 0.25, "naive")
    assert SeriesConfig(model=model).encoder_solver() == EULER
    assert SeriesConfig(model="gru").encoder_solver() is None
