"""Checks of what all simulators take, made before any long work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from physode.gradients.kept_graphs import free_bytes
from physode.rhs import System

__all__ = [
    "Floats",
    "check_constants",
    "checked_count",
    "checked_noise",
    "checked_states",
    "repeated",
]

Floats = NDArray[np.float64]

_LARGEST = 1e150


_COPIES = 4  # of the states that there are at a time: solved, joined, with noise, written
_ROW = 2000  # bytes that a trajectory takes beside its states


def checked_count(n: int, *, points: int = 1, columns: int = 1) -> int:
    """Return the number of trajectories.

    Raises
    ------
    ValueError
        If it is below 1, or memory does not hold as many of so many points and columns.
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1 trajectory, got {n}")
    needed, free = n * (_ROW + 8 * _COPIES * points * columns), free_bytes(torch.device("cpu"))
    if needed > free:
        raise ValueError(
            f"{n} trajectories (`n`) of {points} `points` and {columns} columns take {needed / 2**30:.3g} GiB, "
            f"{free / 2**30:.3g} GiB are free; make fewer at a time"
        )
    return n


def checked_noise(noise: float | Sequence[float], components: int) -> Floats:
    """Return the standard deviation of the observation noise of each component.

    Raises
    ------
    ValueError
        If a value is negative or not finite, or there is neither one value nor one a component.
    """
    sigma = np.asarray(noise, dtype=np.float64)
    if not (np.isfinite(sigma).all() and (sigma >= 0).all()):
        raise ValueError(f"`noise` must be finite and not below 0, got {noise}")
    if (sigma > _LARGEST).any():
        raise ValueError(f"`noise` must not be above {_LARGEST:g}, the square root of the largest number, got {noise}")
    if sigma.shape not in {(), (components,)}:
        raise ValueError(f"`noise` must be one number, or one for each of {components} columns, got {sigma.size}")
    return np.broadcast_to(sigma, (components,))


def checked_states(y0: ArrayLike, components: int) -> Floats:
    """Return initial states as (N, components); one state alone counts as N = 1.

    Raises
    ------
    ValueError
        If the last axis has another length, or a value is not finite.
    """
    states = np.array(y0, dtype=np.float64)
    if states.ndim not in (1, 2) or states.shape[-1] != components or len(states) == 0:
        raise ValueError(f"`y0` must have shape ({components},) or (n, {components}), got {states.shape}")
    if not np.isfinite(states).all():
        raise ValueError("`y0` must be finite, got NaN or infinite values; correct them")
    return np.atleast_2d(states)


def check_constants(system: System, n: int) -> None:
    """Raise ``ValueError`` unless each constant is one for all, or one for each of `n` trajectories."""
    for name in system.batched():
        count = len(system.constants[name])
        if count != n:
            raise ValueError(f"`{name}` must be given once, or for each of n = {n} trajectories, got {count} rows")


def repeated(y0: ArrayLike, n: int, *, components: int) -> Floats:
    """Return checked initial states (n, components) from one for all trajectories or one for each.

    Raises
    ------
    ValueError
        As :func:`checked_states`, and if there are several states but not `n`.
    """
    states = checked_states(y0, components)
    if len(states) not in {1, n}:
        raise ValueError(f"`y0` must be one state, or one for each of n = {n} trajectories, got {len(states)}")
    return np.repeat(states, n, axis=0) if len(states) < n else states
