"""The parameters of simulated galaxies beside their images, in one HDF5 file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import h5py
from numpy.typing import NDArray

from physode.simulators.galaxies.galaxy import PARAMETERS

__all__ = ["write_parameters"]


def write_parameters(path: str | os.PathLike[str], parameters: Mapping[str, NDArray[Any]]) -> None:
    """Add ``/params/<name>`` to a file of images, each (N,) with the attributes ``unit`` and ``description``.

    Parameters
    ----------
    path
        The file, as :func:`physode.datasets.images.write_images` has written it.
    parameters
        Arrays by name, as :func:`physode.simulators.galaxies.simulate_galaxies_with_parameters` returns them.
    """
    with h5py.File(path, "r+") as file:
        group = file.create_group("params")
        for name, values in parameters.items():
            dataset = group.create_dataset(name, data=values, compression="gzip", shuffle=True)
            dataset.attrs.update(PARAMETERS[name])
