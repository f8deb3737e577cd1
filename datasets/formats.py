"""The formats of trajectories that physode reads, told apart by what the files hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from physode.datasets.bodies import check_bodies
from physode.datasets.csv_trajectories import read_csv
from physode.datasets.files import check_file, naming
from physode.datasets.hdf5_file import is_hdf5
from physode.datasets.horizons import is_horizons, read_horizons
from physode.datasets.trajectories import Trajectories
from physode.datasets.trajectory_file import read_trajectories
from physode.errors import DataError


@dataclass(frozen=True)
class Format:
    """A format of files of trajectories.

    Attributes
    ----------
    name
        What users call it.
    recognises
        Whether a file, which exists and is not empty, has it.
    read
        Reads one file, or, where files are read `together`, all of them.
    together
        Whether several files are one set of data.
    """

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[[Sequence[Path]], Trajectories]
    together: bool = False


FORMATS = (
    Format("HDF5", is_hdf5, lambda files: read_trajectories(files[0])),
    Format("Horizons", is_horizons, read_horizons, together=True),
    Format("CSV", lambda _: True, lambda files: read_csv(files[0])),
)
"""The first that recognises a file reads it."""


def read_data(paths: Sequence[str | os.PathLike[str]]) -> Trajectories:
    """Read one file, HDF5 or CSV, or the vector tables of JPL Horizons, one file a body.

    Returns
    -------
    Trajectories
        As from `read_trajectories`, `read_csv` or `read_horizons`.

    Raises
    ------
    DataError
        If a file cannot be read as what it looks like, if there are several that are not of Horizons, or if two bodies
        are at one place at one time.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise DataError("no file is given; name one file of trajectories, or the tables of Horizons")
    formats = [format_of(path) for path in files]
    joint = next((each for each in formats if each.together), None)
    if joint is not None:
        return joint.read(files)
    if len(files) > 1:
        raise DataError(f"{files[0]} is no table of Horizons: only those are read together, one file a body")
    with naming(files[0]):
        trajectories = formats[0].read(files)
        check_bodies(trajectories)
    return trajectories


def format_of(path: Path) -> Format:
    """Return the format of a file, by its bytes, or by its name where that says HDF5.

    Raises
    ------
    DataError
        If the file is missing or empty.
    """
    check_file(path)
    return next(each for each in FORMATS if each.recognises(path))
