"""HDF5 files that are written whole, whatever becomes of the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from physode.datasets.atomic import filling
from physode.interrupts import interrupts_held

__all__ = ["LIBVER", "filling_hdf5"]

LIBVER = ("v110", "v110")
"""HDF5 1.10's structures carry checksums, so that damage is found where it would otherwise be followed, and they lift
the limit of 64 KiB on an attribute. Every HDF5 since 2016 reads them."""


@contextmanager
def filling_hdf5(part: Path) -> Iterator[h5py.File]:
    """Open a part (:func:`physode.datasets.atomic.replacing`) as a new HDF5 file.

    HDF5 writes what it holds of a dataset when the dataset is closed, swallows what fails there, and may crash at the
    end of the process; so the file is ours, and it is known of every byte whether it was written. Ctrl-C waits: raised
    while HDF5 calls back, it would be one more failed write.

    Raises
    ------
    OSError
        If the disk is full.
    """
    with interrupts_held(), filling(part) as raw, h5py.File(raw, "w", libver=LIBVER) as file:
        yield file
