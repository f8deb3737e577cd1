"""Columns that are positions and velocities of bodies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physode.datasets.grid import Series, missing_notes
from physode.datasets.trajectories import Array, Trajectories
from physode.errors import DataError

__all__ = ["ASTRONOMICAL", "BODY_UNITS", "body_names", "body_notes", "body_trajectories", "check_bodies", "columns_of"]

ASTRONOMICAL = {"G": (0.01720209895 * 365.25) ** 2, "velocity_scale": 1.0, "softening": 0.0}
"""Arguments of the right-hand side of bodies in AU, Julian years and solar masses: `physode.rhs.G_GAUSS`."""

BODY_UNITS = ("AU", "AU/yr")


def columns_of(n: int) -> tuple[str, ...]:
    """Return the column names r1_x .. rn_z, v1_x .. vn_z of `n` bodies."""
    from physode.rhs import body_columns  # it loads torch, which few readers of files need

    return body_columns(n)


def body_names(trajectories: Trajectories) -> tuple[str, ...]:
    """Return the names of the bodies whose positions and velocities the columns are: numbers where none is kept.

    Returns
    -------
    tuple
        Empty where the columns are something else.
    """
    columns = trajectories.columns
    if columns[0] != "r1_x" or len(columns) % 6 or columns != columns_of(len(columns) // 6):
        return ()
    n = len(columns) // 6
    names = trajectories.attrs.get("bodies")
    return (
        tuple(map(str, names))
        if isinstance(names, list) and len(names) == n
        else tuple(str(i) for i in range(1, n + 1))
    )


def check_bodies(trajectories: Trajectories) -> None:
    """Check trajectories whose columns are those of bodies; others pass.

    Raises
    ------
    DataError
        If two bodies are at one place at one time, where their attraction is infinite.
    """
    names = body_names(trajectories)
    n = len(names)
    if not n:
        return
    samples, times, _ = trajectories.y.shape
    r = trajectories.y[..., : 3 * n].reshape(samples, times, n, 3)
    # Sorted by x, then y, then z, bodies at one place are neighbours.
    order = np.lexsort((r[..., 2], r[..., 1], r[..., 0]), axis=-1)
    r = np.take_along_axis(r, order[..., None], axis=2)
    same = (r[:, :, 1:] == r[:, :, :-1]).all(axis=-1)
    if same.any():
        sample, k, first = (int(index) for index in np.argwhere(same)[0])
        one, other = (names[i] for i in sorted(order[sample, k, first : first + 2]))
        t = np.broadcast_to(trajectories.t, (samples, times))[sample, k]
        when = f"{t:.12g} {trajectories.attrs.get('time_unit', '')}".rstrip()
        which = f" of trajectory {sample}" if samples > 1 else ""
        raise DataError(
            f"bodies {one} and {other} are at one place at time {when}{which}; "
            "correct the positions, or leave one body out"
        )


def body_trajectories(joined: Series, n: int) -> Series:
    """Reorder components (x, y, z, vx, vy, vz) of one body after another, (K, 6 n), as `columns_of` names them."""

    def reordered(values: Array) -> Array:
        return values.reshape(-1, n, 2, 3).transpose(0, 2, 1, 3).reshape(-1, 6 * n)

    return Series(joined.t, reordered(joined.y), None if joined.sigma is None else reordered(joined.sigma))


def body_notes(t: Array, y: Array, names: Sequence[str], unit: str) -> list[str]:
    """Return a note for each body whose position is missing at some times of `y`, (N, T, 6 n)."""
    n = len(names)
    missing = np.any(np.isnan(y[..., : 3 * n]).reshape(*y.shape[:2], n, 3), axis=-1)
    return missing_notes(t, missing, [f"body {name}" for name in names], unit)
