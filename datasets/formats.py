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
from physode.datasets.table import TableOptions
from physode.datasets.tables.options import flag_of
from physode.datasets.tables.sources import is_excel, is_matlab
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
        Reads one file, or, where files are read `together`, all of them; options are of tables.
    together
        Whether several files are one set of data.
    table
        Whether it is a table, of which options may be said.
    """

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[[Sequence[Path], TableOptions], Trajectories]
    together: bool = False
    table: bool = False


def _read_table(files: Sequence[Path], options: TableOptions) -> Trajectories:
    return read_csv(files[0], options=options)


FORMATS = (
    Format("MATLAB", is_matlab, _read_table, table=True),
    Format("HDF5", is_hdf5, lambda files, _: read_trajectories(files[0])),
    Format("Excel", is_excel, _read_table, table=True),
    Format("Horizons", is_horizons, lambda files, _: read_horizons(files), together=True),
    Format("CSV", lambda _: True, _read_table, table=True),
)
"""The first that recognises a file reads it."""


def read_data(paths: Sequence[str | os.PathLike[str]], *, options: TableOptions | None = None) -> Trajectories:
    """Read one file, HDF5 or a table, or the vector tables of JPL Horizons, one file a body.

    Parameters
    ----------
    paths
        The file, or the files.
    options
        What is known of how a table is written.

    Returns
    -------
    Trajectories
        As from `read_trajectories`, `read_csv` or `read_horizons`.

    Raises
    ------
    DataError
        If a file cannot be read as what it looks like, if there are several that are not of Horizons, if two bodies
        are at one place at one time, or if options have no part in a file.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise DataError("no file is given; name one file of trajectories, or the tables of Horizons")
    formats = [format_of(path) for path in files]
    options = options or TableOptions()
    check_options(files[0], formats[0], options)
    joint = next((each for each in formats if each.together), None)
    if joint is not None:
        return joint.read(files, options)
    if len(files) > 1:
        raise DataError(f"{files[0]} is no table of Horizons: only those are read together, one file a body")
    with naming(files[0]):
        trajectories = formats[0].read(files, options)
        check_bodies(trajectories)
    return trajectories


def check_options(path: Path, form: Format, options: TableOptions) -> None:
    """Raise `DataError` where something is said of how a table is written and a file is none."""
    if options.given and not form.table:
        raise DataError(
            f"{path} is {form.name}, in which {flag_of(next(iter(options.given)))} has no part; leave it out"
        )


def format_of(path: Path) -> Format:
    """Return the format of a file, by its bytes, or by its name where that says HDF5.

    Raises
    ------
    DataError
        If the file is missing or empty.
    """
    check_file(path)
    return next(each for each in FORMATS if each.recognises(path))
