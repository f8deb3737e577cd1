"""From exact states to what was observed: noise, and how the data came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from physode.datasets import Trajectories
from physode.datasets.trajectories import Array
from physode.simulators.arguments import Floats, checked_noise
from physode.simulators.sampling import add_noise

__all__ = ["observe"]


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
