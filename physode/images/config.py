"""Settings of a classifier's training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from physode.errors import ConfigError
from physode.models import Solver
from physode.models.classifiers import classifier_options

__all__ = ["PRECISIONS", "RECIPES", "SCHEDULES", "TrainConfig"]

PRECISIONS = ("float32", "bfloat16", "float16")
SCHEDULES = ("step", "one-cycle")

_WHOLE = ("epochs", "batch", "crop", "split", "limit", "seed", "width", "augmented")
_MODEL = ("width", "augmented", "norm", "dropout")
_SOLVER = ("method", "rtol", "atol", "step", "gradient")


@dataclass(frozen=True)
class TrainConfig:
    """How a classifier is built and trained; :data:`RECIPES` has what is usual for a data set.

    Attributes
    ----------
    model
        A key of :data:`physode.models.CLASSIFIERS`.
    width, augmented, norm, dropout
        Of the model; None for its own default.
    method, rtol, atol, step, gradient
        Of its ODE blocks, see :class:`physode.models.Solver`; None for the model's own.
    epochs, batch
        How often all images are seen, and how many at once over all processes.
    lr, momentum, nesterov, weight_decay
        Of SGD; `lr` is the largest.
    schedule
        ``"step"``: `lr` times `decay` from each of the `milestones` on, shares of the whole training.
        ``"one-cycle"``: up from lr/25 in the first 30 % and down to nearly 0, as cosines (Smith and Topin 2019).
    milestones, decay
        See `schedule`.
    flip, crop, rotate
        Augmentation of training images: flips left to right; shifts by up to so many pixels; turns by any angle.
    label_smoothing
        Share of a label that is spread over all classes.
    clip
        Largest norm of a gradient; None lets it be.
    precision
        ``"bfloat16"`` or ``"float16"`` for mixed precision.
    channels_last, compile
        Whether a pixel's channels lie side by side in memory, which suits most processors' convolutions; and whether
        the blocks' right-hand sides are compiled.
    test_fraction
        Share of all images that are set aside at random for the test; None takes the data's own test images, or a
        tenth where there are none.
    split
        Seed of that choice.
    limit
        Use this many of the training images only.
    seed
        Of initial weights, of the order of images, and of augmentation.
    device
        Where to compute; with several processes, each takes its own GPU where this is ``"cuda"``.
    """

    model: str = "node18"
    width: int | None = None
    augmented: int | None = None
    norm: str | None = None
    dropout: float | None = None
    method: str | None = None
    rtol: float | None = None
    atol: float | None = None
    step: float | None = None
    gradient: str | None = None
    epochs: int = 90
    batch: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "step"
    milestones: tuple[float, ...] = (1 / 3, 2 / 3)
    decay: float = 0.1
    flip: bool = True
    crop: int = 4
    rotate: bool = False
    label_smoothing: float = 0.0
    clip: float | None = None
    precision: str = "float32"
    channels_last: bool = True
    compile: bool = False
    test_fraction: float | None = None
    split: int = 0
    limit: int | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in _WHOLE:
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            _require(self, name, value is None or whole, "a whole number, at least 0")
        options = classifier_options(self.model)
        for name in _MODEL:
            if getattr(self, name) is not None and name not in options:
                raise ConfigError(f"the model {self.model} has no `{name}`")
        if self.solver_given and "solver" not in options:
            raise ConfigError(f"the model {self.model} has no ODE blocks for `method` and what belongs to it")
        for name, kinds in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in kinds:
                raise ConfigError(f"`{name}` must be one of {', '.join(kinds)}; got {getattr(self, name)!r}")
        for name in ("epochs", "batch", "limit", "width"):
            _require(self, name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        for name in ("lr", "clip", "decay"):
            _require(self, name, getattr(self, name) is None or 0 < getattr(self, name) < math.inf, "above 0, finite")
        for name in ("momentum", "label_smoothing", "dropout"):
            _require(self, name, getattr(self, name) is None or 0 <= getattr(self, name) < 1, "from 0 to below 1")
        _require(self, "weight_decay", 0 <= self.weight_decay < math.inf, "at least 0, finite")
        _require(self, "crop", self.crop >= 0, "at least 0")
        _require(self, "milestones", all(0 < each <= 1 for each in self.milestones), "shares above 0, at most 1")
        _require(self, "test_fraction", self.test_fraction is None or 0 < self.test_fraction < 1, "between 0 and 1")
        self.solver()

    @property
    def solver_given(self) -> bool:
        """Whether anything of the solver is set."""
        return any(getattr(self, name) is not None for name in _SOLVER)

    def solver(self) -> Solver | None:
        """Return the solver of the ODE blocks; None for the model's own.

        Raises
        ------
        ConfigError
            If a name is unknown, or a number cannot be.
        """
        if not self.solver_given:
            return None
        given = {name: getattr(self, name) for name in _SOLVER if getattr(self, name) is not None}
        try:
            return Solver(**given)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def model_options(self) -> dict[str, Any]:
        """Return the options of the model, as :func:`physode.models.build_classifier` takes them."""
        return {"solver": self.solver(), **{name: getattr(self, name) for name in _MODEL}}

    def as_dict(self) -> dict[str, Any]:
        """Return what is set, as TOML can hold it."""
        found = {name: value for name, value in vars(self).items() if value is not None}
        return {**found, "milestones": list(self.milestones)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`as_dict` returned.

        Raises
        ------
        ConfigError
            If a setting is unknown or cannot be.
        """
        known = {each.name for each in dataclasses.fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            raise ConfigError(f"unknown settings: {', '.join(unknown)}")
        try:
            return cls(**{**content, "milestones": tuple(content.get("milestones", cls.milestones))})
        except TypeError as error:
            raise ConfigError(str(error)) from error


def _require(config: TrainConfig, name: str, holds: bool, what: str) -> None:
    if not holds:
        raise ConfigError(f"`{name}` must be {what}; got {getattr(config, name)}")


RECIPES: dict[str, dict[str, Any]] = {
    "cifar10": {},
    "cifar100": {},
    "galaxy": {
        "model": "galaxy-node",
        "epochs": 30,
        "batch": 128,
        "schedule": "one-cycle",
        "weight_decay": 1e-4,
        "crop": 2,
        "rotate": True,
    },
    "images": {"epochs": 60, "schedule": "one-cycle"},
}
"""Settings that differ from :class:`TrainConfig`'s own, by data set.

For CIFAR these are the ACA paper's (Zhuang et al. 2020, Appendix D.2), for galaxies ours: the paper's are in the
experiments.
"""
