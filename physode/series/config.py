"""Settings of a training on irregular series."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from physode.errors import ConfigError
from physode.models import Solver
from physode.models.series_models import series_model_options

__all__ = ["TASKS", "SeriesConfig"]

TASKS = ("interpolation", "extrapolation")

_WIDEST = 2**16  # a layer of this width and the next take 16 GiB
_MODEL = ("latent", "units", "hidden", "encoder_units", "sigma")
_SOLVER = ("method", "rtol", "atol", "step", "gradient")
_WHOLE = ("latent", "hidden", "encoder_steps", "epochs", "batch", "min_points", "limit", "split", "seed")


@dataclass(frozen=True)
class SeriesConfig:
    """How a model of irregular series is built and trained.

    Attributes
    ----------
    model
        A key of :data:`physode.models.SERIES_MODELS`.
    latent, units, hidden, encoder_units, sigma
        Of the model, see :class:`physode.models.LatentODE`; None for its own default.
    method, rtol, atol, step, gradient
        Of the latent path, see :class:`physode.models.Solver`; None for the model's own.
    encoder_steps
        Euler steps of the hidden state's flow in a gap between observations.
    task
        What is asked of the model: ``"interpolation"``, the whole series from a share of its points, or
        ``"extrapolation"``, what comes after `until` from points before.
    observed
        Share of the points that the model is told, drawn at random: anew in every epoch of the training, once for
        the test.
    until
        Where extrapolation begins, as a share of each series' span.
    epochs, batch
        How often all series are seen, and how many at once.
    lr
        Adam's largest rate, in one cycle (Smith and Topin 2019).
    weight_decay
        Of AdamW.
    clip
        Largest norm of a gradient; may be infinite.
    kl_weight, kl_rise
        Weight of the latent state's divergence from its prior, reached as a ramp over this share of the training.
    min_points
        Series of fewer points are left out; None has them refused.
    test_fraction
        Share of all series that are set aside at random for the test.
    split
        Seed of that choice.
    limit
        Use this many of the training series only.
    seed
        Of initial weights, order of series, drawn points and drawn latent states.
    device
        Where to compute.
    """

    model: str = "latent-ode"
    latent: int | None = None
    units: tuple[int, ...] | None = None
    hidden: int | None = None
    encoder_units: tuple[int, ...] | None = None
    sigma: float | None = None
    method: str | None = None
    rtol: float | None = None
    atol: float | None = None
    step: float | None = None
    gradient: str | None = None
    encoder_steps: int | None = None
    task: str = "interpolation"
    observed: float = 0.5
    until: float = 0.5
    epochs: int = 100
    batch: int = 50
    lr: float = 0.01
    weight_decay: float = 0.0
    clip: float = 10.0
    kl_weight: float = 1.0
    kl_rise: float = 0.5
    min_points: int | None = None
    test_fraction: float = 0.2
    split: int = 0
    limit: int | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in _WHOLE:
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            self._require(name, value is None or whole, "a whole number, at least 0")
        for name in ("latent", "hidden", "encoder_steps", "epochs", "batch", "limit"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        for name in ("units", "encoder_units"):
            value = getattr(self, name)
            widths = isinstance(value, tuple | list) and all(type(each) is int and each >= 1 for each in value)
            self._require(name, value is None or widths, "whole numbers, at least 1, such as (100, 100)")
        for name in ("latent", "hidden"):
            self._require(name, (getattr(self, name) or 1) <= _WIDEST, f"at most {_WIDEST}")
        for name in ("units", "encoder_units"):
            self._require(name, max(getattr(self, name) or (1,)) <= _WIDEST, f"at most {_WIDEST} each")
        self._require("min_points", self.min_points is None or self.min_points >= 2, "at least 2")
        self._require("clip", self.clip > 0, "above 0")
        for name in ("lr", "sigma"):
            value = getattr(self, name)
            self._require(name, value is None or 0 < value < math.inf, "above 0, finite")
        for name in ("weight_decay", "kl_weight"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "at least 0, finite")
        self._require("observed", 0 < self.observed <= 1, "above 0, at most 1")
        self._require("kl_rise", 0 <= self.kl_rise <= 1, "from 0 to 1")
        for name in ("until", "test_fraction"):
            self._require(name, 0 < getattr(self, name) < 1, "between 0 and 1")
        self._require("task", self.task in TASKS, f"one of {', '.join(TASKS)}")
        known = series_model_options(self.model)
        for name in _MODEL:
            if getattr(self, name) is not None and name not in known:
                raise ConfigError(f"the model {self.model} has no `{name}`")
        if self.encoder_steps is not None and self.encoder_solver() is None:
            raise ConfigError(f"the model {self.model} has no flow between observations for `encoder_steps`")
        given = [name for name in _SOLVER if getattr(self, name) is not None]
        if given and self.model != "latent-ode":
            raise ConfigError(f"the model {self.model} has no latent path for `{given[0]}`")
        self.solver()

    def _require(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise ConfigError(f"`{name}` must be {what}; got {getattr(self, name)}")

    def solver(self) -> Solver | None:
        """Return the solver of the latent path; None for the model's own.

        Raises
        ------
        ConfigError
            If a name is unknown, or a number cannot be.
        """
        given = {name: getattr(self, name) for name in _SOLVER if getattr(self, name) is not None}
        if not given:
            return None
        try:
            return Solver(**{"method": "dopri5", "rtol": 1e-3, "atol": 1e-4, **given})
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def encoder_solver(self) -> Solver | None:
        """Return the solver of the hidden state between observations; None where there is none."""
        if self.model not in ("latent-ode", "ode-rnn"):
            return None
        return Solver(method="euler", step=1.0 / (self.encoder_steps or 1), gradient="naive")

    def model_options(self) -> dict[str, Any]:
        """Return the options of the model, as :func:`physode.models.build_series_model` takes them."""
        options: dict[str, Any] = {name: getattr(self, name) for name in _MODEL}
        if self.model == "latent-ode":
            return {**options, "solver": self.solver(), "encoder_solver": self.encoder_solver()}
        return {**options, "solver": self.encoder_solver()}

    def as_dict(self) -> dict[str, Any]:
        """Return what is set, as TOML can hold it."""
        found = {name: value for name, value in vars(self).items() if value is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

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
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        try:
            return cls(**found)
        except TypeError as error:
            raise ConfigError(str(error)) from error
