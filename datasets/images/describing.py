"""What is in a file of images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physode.datasets.images.hdf5 import IMAGE_SCHEMA_VERSION, open_images, read_open
from physode.datasets.images.summary import summarise_images
from physode.datasets.opening import check_total, find_dataset, holds
from physode.datasets.schema import plain
from physode.errors import DataError

__all__ = ["summarise_image_file"]


def summarise_image_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a file of images in HDF5, reading every number of it.

    Returns
    -------
    dict
        ``path``, ``bytes``, ``format`` (``HDF5``), ``schema_version``, what
        :func:`physode.datasets.images.summarise_images` returns, and ``params`` (by name: ``shape`` of one image's,
        ``unit``, ``min``, ``max``, None where no value is known).

    Raises
    ------
    DataError
        As :func:`physode.datasets.images.read_images`, or if a parameter does not have one entry for each image.
    """
    with open_images(path) as file:
        images = read_open(file)
        check_total(file, [find_dataset(file, name, group="params") for name in _names(file)])
        params = {name: _param(file, name, len(images)) for name in _names(file)}
    about = {"path": os.fspath(path), "bytes": Path(path).stat().st_size, "format": "HDF5"}
    return {**about, "schema_version": IMAGE_SCHEMA_VERSION, **summarise_images(images), "params": params}


def _names(file: h5py.File) -> list[str]:
    if not holds(file, "params"):
        return []
    if not isinstance(file["params"], h5py.Group):
        raise DataError("/params must be a group of datasets")
    return list(file["params"])


def _param(file: h5py.File, name: str, count: int) -> dict[str, Any]:
    dataset = find_dataset(file, name, group="params")
    if dataset.shape[:1] != (count,):
        raise DataError(f"/params/{name} must have one entry for each of the {count} images, it is {dataset.shape}")
    values = np.asarray(dataset[()], dtype=np.float64)
    known = values[~np.isnan(values)]
    return {
        "shape": list(dataset.shape[1:]),
        "unit": str(plain(dataset.attrs.get("units", ""))),
        "min": float(known.min()) if known.size else None,
        "max": float(known.max()) if known.size else None,
    }
