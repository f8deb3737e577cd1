"""Labelled images in HDF5: the layout ``physode-images``, written whole, and read trusting nothing that a file says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physode.datasets.atomic_write import replacing
from physode.datasets.hdf5_attributes import attribute_value, decode_attributes, encode_attributes, fixed_text
from physode.datasets.hdf5_file import (
    check_total,
    filling_hdf5,
    find_dataset,
    group_names,
    holds,
    layout_of,
    open_hdf5,
    put_dataset,
    put_header,
)
from physode.datasets.images.images import Images, Skipped, summarise_images
from physode.datasets.provenance import provenance
from physode.errors import DataError

Array = np.ndarray[Any, Any]
Parameter = tuple[Array, str, str]
"""What each image was made from: values (N, ...), their unit, and a line that describes them."""

IMAGE_FORMAT = "physode-images"
IMAGE_SCHEMA_VERSION = 1

_DESCRIPTIONS = {
    "x": "images, bytes of red, green and blue",
    "y": "numbers of their classes",
    "test": "1 for images that are set aside for the test",
    "names": "the files that the images came from",
}
_AXES = {"x": ("image", "channel", "row", "column"), "y": ("image",), "test": ("image",), "names": ("image",)}
_PACKED: Any = {"compression": "gzip", "level": 1, "shuffle": True}
_MOST_CLASSES = 1_000_000  # labels that are named by their numbers


def write_images(
    path: str | os.PathLike[str],
    images: Images,
    *,
    overwrite: bool = False,
    params: Mapping[str, Parameter] | None = None,
) -> None:
    """Write labelled images; the file appears under its name when it is whole, or not at all.

    ``docs/data.md`` describes the layout. What `physode.datasets.provenance` knows is stored beside the attributes of
    `images`, which win where they have the same name. Every number is checksummed, and compressed without loss.

    Parameters
    ----------
    path
        The file, by habit ``*.h5``.
    images
        What to write, one image or more.
    overwrite
        Whether to replace a file that exists.
    params
        What each image was made from, by name, under ``/params``.

    Raises
    ------
    DataError
        If there are no images, a parameter does not go with them, the file exists and `overwrite` is False, its folder
        does not exist, or an attribute cannot be stored.
    OSError
        If the disk is full or the folder cannot be written to.
    """
    with replacing(path, overwrite=overwrite) as part:
        fill_images(part, images, params=params)


def fill_images(part: Path, images: Images, *, params: Mapping[str, Parameter] | None = None) -> None:
    """Write images into a part that was claimed before (:func:`physode.datasets.atomic_write.replacing`)."""
    params = {} if params is None else params
    _check(images, params)
    encoded = encode_attributes({**provenance(), **images.attrs, "skipped": _told(images.skipped)})
    with filling_hdf5(part) as file:
        put_header(file, IMAGE_FORMAT, IMAGE_SCHEMA_VERSION, encoded)
        for name, values in (("x", images.x), ("y", images.y), ("test", images.test.astype(np.uint8))):
            put_dataset(file, name, values, **_PACKED, units="", description=_DESCRIPTIONS[name], axes=_AXES[name])
        if images.names:
            names = fixed_text(images.names)
            put_dataset(file, "names", names, **_PACKED, description=_DESCRIPTIONS["names"], axes=_AXES["names"])
        file["y"].attrs["classes"] = fixed_text(images.classes)
        for name, (values, unit, description) in params.items():
            put_dataset(file, f"params/{name}", values, **_PACKED, units=unit, description=description, axes=("image",))


@contextmanager
def open_images(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a file of images to read parts of it; what goes wrong in the block raises `DataError` naming the file."""
    with open_hdf5(path, layout=IMAGE_FORMAT, version=IMAGE_SCHEMA_VERSION, holding="images") as file:
        yield file


def holds_images(path: str | os.PathLike[str]) -> bool:
    """Whether a file is HDF5 that says that it holds images."""
    return layout_of(path) == IMAGE_FORMAT


