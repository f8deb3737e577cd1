"""What Table 5 is made of: its models, the settings of each, and the cells to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from physode.experiments.study import StudyConfig
from physode.rhs import ThreeBody
from physode.sweeps.cells import Cell

_FITS = "physode.experiments.table5.fits"


@dataclass(frozen=True)
class Model:
    """A column of the paper's table, or one of ours beside them.

    Attributes
    ----------
    label
        Its name in tables and figures.
    settings
        Of its fit, as :class:`physode.fitting.FitConfig` has them; of an LSTM, whether its input is ``augmented``.
    paper
        The paper's mean and standard deviation, where it has the model.
    recipe
        Whether the settings of Table 8 are added.
    """

    label: str
    settings: Mapping[str, Any]
    paper: tuple[float, float] | None = None
    recipe: bool = True

    @property
    def lstm(self) -> bool:
        """Whether the model continues sequences instead of solving an equation."""
        return "augmented" in self.settings


MODELS: Mapping[str, Model] = {
    "lstm": Model("LSTM", {"augmented": False}, (0.59, 0.12)),
    "lstm-aug": Model("LSTM, augmented input", {"augmented": True}, (0.49, 0.06)),
    "node-adjoint": Model("NODE, adjoint", {"rhs": "augmented", "gradient": "adjoint"}, (3.47, 0.67)),
    "node-naive": Model("NODE, naive", {"rhs": "augmented", "gradient": "naive-steps"}, (0.21, 0.11)),
    "node-aca": Model("NODE, ACA", {"rhs": "augmented", "gradient": "aca"}, (0.16, 0.06)),
    "ode-adjoint": Model("ODE, adjoint", {"rhs": "physical", "gradient": "adjoint"}, (0.0025, 0.0012)),
    "ode-naive": Model("ODE, naive", {"rhs": "physical", "gradient": "naive-steps"}, (0.0025, 0.0013)),
    "ode-aca": Model("ODE, ACA", {"rhs": "physical", "gradient": "aca"}, (0.0007, 0.0005)),
    "node-ours": Model(
        "NODE, ours",
        {
            "rhs": "augmented",
            "optimizer": "lm",
            "schedule": "matching",
            "stages": 1,
            "epochs": 4,
            "method": "dopri8",
            "rtol": 1e-9,
            "atol": 1e-11,
        },
        recipe=False,
    ),
    "ode-ours": Model("ODE, ours", {"rhs": "physical", "optimizer": "lm", "schedule": "growing"}, recipe=False),
}
"""The models in the paper's order, then ours: the same equations with what physode adds to the recipe."""


@dataclass(frozen=True)
class Config(StudyConfig):
    """The study's constants, those of Table 8 where it names them.

    Attributes
    ----------
    models
        Keys of ``MODELS``.
    seed, repeats
        Each model is fitted with the seeds ``seed``, ``seed + 1``, ..., ``repeats`` of them. A seed decides the
        initial state of the bodies, the initial weights, and the initial guesses of the masses.
    example
        Keys of the models that are fitted to the authors' published example, too, with the same seeds.
    spread, wide
        Largest distance of the masses' initial guesses from 1: of the recipe's fits, and of ours.
    t_end, points, train_until
        The data.
    epochs, lr, lr_decay, method, rtol, atol
        Of NODE and ODE.
    lstm_epochs, lstm_lr, lstm_decay, sequence, given
        Of the LSTMs, with the points of a training sequence, and those given when predicting.
    shown
        Points of each prediction that are kept for the figures.
    preset
        ``"full"`` or ``"quick"``.
    """

    study: ClassVar[str] = "table5"

    models: tuple[str, ...] = tuple(MODELS)
    seed: int = 0
    repeats: int = 3
    example: tuple[str, ...] = ("node-aca", "node-ours", "ode-naive", "ode-aca", "ode-ours")
    spread: float = 0.1
    wide: float = 0.5
    t_end: float = 2.0
    points: int = 2000
    train_until: float = 1.0
    epochs: int = 100
    lr: float = 0.1
    lr_decay: float = 0.99
    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    lstm_epochs: int = 5000
    lstm_lr: float = 0.01
    lstm_decay: float = 0.999
    sequence: int = 20
    given: int = 10
    shown: int = 500
    preset: str = "full"

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """Return what takes minutes: one seed, and a tenth of the points and epochs."""
        few: dict[str, Any] = {"repeats": 1, "example": ("ode-aca",), "points": 200, "epochs": 10, "lstm_epochs": 500}
        return cls(**{**few, "shown": 200, "preset": "quick", **changes})

    @property
    def seeds(self) -> range:
        """The seeds of every model."""
        return range(self.seed, self.seed + self.repeats)


def cells(config: Config) -> list[Cell]:
    """Return a cell for every model and seed, and one more for each of those fitted to the published example.

    The adjoint method's, which take longest, are first: nobody then waits for a last one.
    """
    found = [_cell(config, key, seed) for seed in config.seeds for key in config.models]
    found += [_cell(config, key, seed, example=True) for seed in config.seeds for key in config.example]
    return sorted(found, key=lambda cell: "adjoint" not in cell.name)


def cell_name(key: str, seed: int, *, example: bool = False) -> str:
    """Return the name of a model's cell, or of that of the published example."""
    return f"{key} {'example ' if example else ''}seed {seed}"


def data_of(config: Config, seed: int | None = None) -> dict[str, Any]:
    """Return the arguments of the simulator: the example's bodies from a seed's own initial state, or the example."""
    grid = {"t_end": config.t_end, "points": config.points}
    if seed is None:
        return {"preset": "aca", **grid}
    constants = ThreeBody.find_preset("aca").config
    return {**constants, "masses": list(constants["masses"]), "seed": seed, **grid}


def _cell(config: Config, key: str, seed: int, *, example: bool = False) -> Cell:
    model, name = MODELS[key], cell_name(key, seed, example=example)
    shared = {"data": data_of(config, None if example else seed), "shown": config.shown}
    if not model.lstm:
        return Cell(name, f"{_FITS}:fit_equation", {**shared, "settings": _settings(config, model, seed)})
    training = {"epochs": config.lstm_epochs, "lr": config.lstm_lr, "lr_decay": config.lstm_decay, "seed": seed}
    points = {"sequence": config.sequence, "given": config.given, "train_until": config.train_until}
    return Cell(name, f"{_FITS}:fit_lstm", {**shared, **model.settings, **training, **points})


def _settings(config: Config, model: Model, seed: int) -> dict[str, Any]:
    """Return the settings of a fit.

    Only those that matter are named, so that cells stay valid when fits get further settings.
    """
    settings = {**model.settings, "train_until": config.train_until, "seed": seed}
    if model.recipe:
        settings |= {name: getattr(config, name) for name in ("epochs", "lr", "lr_decay", "method", "rtol", "atol")}
        settings["optimizer"] = "adam"
    if model.settings["rhs"] == "physical":
        spread = config.spread if model.recipe else config.wide
        guesses = 1.0 + np.random.default_rng(seed).uniform(-spread, spread, 3)
        settings["init"] = {"masses": guesses.tolist()}
    return settings
