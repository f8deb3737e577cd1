"""Settings are checked when they are made, and survive TOML."""

from __future__ import annotations

import tomllib

import pytest

from physode.errors import ConfigError
from physode.training import FitConfig
from physode.training.config import GRADIENTS, OPTIMIZERS, RHS
from physode.training.toml import dumps


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": 0.1, "c": True, "d": "x", "e": [1.0, 2.5], "f": []},
        {"text": 'quote " back \\ tab \t line \n delete \x7f bell \a umlaut ü emoji 🪐'},
        {"tiny": 1e-300, "third": 1 / 3, "big": 1e22, "inf": float("inf"), "minus": -0.0},
        {"outer": {"inner": {"deep": 1}, "x": 2}, "y": 3, "odd key.": {"é": 1}},
    ],
)
def test_toml_gives_back_what_was_written(value):
    assert tomllib.loads(dumps(value)) == value


def test_toml_has_no_place_for_nothing():
    with pytest.raises(TypeError, match="`lr` cannot be written"):
        dumps({"lr": None})


def test_settings_survive_toml():
    config = FitConfig(rhs="hybrid", init={"masses": (1.0, 2.0, 1 / 3)}, hidden=(8, 4), lr=1e-3, trajectories=(1, 2))
    assert FitConfig.from_dict(tomllib.loads(dumps(config.completed().as_dict()))) == config.completed()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rhs": "magic"}, f"`rhs` must be one of: {', '.join(RHS)}; got 'magic'"),
        ({"optimizer": "magic"}, f"`optimizer` must be one of: {', '.join(OPTIMIZERS)}"),
        ({"gradient": "magic"}, f"`gradient` must be one of: {', '.join(GRADIENTS)}"),
        ({"method": "magic"}, "magic"),
        ({"device": "abacus"}, "abacus"),
        ({"rtol": 0.0}, "`rtol` must be positive and finite, got 0.0"),
        ({"lr": float("nan")}, "`lr` must be positive and finite, got nan"),
        ({"optimizer": "adam", "lr_decay": 1.1}, "`lr_decay` must not be above 1"),
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"train_until": float("inf")}, "`train_until` must be a finite time"),
        ({"rhs": "neural", "positive": True}, "`positive` needs a right-hand side with constants"),
        ({"hidden": (8,)}, "`hidden` needs a network"),
        ({"gradient": "naive"}, "`gradient` 'naive' has no part in optimizer='lm'"),
        ({"lr": 0.1}, "`lr` and `lr_decay` have no part in optimizer='lm'"),
        ({"compile": True}, "`compile` has no part in optimizer='lm'"),
        ({"compile": True, "optimizer": "adam", "gradient": "adjoint"}, "`compile` goes with gradient='aca'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError) as caught:
        FitConfig(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": "red"}, "unknown settings ['colour']"),
        ({"epochs": "many"}, "`epochs` is of the wrong type: 'many'"),
        ({"epochs": True}, "`epochs` is of the wrong type"),
        ({"positive": 1}, "`positive` is of the wrong type"),
        ({"init": {"masses": 1.0}}, "`init` must hold lists of numbers"),
        ({"init": [1.0]}, "`init` must hold lists of numbers"),
    ],
)
def test_settings_read_from_a_file_are_not_trusted(settings, message):
    with pytest.raises(ConfigError) as caught:
        FitConfig.from_dict(settings)
    assert message in str(caught.value)


def test_physics_is_fitted_by_least_squares_and_networks_by_adam():
    assert {rhs: FitConfig(rhs=rhs).completed().optimizer for rhs in RHS} == {
        "physical": "lm",
        "augmented": "adam",
        "neural": "adam",
        "hybrid": "adam",
        "lstm": "adam",
        "lstm-aug": "adam",
    }
