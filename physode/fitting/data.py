"""Trajectories made ready for a fit: chosen, split into a training span and what lies beyond, moved to a device."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.datasets import Trajectories
from physode.errors import ConfigError, DataError
from physode.fitting.config import FitConfig
from physode.rhs import body_columns


@dataclass(frozen=True)
class FitData:
    """What a fit computes with: one trajectory has no batch axis, several have one.

    Attributes
    ----------
    t
        Times, float64: (T,), or (T, N) where trajectories have their own.
    y0
        Initial states, (D,) or (N, D); where they are not `known`, as observed, NaN where missing.
    known
        Whether they are, or have to be fitted.
    exact
        Whether the observed values carry no errors.
    y
        Observed states, (T, *y0.shape); 0 where missing.
    weights
        One over the observations' standard deviations, of the shape of `y`; None where these are not known.
    training, beyond
        Which values count towards the training error, and which towards the error beyond; (T, *y0.shape).
    steps
        Number of times up to the end of the training span.
    """

    t: Tensor
    y0: Tensor
    y: Tensor
    training: Tensor
    beyond: Tensor
    steps: int
    known: bool = True
    exact: bool = False
    weights: Tensor | None = None

    @property
    def batched(self) -> bool:
        """Whether there are several trajectories."""
        return self.y0.ndim == 2


def choose(trajectories: Trajectories, config: FitConfig) -> Trajectories:
    """Return the trajectories that a fit is to use.

    Raises
    ------
    ConfigError
        If an index is out of range.
    """
    n = len(trajectories)
    wrong = [index for index in config.trajectories if not 0 <= index < n]
    if wrong:
        raise ConfigError(f"`trajectories` must be between 0 and {n - 1}, got {wrong[0]}")
    if not config.trajectories:
        return trajectories
    rows = list(config.trajectories)
    return dataclasses.replace(
        trajectories,
        t=trajectories.t if trajectories.t.ndim == 1 else trajectories.t[rows],
        y=trajectories.y[rows],
        y_clean=None if trajectories.y_clean is None else trajectories.y_clean[rows],
        sigma=None if trajectories.sigma is None else trajectories.sigma[rows],
        params={name: values[rows] for name, values in trajectories.params.items()},
    )


def train_end(t: np.ndarray[Any, Any], train_until: float | None) -> float:
    """Return the end of the training span: as given, or half of the span of all trajectories.

    Raises
    ------
    ConfigError
        If fewer than two of the times lie inside it.
    """
    start, end = float(t.flat[0]), float(t[..., -1].max() if t.flat[-1] > t.flat[0] else t[..., -1].min())
    until = start + 0.5 * (end - start) if train_until is None else train_until
    inside = (_inside(t, until)).sum(-1).min()
    if inside < 2:
        raise ConfigError(
            f"`train_until` {until:g} leaves fewer than two times to train on; the data run from {start:g} to {end:g}"
        )
    return until


def prepare(trajectories: Trajectories, config: FitConfig) -> FitData:
    """Make tensors of trajectories; `config` is effective: its defaults are decided.

    Raises
    ------
    DataError
        If an initial state that is to be known has missing values, values are infinite, nothing is left to train on, or
        standard deviations are missing for values that count.
    """
    assert config.train_until is not None
    dtype, one = config.torch_dtype, len(trajectories) == 1
    known = config.initial_state == "known"
    y0 = (trajectories.y if trajectories.y_clean is None or not known else trajectories.y_clean)[:, 0]
    counts = observed_columns(trajectories.columns, config.loss)
    needed = counts if config.recurrent else np.ones_like(counts)
    if known and not np.isfinite(y0[:, needed]).all():
        raise DataError(
            f"trajectory {int(np.argwhere(~np.isfinite(y0[:, needed]))[0, 0])} has missing values in its first state; "
            "fit the initial state too (`initial_state` 'fit')"
        )
    y = trajectories.y.transpose(1, 0, 2)
    _refuse_infinite(trajectories)
    present = np.isfinite(y)
    counted = present & counts
    t = trajectories.t if trajectories.t.ndim == 1 else trajectories.t.T
    inside = _inside(trajectories.t, config.train_until)
    inside = np.broadcast_to(np.atleast_2d(inside), y.shape[1::-1]).T  # (T, N)
    training = counted & inside[..., None]
    if known:
        training[0] = False  # given, not predicted
    beyond = counted & ~inside[..., None]
    if not training.any():
        raise DataError("the training span has no values but missing ones")
    weights = _weights(trajectories, config, counted)

    def tensor(values: np.ndarray[Any, Any], kind: torch.dtype | None = None) -> Tensor:
        rows = values[:, 0] if one else values
        return torch.tensor(rows, dtype=kind, device=config.device)

    return FitData(
        t=torch.tensor(t[:, 0] if one and t.ndim == 2 else t, dtype=torch.float64, device=config.device),
        y0=torch.tensor(y0[0] if one else y0, dtype=dtype, device=config.device),
        y=tensor(np.where(present, y, 0.0), dtype),
        training=tensor(training),
        beyond=tensor(beyond),
        steps=int(inside.sum(0).max()),
        known=known,
        exact=start_is_known(trajectories) and trajectories.y_clean is None,
        weights=None if weights is None else tensor(weights, dtype),
    )


def _refuse_infinite(trajectories: Trajectories) -> None:
    """Refuse infinite values: NaN is what is missing, an infinity is damage, or a solution that has run away."""
    places = np.argwhere(np.isinf(trajectories.y))
    if len(places):
        row, time, column = places[0]
        raise DataError(
            f"{len(places)} values are infinite, the first is {trajectories.columns[column]} at time {time} of "
            f"trajectory {row}; correct them, or write NaN (in CSV nothing) where a value is missing"
        )


def start_is_known(trajectories: Trajectories) -> bool:
    """Return whether the file says that its first states are exact: kept before noise, or simulated without."""
    exact = trajectories.y_clean is not None or not np.any(trajectories.attrs.get("noise", 1.0))
    states = trajectories.y if trajectories.y_clean is None else trajectories.y_clean
    return exact and bool(np.isfinite(states[:, 0]).all())


def _weights(
    trajectories: Trajectories, config: FitConfig, counted: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any] | None:
    """Return one over the standard deviations, (T, N, D), 0 where nothing counts; those of the data go first."""
    if trajectories.sigma is None:
        return None if config.sigma is None else np.where(counted, 1.0 / config.sigma, 0.0)
    sigma = trajectories.sigma.transpose(1, 0, 2)
    wrong = counted & ~(np.isfinite(sigma) & (sigma > 0))
    if wrong.any():
        place = np.argwhere(wrong)[0]
        raise DataError(
            f"the standard deviation of {trajectories.columns[place[2]]} at time {place[0]} of trajectory {place[1]} "
            f"must be above 0 where there is a value; in CSV the column {trajectories.columns[place[2]]}_sigma has it"
        )
    return np.where(counted, 1.0 / np.where(counted, sigma, 1.0), 0.0)


def observed_columns(columns: tuple[str, ...], loss: str | None) -> np.ndarray[Any, Any]:
    """Return which columns count: all, or the positions of bodies.

    Raises
    ------
    ConfigError
        If ``"positions"`` are asked for where the columns have no bodies' positions.
    """
    if loss == "state":
        return np.ones(len(columns), dtype=bool)
    if not has_bodies(columns):
        raise ConfigError(f"`loss` 'positions' needs columns r1_x, r1_y, ...; the data have {', '.join(columns)}")
    return np.arange(len(columns)) < len(columns) // 2


def has_bodies(columns: tuple[str, ...]) -> bool:
    """Return whether the columns are bodies' positions and velocities."""
    return len(columns) % 6 == 0 and columns == body_columns(len(columns) // 6)


def digest(trajectories: Trajectories) -> str:
    """Return a fingerprint of times and observed states, to know the data of a run again."""
    found = hashlib.sha256()
    for values in (trajectories.t, trajectories.y):
        found.update(repr(values.shape).encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def _inside(t: np.ndarray[Any, Any], until: float) -> np.ndarray[Any, Any]:
    """Return which times lie between the first and `until`, whichever way time runs."""
    rising = t.flat[-1] >= t.flat[0]
    inside: np.ndarray[Any, Any] = t <= until if rising else t >= until
    return inside
