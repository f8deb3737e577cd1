"""Data of any kind that physode reads, told apart by what the files hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import h5py

from physode.datasets.bodies import check_bodies
from physode.datasets.csv_trajectories import read_csv
from physode.datasets.files import check_file
from physode.datasets.horizons import read_horizons
from physode.datasets.trajectories import Trajectories
from physode.datasets.trajectory_file import read_trajectories
from physode.errors import DataError

Kind = Literal["HDF5", "Horizons", "CSV"]

_HEAD = 1_000_000  # bytes in which a table of Horizons begins
_ANSWER = b"NASA/JPL Horizons API"  # at the top of all that the API says, refusals included


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
    kinds = [kind_of(path) for path in files]
    if "Horizons" in kinds:
        return read_horizons(files)
    if len(files) > 1:
        raise DataError(f"{files[0]} is no table of Horizons: only those are read together, one file a body")
    if kinds[0] == "CSV":
        return read_csv(files[0])
    trajectories = read_trajectories(files[0])
    try:
        check_bodies(trajectories)
    except DataError as error:
        raise DataError(f"{files[0]}: {error}") from error
    return trajectories


def kind_of(path: Path) -> Kind:
    """Return what a file holds, by its first bytes, or by its name where that says HDF5.

    Raises
    ------
    DataError
        If the file is missing or empty.
    """
    check_file(path)
    if path.suffix.casefold() in {".h5", ".hdf5"} or h5py.is_hdf5(path):
        return "HDF5"
    with path.open("rb") as file:
        head = file.read(_HEAD)
    answered = _ANSWER in head[:1000] and not head.lstrip().startswith(b"#")
    return "Horizons" if answered or b"$$SOE" in head else "CSV"
