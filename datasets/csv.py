"""The user's tables of text: CSV in two layouts, described in ``docs/data.md``."""

from __future__ import annotations

import os
from pathlib import Path

from physode.datasets.bodies import check_bodies
from physode.datasets.csv_long import read_long
from physode.datasets.csv_wide import read_wide
from physode.datasets.files import naming
from physode.datasets.table import read_table
from physode.datasets.trajectories import Trajectories

__all__ = ["read_csv"]


def read_csv(path: str | os.PathLike[str]) -> Trajectories:
    """Read a table of text with a header.

    With a column ``body`` each row is one body at one time (the long layout); without, each row is one time and each
    column a component (the wide layout). Bodies whose lengths and times have declared units come in AU, years and
    AU/yr, the year being 365.25 days; other values stay as they are.

    Returns
    -------
    Trajectories
        Missing values are NaN, velocities that are not in the file too. ``attrs`` hold ``notes`` (what is missing, a
        list of lines), ``source`` (the file's name), and ``time_unit`` where it is declared; for bodies also
        ``system``, ``bodies`` (their names) and, in AU and years, ``rhs``.

    Raises
    ------
    DataError
        If the file cannot be read as such a table; the message names the file, and the row where one is to blame.
    """
    path = Path(path)
    with naming(path):
        table = read_table(path)
        trajectories = read_long(table) if "body" in table.words else read_wide(table)
        check_bodies(trajectories)
    trajectories.attrs["source"] = path.name
    return trajectories
