"""What Table 5 is made of: its models by recipe, the settings of each, and the cells to be computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from physode.experiments.study import StudyConfig
from physode.rhs import ThreeBody
from physode.sweeps.cells import Cell

_FITS = "physode.experiments.table5.fits"

TABLE_8, SCRIPT, OURS = RECIPES = ("Table 8", "published script", "ours")
GRADIENTS = {"adjoint": "adjoint", "naive": "naive-steps", "aca": "aca"}
"""The paper's gradient methods, as fits call them: its naive one differentiates the choice of step sizes, too."""

_SUFFIXES = {TABLE_8: "", SCRIPT: "-script", OURS: "-ours"}
_NAMES = {"adjoint": "adjoint", "naive": "naive", "aca": "ACA"}
_PAPER = {
    "lstm": (0.59, 0.12), "lstm-aug": (0.49, 0.06),
    "node-adjoint": (3.47, 0.67), "node-naive": (0.21, 0.11), "node-aca": (0.16, 0.06),
    "ode-adjoint": (0.0025, 0.0012), "ode-naive": (0.0025, 0.0013), "ode-aca": (0.0007, 0.0005),
}  # fmt: skip

_SCRIPT_ADAM = {"betas": [0.5, 0.5]}
_UNITS = {"pairs": "unordered", "gravity_units": True}
_SLOPES_FIRST = {"schedule": "matching", "stages": 1}
_BY_GRADIENTS = {**_SLOPES_FIRST, "optimizer": "lbfgs", "epochs": 1, "method": "dopri5", "rtol": 1e-7, "atol": 1e-9}
_BY_JACOBIANS = {**_SLOPES_FIRST, "optimizer": "lm", "epochs": 4, "method": "dopri8", "rtol": 1e-9, "atol": 1e-11}


@dataclass(frozen=True)
class Model:
    """A column of the paper's table, trained by one recipe.

    Attributes
    ----------
    kind
        The column, such as ``"node-aca"`` or ``"lstm-aug"``.
    label, recipe
        Its name in tables and figures, and by which recipe it is trained, one of ``RECIPES``.
    settings
        Of its fit, as :class:`physode.fitting.FitConfig` has them; of an LSTM those of its network.
    paper
        The paper's mean and standard deviation of the column.
    """

    kind: str
    label: str
    recipe: str
    settings: Mapping[str, Any]
    paper: tuple[float, float] | None = None

    @property
    def lstm(self) -> bool:
        """Whether the model continues sequences instead of solving an equation."""
        return self.kind.startswith("lstm")


def _models() -> Iterator[tuple[str, Model]]:
    for recipe, suffix in _SUFFIXES.items():
        for kind, name in (("lstm", "LSTM"), ("lstm-aug", "LSTM, augmented input")):
            predicts = "step" if recipe == OURS else "position"
            network = {"augmented": kind == "lstm-aug", "predicts": predicts}
            settings = network | (_SCRIPT_ADAM if recipe == SCRIPT else {})
            yield kind + suffix, Model(kind, name, recipe, settings, _PAPER[kind])
        for system, rhs in (("node", "augmented"), ("ode", "physical")):
            for gradient, way in GRADIENTS.items():
                kind, name = f"{system}-{gradient}", f"{system.upper()}, {_NAMES[gradient]}"
                settings = {"rhs": rhs, "gradient": way, **_recipe(recipe, system)}
                yield kind + suffix, Model(kind, name, recipe, settings, _PAPER[kind])
    for system, rhs in (("node", "augmented"), ("ode", "physical")):
        settings = {"rhs": rhs, **_BY_JACOBIANS}
        yield f"{system}-lm", Model(f"{system}-lm", f"{system.upper()}, Levenberg-Marquardt", OURS, settings)


def _recipe(recipe: str, system: str) -> dict[str, Any]:
    if recipe == OURS:
        return _BY_GRADIENTS | (_UNITS if system == "node" else {})
    if recipe == TABLE_8:
        return {"optimizer": "adam"}
    settings: dict[str, Any] = {"optimizer": "adam", **_SCRIPT_ADAM, "time_weight": 0.01}
    # The script is of the ODE: its decay and its tolerance are.
    return settings | (_UNITS if system == "node" else {"lr_decay": 0.95, "rtol": 1e-7, "atol": 1e-7})


MODELS: Mapping[str, Model] = dict(_models())
"""The models by key: the paper's columns by Table 8, by the authors' published script, and by ours."""

