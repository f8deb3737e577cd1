"""Random constants and initial states, reproducible trajectory by trajectory, and checks of those that are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from physode.gradients.kept_graphs import free_bytes
from physode.rhs import System

Floats = NDArray[np.float64]

_STREAMS = (
    "initial state",
    "constants",
    "noise",
    "galaxy",
    "field",
    "times",
    "initial range",
)  # new ones go to the end
_COPIES = 4  # of the states that there are at a time: solved, joined, with noise, written
_ROW = 2000  # bytes that a trajectory takes beside its states


def generator(seed: int, stream: str, index: int) -> np.random.Generator:
    """Return the random numbers of one trajectory for one purpose.

    Every trajectory has its own, so that it does not depend on how many others are simulated: trajectory 7 of ten is
    trajectory 7 of a thousand.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(stream), index)))


def sample_box(box: Sequence[tuple[float, float]], *, n: int, seed: int) -> Floats:
    """Return `n` states drawn uniformly between the ends of each component: (n, len(box))."""
    low, high = np.array(box, dtype=np.float64).T
    return np.stack([generator(seed, "initial state", index).uniform(low, high) for index in range(n)])


def sample_masses(bounds: tuple[float, float], *, bodies: int, n: int, seed: int) -> Floats:
    """Return masses drawn uniformly between `bounds`: (n, bodies)."""
    return np.stack([generator(seed, "constants", index).uniform(*bounds, bodies) for index in range(n)])


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


def check_constants(system: System, n: int) -> None:
    """Raise ``ValueError`` unless each constant is one for all, or one for each of `n` trajectories."""
    for name in system.batched():
        count = len(system.constants[name])
        if count != n:
            raise ValueError(f"`{name}` must be given once, or for each of n = {n} trajectories, got {count} rows")
