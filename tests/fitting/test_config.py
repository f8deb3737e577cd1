"""Settings are checked when they are made, and survive TOML."""

from __future__ import annotations

import tomllib

import pytest

from physode.errors import ConfigError
from physode.fitting import FitConfig
from physode.fitting.config import GRADIENTS, OPTIMIZERS, RHS
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
    constants = {
        "init": {"masses": (1.0, 2.0, 1 / 3)},
        "fix": {"masses[1]": (1.0,), "G": (39.478,), "masses[2]": ()},
        "bounds": {"masses[3]": (0.1, float("inf"))},
        "priors": {"masses[3]": (0.3, 1e-3)},
    }
    weights = {"sigma": 1e-6, "robust": "huber", "robust_scale": 2.0, "initial_state": "fit", "schedule": "shooting"}
    config = FitConfig(rhs="hybrid", hidden=(8, 4), lr=1e-3, trajectories=(1, 2), stages=3, **constants, **weights)
    assert FitConfig.from_dict(tomllib.loads(dumps(config.completed().as_dict()))) == config.completed()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rhs": "magic"}, f"`rhs` must be one of {', '.join(RHS)}; got 'magic'"),
        ({"optimizer": "magic"}, f"`optimizer` must be one of {', '.join(OPTIMIZERS)}"),
        ({"gradient": "magic"}, f"`gradient` must be one of {', '.join(GRADIENTS)}"),
        ({"method": "magic"}, "magic"),
        ({"device": "abacus"}, "abacus"),
        ({"rtol": 0.0}, "`rtol` must be above 0, finite; got 0.0"),
        ({"lr": float("nan")}, "`lr` must be above 0, finite; got nan"),
        ({"optimizer": "adam", "lr_decay": 1.1}, "`lr_decay` must be above 0, at most 1; got 1.1"),
        ({"epochs": 0}, "`epochs` must be a whole number, at least 1; got 0"),
        ({"train_until": float("inf")}, "`train_until` must be finite; got inf"),
        ({"rhs": "neural", "positive": True}, "`positive` needs a right-hand side with constants"),
        ({"hidden": (8,)}, "`hidden` needs a network"),
        ({"gradient": "naive"}, "`gradient` 'naive' has no part in optimizer='lm'"),
        ({"lr": 0.1}, "`lr` and `lr_decay` have no part in optimizer='lm'"),
        ({"compile": True, "optimizer": "adam", "gradient": "adjoint"}, "`compile` goes with gradient='aca'"),
        ({"sigma": 0.0}, "`sigma` must be above 0, finite; got 0.0"),
        ({"robust": "magic"}, "`robust` must be one of huber, soft_l1, cauchy; got 'magic'"),
        ({"robust_scale": 2.0}, "`robust_scale` has no part without `robust`"),
        ({"initial_state": "guess"}, "`initial_state` must be one of known, fit; got 'guess'"),
        ({"schedule": "magic"}, "`schedule` must be one of full, growing, shooting, matching; got 'magic'"),
        ({"stages": 0}, "`stages` must be a whole number, at least 1; got 0"),
        ({"schedule": "full", "stages": 2}, "`stages` has no part in schedule='full'"),
        ({"bounds": {"mu": (2.0, 1.0)}}, "`bounds` of 'mu' must be a lower and a larger upper number, got [2.0, 1.0]"),
        ({"bounds": {"mu": (1.0, float("nan"))}}, "`bounds` of 'mu' must be a lower and a larger upper number"),
        ({"priors": {"mu": (1.0,)}}, "`priors` of 'mu' must be a mean and a standard deviation above 0, got [1.0]"),
        ({"priors": {"mu": (float("inf"), 1.0)}}, "`priors` of 'mu' must be a mean and a standard deviation above 0"),
        ({"fix": {"masses[0]": ()}}, "'masses[0]' is not the name of a constant, or of an element"),
        ({"init": {"2nd": (1.0,)}}, "'2nd' is not the name of a constant"),
        ({"rhs": "neural", "fix": {"mu": ()}}, "`fix` needs a right-hand side with constants; rhs='neural' has none"),
        ({"rhs": "neural", "priors": {"mu": (1.0, 1.0)}}, "`priors` needs a right-hand side with constants"),
        ({"rhs": "lstm", "optimizer": "lm"}, "`optimizer` 'lm' has no part in rhs='lstm', which has 'adam'"),
        ({"rhs": "lstm", "schedule": "growing"}, "`schedule` 'growing' has no part in rhs='lstm'"),
        ({"rhs": "lstm", "sigma": 0.1}, "`sigma` has no part in rhs='lstm'"),
        ({"rhs": "lstm-aug", "hidden": (8, 4)}, "`hidden` of rhs='lstm-aug' must be one width"),
        ({"rhs": "lstm", "time_weight": 0.1}, "`time_weight` has no part in rhs='lstm'"),
        ({"betas": (0.5, 0.5)}, "`betas` must be two numbers, and of optimizer='adam'; got [0.5, 0.5]"),
        ({"optimizer": "adam", "betas": (0.5,)}, "`betas` must be two numbers, and of optimizer='adam'; got [0.5]"),
        ({"optimizer": "adam", "betas": (0.5, 1.0)}, "`betas` must be numbers from 0 to below 1"),
        ({"time_weight": 0.0}, "`time_weight` must be above 0, finite; got 0.0"),
        ({"rhs": "neural", "pairs": "unordered"}, "`pairs` and `gravity_units` are settings of rhs='augmented'"),
        ({"gravity_units": True}, "`pairs` and `gravity_units` are settings of rhs='augmented', not of 'physical'"),
        ({"predicts": "position"}, "`predicts` is a setting of rhs='lstm' and 'lstm-aug', not of 'physical'"),
        ({"sequence": 1}, "`sequence` must be a whole number, at least 2; got 1"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError) as caught:
        FitConfig(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": "red"}, "unknown settings: colour"),
        ({"epochs": "many"}, "`epochs` must be a whole number, at least 1; got 'many'"),
        ({"epochs": True}, "`epochs` must be a whole number, at least 1; got True"),
        ({"positive": 1}, "`positive` must be true or false; got 1"),
        ({"init": {"masses": 1.0}}, "`init` must hold lists of numbers"),
        ({"fix": {"G": 1.0}}, "`fix` must hold lists of numbers"),
        ({"priors": {"G": ["a", "b"]}}, "`priors` must hold lists of numbers"),
        ({"sigma": "small"}, "`sigma` must be above 0, finite; got 'small'"),
        ({"stages": 2.5}, "`stages` must be a whole number, at least 1; got 2.5"),
        ({"schedule": 3}, "`schedule` must be one of"),
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


def test_schedules_are_chosen_by_optimiser_and_right_hand_side():
    cases = {
        ("physical", None): ("growing", 5),
        ("hybrid", "lm"): ("matching", 5),
        ("neural", "lm"): ("matching", 5),
        ("physical", "adam"): ("full", 1),
        ("neural", None): ("full", 1),
        ("lstm", None): ("full", 1),
    }
    found = {case: FitConfig(rhs=case[0], optimizer=case[1]).completed() for case in cases}
    assert {case: (each.schedule, each.stages) for case, each in found.items()} == cases
