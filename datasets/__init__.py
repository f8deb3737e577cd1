"""Data files: trajectories in HDF5, tables and vector tables of JPL Horizons, described in ``docs/data.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.datasets.bodies import check_bodies
    from physode.datasets.csv_trajectories import read_csv
    from physode.datasets.formats import read_data
    from physode.datasets.horizons import read_horizons
    from physode.datasets.summary import summarise, summarise_data
    from physode.datasets.table import Table, TableOptions, read_table
    from physode.datasets.trajectories import Trajectories
    from physode.datasets.trajectory_file import SCHEMA_VERSION, read_trajectories, write_trajectories

__all__ = [
    "SCHEMA_VERSION",
    "Table",
    "TableOptions",
    "Trajectories",
    "check_bodies",
    "read_csv",
    "read_data",
    "read_horizons",
    "read_table",
    "read_trajectories",
    "summarise",
    "summarise_data",
    "write_trajectories",
]

import_when_used(
    __name__,
    {
        "SCHEMA_VERSION": "trajectory_file",
        "Table": "table",
        "TableOptions": "table",
        "Trajectories": "trajectories",
        "check_bodies": "bodies",
        "read_csv": "csv_trajectories",
        "read_data": "formats",
        "read_horizons": "horizons",
        "read_table": "table",
        "read_trajectories": "trajectory_file",
        "summarise": "summary",
        "summarise_data": "summary",
        "write_trajectories": "trajectory_file",
    },
)
