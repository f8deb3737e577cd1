"""From exact states to what was observed: independent normal noise, and how the data came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from physode.datasets import Trajectories
from physode.datasets.trajectories import Array
from physode.simulators.sampling import Floats, generator

_LARGEST = 1e150


def observe(
    clean: Floats,
    t: Floats,
    *,
    noise: float | Sequence[float],
    seed: int,
    columns: tuple[str, ...],
    units: tuple[str, ...],
    params: dict[str, Array],
    attrs: dict[str, Any],
) -> Trajectories:
    """Return trajectories with states `clean` (N, T, D), observed with independent normal noise.

    Parameters
    ----------
    clean, t
        Exact states, and times, (T,) or (N, T).
    noise
        Standard deviation on every value, one number or one a column. Where it is above 0, the exact states are kept
        as ``y_clean``.
    seed
        Seed of the noise, kept in ``attrs`` with `noise`.
    columns, units, params, attrs
        As :class:`physode.datasets.Trajectories`.

    Raises
    ------
    ValueError
        If `noise` is out of range, or values of a trajectory that has not failed are not finite.
    """
    sigma = checked_noise(noise, len(columns))
    failed = [failure["trajectory"] for failure in attrs["failures"]]
    lost = np.setdiff1d(np.flatnonzero(~np.isfinite(clean).all(axis=(1, 2))), failed)
    if len(lost):
        raise ValueError(
            f"{len(lost)} trajectories have values that are not finite, the first is number {lost[0]}: constants, "
            "initial states or times are too large for double precision; give smaller ones"
        )
    noisy = bool(sigma.any())
    return Trajectories(
        t=t,
        y=add_noise(clean, sigma, seed=seed) if noisy else clean,
        y_clean=clean if noisy else None,
        params=params,
        columns=columns,
        units=units,
        attrs={**attrs, "seed": seed, "noise": sigma.tolist() if np.ndim(noise) else float(sigma[0])},
    )


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


def add_noise(y: Floats, sigma: Floats, *, seed: int) -> Floats:
    """Return `y` (N, T, D) plus independent normal noise with standard deviation `sigma` (D,)."""
    noisy = np.empty_like(y)
    for index, path in enumerate(y):
        noisy[index] = path + sigma * generator(seed, "noise", index).standard_normal(path.shape)
    return noisy
