"""Data files: trajectories in HDF5, described in ``docs/data.md``."""

from __future__ import annotations

from physode.datasets.reading import read_trajectories
from physode.datasets.schema import SCHEMA_VERSION
from physode.datasets.summary import summarise
from physode.datasets.trajectories import Trajectories
from physode.datasets.writing import write_trajectories

__all__ = ["SCHEMA_VERSION", "Trajectories", "read_trajectories", "summarise", "write_trajectories"]
