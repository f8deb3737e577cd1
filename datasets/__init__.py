"""Data files: trajectories in HDF5, tables and vector tables of JPL Horizons, described in ``docs/data.md``."""

from __future__ import annotations

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
