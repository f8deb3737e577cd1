"""Trajectories at equally spaced times, cut into the sequences that a recurrent network learns from."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from physode.errors import ConfigError

__all__ = ["check_gaps", "cut", "time_step"]

_log = logging.getLogger(__name__)

_UNEVEN = 0.01  # of a step: what times printed with few digits are off by
_REMEDY = "bring the data to such points, or fit a differential equation, which takes any times (rhs='augmented')"


def time_step(t: Tensor) -> float:
    """Return the one step between all times, (T,) or (T, N) with T at least 2.

    Raises
    ------
    ConfigError
        If times do not lie, to a hundredth of a step, on one equally spaced grid a trajectory, the same step for all.
    """
    points = t.shape[0]
    if points < 2:
        raise ConfigError(f"an LSTM needs equally spaced points, at least 2 of them, got {points}")
    times = t.reshape(points, -1).double()
    step = float((times[-1, 0] - times[0, 0]) / (points - 1))
    grid = times[0] + step * torch.arange(points, dtype=torch.float64, device=t.device).unsqueeze(-1)
    # Negated, so that missing times are off the grid, and points that share one time are too.
    off = ~((times - grid).abs() < _UNEVEN * abs(step))
    if off.any():
        row, column = off.nonzero()[0].tolist()
        raise ConfigError(
            f"an LSTM needs equally spaced points: point {row} at t={float(times[row, column]):.6g} is not {row} steps "
            f"of {step:.6g} after t={float(times[0, column]):.6g}; {_REMEDY}"
        )
    return step


def cut(y: Tensor, length: int, *, t: Tensor | None = None) -> Tensor:
    """Cut trajectories into sequences that do not overlap.

    Points at a trajectory's end that fill no sequence are left out, which the log says.

    Parameters
    ----------
    y
        Positions at equally spaced times, (T, C) or (T, N, C).
    length
        Points a sequence, at least 2.
    t
        Their times, (T,) or (T, N), to be checked by :func:`time_step`.

    Returns
    -------
    Tensor
        Shape (N * (T // length), length, C), trajectory after trajectory.

    Raises
    ------
    ConfigError
        If times are uneven, values are missing, or the points do not fill one sequence.
    """
    points = y.shape[0]
    if t is not None:
        time_step(t)
    if not 2 <= length <= points:
        raise ConfigError(
            f"`length` must be at least 2 and at most the {points} points to train on, got {length}; "
            "choose shorter sequences or a longer training span"
        )
    check_gaps(y, "point")
    count, rest = divmod(points, length)
    if rest:
        _log.info("the last %d of %d points fill no sequence of %d and are left out", rest, points, length)
    trajectories = y.reshape(points, -1, y.shape[-1]).transpose(0, 1)
    return trajectories[:, : count * length].reshape(-1, length, y.shape[-1])


def check_gaps(values: Tensor, row: str) -> None:
    """Raise ``ConfigError`` where a value is missing (NaN or infinite), naming the first row of the first axis."""
    missing = (~values.isfinite()).nonzero()
    if len(missing):
        raise ConfigError(
            f"an LSTM needs equally spaced points without gaps; {row} {int(missing[0, 0])} has missing values; "
            f"{_REMEDY}"
        )
