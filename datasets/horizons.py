"""Vector tables of JPL Horizons, one file a body."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from physode.datasets.bodies import BODY_UNITS, body_notes, body_trajectories, check_bodies, columns_of
from physode.datasets.grid import side_by_side, stacked
from physode.datasets.horizons_table import VectorTable, read_vector_table
from physode.datasets.trajectories import Trajectories
from physode.errors import DataError

__all__ = ["read_horizons"]

_DAYS = 365.25  # of a Julian year

# With masses in those of the Sun, G is the Sun's G m. Gauss' constant, 0.01720209895 AU^(3/2) / d, agrees with that
# of the ephemeris DE440 to 1e-11; 4 pi^2, which belongs to a year of 365.2569 days, would be off by 4e-5.
_RHS = {"G": (0.01720209895 * _DAYS) ** 2, "velocity_scale": 1.0, "softening": 0.0}


def read_horizons(paths: Sequence[str | os.PathLike[str]]) -> Trajectories:
    """Read vector tables of two or more bodies as one trajectory.

    The times are ``(JD - JD_0) / 365.25`` years from the first epoch, JD_0; where bodies have different epochs, those
    of all, with NaN where a body has none. Masses fitted to the result are in those of the Sun.

    Parameters
    ----------
    paths
        One file a body, in the order in which the bodies are to be numbered.

    Returns
    -------
    Trajectories
        Positions in AU and velocities in AU/yr (NaN where a table has none). ``attrs`` hold ``system``, ``rhs``,
        ``bodies`` (names), ``epoch`` (JD_0), ``time_scale``, ``center``, ``frame``, ``source`` (the files' names) and
        ``notes``.

    Raises
    ------
    DataError
        If a file is no such table, if tables differ in their centre, frame or time scale, if a body comes twice or
        alone, or if two bodies are at one place.
    """
    files = [Path(path) for path in paths]
    tables = [_read(path) for path in files]
    if len(tables) < 2:
        raise DataError(f"{', '.join(map(str, files)) or 'no file'}: give two bodies or more, one file each")
    for what in ("center", "frame", "scale"):
        _check_same(what, tables, files)
    labels = [table.body for table in tables]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise DataError(f"{files[i]}: it holds {label}, as does {files[labels.index(label)]}; give each body once")
    joined = side_by_side([table.states for table in tables], labels)
    epoch = float(joined.t[0])
    t, y, _ = stacked([body_trajectories(joined, len(tables))], [""])
    t, names = (t - epoch) / _DAYS, _names(labels)
    first = tables[0]
    trajectories = Trajectories(
        t=t,
        y=y,
        columns=columns_of(len(tables)),
        units=tuple(unit for unit in BODY_UNITS for _ in range(3 * len(tables))),
        attrs={
            "system": "n_body",
            "rhs": dict(_RHS),
            "time_unit": "yr",
            "bodies": names,
            "epoch": epoch,
            "time_scale": first.scale,
            "center": first.center,
            "frame": first.frame,
            "source": [path.name for path in files],
            "notes": _notes(first) + body_notes(t, y, names, "yr"),
        },
    )
    check_bodies(trajectories)
    return trajectories


def _read(path: Path) -> VectorTable:
    try:
        return read_vector_table(path)
    except DataError as error:
        raise DataError(str(error) if str(error).startswith(f"{path} ") else f"{path}: {error}") from error


def _check_same(what: str, tables: Sequence[VectorTable], files: Sequence[Path]) -> None:
    values = [getattr(table, what) for table in tables]
    for value, path in zip(values, files, strict=True):
        if value != values[0]:
            word = {"center": "centre", "frame": "reference frame", "scale": "time scale"}[what]
            raise DataError(f"{path}: its {word} is {value!r}, that of {files[0]} {values[0]!r}; ask for the same")


def _names(labels: Sequence[str]) -> list[str]:
    """Bodies' names without their numbers, where that keeps them apart."""
    short = [re.sub(r"\s*\(-?[0-9]+\)$", "", label) for label in labels]
    return short if len(set(short)) == len(short) else list(labels)


def _notes(table: VectorTable) -> list[str]:
    notes = []
    if "solar system barycenter" not in table.center.casefold():
        notes.append(
            f"positions are relative to {table.center}, which is itself attracted; ask Horizons for CENTER='500@0'"
        )
    if table.scale == "UT":
        notes.append("times are UT, which runs unevenly; ask Horizons for TIME_TYPE='TDB'")
    return notes