def read_hdf5(path: str | os.PathLike[str]) -> Images:
    """Read a file of labelled images.

    Returns
    -------
    Images
        With the file's attributes as `attrs`; its name where it has no ``name``, numbers where classes have no names,
        no image for the test where it does not say which.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, of another layout or version, if a dataset is missing or of a wrong type
        or shape, if a label has no class, or if it declares more numbers than the file can hold.
    """
    with open_images(path) as file:
        found = read_open(file)
    found.attrs.setdefault("name", Path(path).stem)
    return found


def read_open(file: h5py.File) -> Images:
    """Read the images of an open file."""
    x, y = find_dataset(file, "x"), find_dataset(file, "y")
    test = find_dataset(file, "test") if holds(file, "test") else None
    names = find_dataset(file, "names", kinds="S") if holds(file, "names") else None
    check_total(file, [each for each in (x, y, test, names) if each is not None])
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1] != 3 or 0 in x.shape:
        raise DataError(f"/x must be bytes (N, 3, H, W), it is {x.dtype} {x.shape}; see docs/data.md")
    for name, dataset in (("y", y), ("test", test)):
        if dataset is not None and (dataset.shape != x.shape[:1] or dataset.dtype.kind not in "iub"):
            raise DataError(f"/{name} must be integers ({x.shape[0]},), it is {dataset.dtype} {dataset.shape}")
    if names is not None and names.shape != x.shape[:1]:
        raise DataError(f"/names must be text ({x.shape[0]},), it is {names.shape}")
    labels = y[()].astype(np.int64)
    attrs = decode_attributes(file.attrs)
    skipped = tuple(Skipped(str(path), str(reason)) for path, reason in attrs.pop("skipped", []))
    split = np.zeros(len(labels), dtype=np.bool_) if test is None else test[()] != 0
    return Images(
        x=x[()],
        y=labels,
        classes=_classes(y, labels),
        test=split,
        attrs=attrs,
        skipped=skipped,
        names=() if names is None else tuple(name.decode(errors="surrogateescape") for name in names[()].tolist()),
    )


def _classes(dataset: h5py.Dataset, labels: Array) -> tuple[str, ...]:
    if "classes" in list(dataset.attrs):
        return tuple(str(word) for word in attribute_value(np.atleast_1d(dataset.attrs["classes"])))
    if labels.max() >= _MOST_CLASSES:
        raise DataError(f"/y has the label {labels.max()}; labels count classes, from 0")
    return tuple(map(str, range(int(labels.max()) + 1)))


def _told(skipped: tuple[Skipped, ...]) -> list[list[str]]:
    return [[each.path, each.reason] for each in skipped]


def _check(images: Images, params: Mapping[str, Parameter]) -> None:
    if images.x.size == 0:
        raise DataError(f"`images` must have at least one image to write, got {images.x.shape}")
    if "skipped" in images.attrs:
        raise DataError("`images.attrs['skipped']` is a name that the file layout uses itself; choose another")
    for name, (values, _, _) in params.items():
        if not name or set(name) & set("/.\0"):
            raise DataError(f"`params` must have words for names, got {name!r}")
        if values.dtype.kind not in "fiub" or values.shape[:1] != (len(images),) or values.size == 0:
            raise DataError(
                f"`params[{name!r}]` must be numbers ({len(images)}, ...), got {values.dtype} {values.shape}"
            )


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
        check_total(file, [find_dataset(file, name, group="params") for name in group_names(file, "params")])
        params = {name: _param(file, name, len(images)) for name in group_names(file, "params")}
    about = {"path": os.fspath(path), "bytes": Path(path).stat().st_size, "format": "HDF5"}
    return {**about, "schema_version": IMAGE_SCHEMA_VERSION, **summarise_images(images), "params": params}


def _param(file: h5py.File, name: str, count: int) -> dict[str, Any]:
    dataset = find_dataset(file, name, group="params")
    if dataset.shape[:1] != (count,):
        raise DataError(f"/params/{name} must have one entry for each of the {count} images, it is {dataset.shape}")
    values = np.asarray(dataset[()], dtype=np.float64)
    known = values[~np.isnan(values)]
    return {
        "shape": list(dataset.shape[1:]),
        "unit": str(attribute_value(dataset.attrs.get("units", ""))),
        "min": float(known.min()) if known.size else None,
        "max": float(known.max()) if known.size else None,
    }