_DEAR = "adjoint"
_DEAR_ELSEWHERE = {"lstm-script", "lstm-aug-script", "node-lm", "ode-lm"}
_OWN = tuple(
    key for key, model in MODELS.items() if key not in _DEAR_ELSEWHERE and (_DEAR not in key or model.recipe == OURS)
)


@dataclass(frozen=True)
class Config(StudyConfig):
    """The study's constants, those of Table 8 where it names them.

    Attributes
    ----------
    models
        Keys of ``MODELS`` that are fitted to systems of our own, one a seed.
    example
        Those that are fitted to the authors' published example, whose initial state is one.
    seed, repeats
        Each model is fitted with the seeds ``seed``, ``seed + 1``, ..., ``repeats`` of them. A seed decides the
        initial state of the bodies of our own systems, the initial weights, and the initial guesses of the masses.
    more
        So many seeds of what takes seconds and is a matter of chance, NODE-ACA by the published script.
    spread, wide
        Largest distance of the masses' initial guesses from 1: of the paper's recipes, and of ours.
    t_end, points, train_until
        The data.
    epochs, lr, lr_decay, method, rtol, atol
        Of NODE and ODE, where a recipe does not have its own.
    lstm_epochs, lstm_lr, lstm_decay, sequence, given
        Of the LSTMs, with the points of a training sequence, and those given when predicting.
    kernels
        Whether ACA's solves are kernels from the first one: numbers then do not depend on when a kernel is ready.
    shown
        Points of each prediction that are kept for the figures.
    preset
        ``"full"`` or ``"quick"``.
    """

    study: ClassVar[str] = "table5"

    models: tuple[str, ...] = _OWN
    example: tuple[str, ...] = tuple(MODELS)
    seed: int = 0
    repeats: int = 3
    more: int = 10
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
    kernels: bool = True
    shown: int = 500
    preset: str = "full"

    @classmethod
    def quick(cls, **changes: Any) -> Self:
        """Return what takes minutes: one seed, and a tenth of the points and epochs."""
        few: dict[str, Any] = {
            "repeats": 1, "more": 1, "points": 200, "epochs": 10, "lstm_epochs": 500, "kernels": False, "shown": 200,
            "models": ("lstm", "node-aca-script", "ode-aca-script"),
            "example": tuple(key for key in MODELS if not key.endswith("-lm")),
        }  # fmt: skip
        return cls(**{**few, "preset": "quick", **changes})

    @property
    def seeds(self) -> range:
        """The seeds of every model."""
        return range(self.seed, self.seed + self.repeats)

    @property
    def many_seeds(self) -> range:
        """The seeds of what is a matter of chance; none where it is not fitted to the example."""
        many = max(self.repeats, self.more)
        return range(self.seed, self.seed + many) if CHANCE in self.example else range(0)


CHANCE = "node-aca-script"
"""The model whose training is chaotic: rounding decides where it ends."""


def cells(config: Config) -> list[Cell]:
    """Return a cell for every model and seed, of our own systems and of the published example.

    The adjoint method's, which take longest, are first: nobody then waits for a last one.
    """
    made = [_cell(config, key, seed) for seed in config.seeds for key in config.models]
    made += [_cell(config, key, seed, example=True) for seed in config.seeds for key in config.example]
    made += [_cell(config, CHANCE, seed, example=True) for seed in config.many_seeds if seed not in config.seeds]
    return sorted(made, key=lambda cell: _DEAR not in cell.name)


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
    return Cell(name, f"{_FITS}:fit_lstm", {**shared, **training, **points, **model.settings})


def _settings(config: Config, model: Model, seed: int) -> dict[str, Any]:
    """Return the settings of a fit.

    Only those that matter are named, so that cells stay valid when fits get further settings.
    """
    common = {"train_until": config.train_until, "seed": seed}
    if model.recipe != OURS:
        common |= {name: getattr(config, name) for name in ("epochs", "lr", "lr_decay", "method", "rtol", "atol")}
    settings = {**common, **model.settings}
    if config.kernels and settings.get("gradient") == "aca":
        settings["compile"] = True
    if settings["rhs"] == "physical":
        spread = config.wide if model.recipe == OURS else config.spread
        guesses = 1.0 + np.random.default_rng(seed).uniform(-spread, spread, 3)
        settings["init"] = {"masses": guesses.tolist()}
    return settings
