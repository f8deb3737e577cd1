"""What images a folder, an archive or a file holds, by the names in it; none is decoded."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from physode.datasets.images.containers import Folder, is_tar, is_zip
from physode.datasets.images.formats import container_of, kind_of_images, read_images
from physode.datasets.images.image_files import SUFFIXES
from physode.datasets.images.image_folder import is_image, label
from physode.datasets.images.images import summarise_images
from physode.errors import DataError

__all__ = ["outline_images"]

_NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "galaxy-zoo": "Galaxy Zoo", "npz": "npz"}
_WORKBOOK = "xl/workbook.xml"


def outline_images(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Describe images that are no HDF5; None where there are none.

    Returns
    -------
    dict or None
        As of :func:`physode.datasets.images.summarise_images`, with ``path``, ``bytes``, ``format`` and
        ``schema_version`` (None). Of files of images, ``height`` and ``width`` are None, as none is looked into;
        ``classes`` is empty where they lie in no folders of classes, as images that nobody has labelled do.

    Raises
    ------
    DataError
        If it is the pickled version of CIFAR or a damaged archive.
    """
    source = Path(path)
    if source.is_file() and source.suffix.casefold() in SUFFIXES:
        return _about(source, "image file", [source.name], source.stat().st_size)
    npz = source.is_file() and source.suffix.casefold() == ".npz"
    if not (npz or source.is_dir() or (source.is_file() and (is_tar(source) or is_zip(source)))):
        return None
    if npz:
        return _stored(source, "npz")
    container = container_of(source)
    assert container is not None
    entries = container.listing.entries
    names = [entry.name for entry in entries if is_image(entry.name)]
    if any(entry.name == _WORKBOOK for entry in entries):
        return None
    try:
        kind = kind_of_images(source)
    except DataError:
        if names or not isinstance(container, Folder):
            raise
        return None
    if kind in ("cifar10", "cifar100"):
        return _stored(source, kind)
    what = _NAMES.get(kind) or ("folder of images" if isinstance(container, Folder) else "archive of images")
    size = sum(entry.size for entry in entries if is_image(entry.name))
    return _about(source, what, names, size, by_folder=kind == "folder")


def _stored(source: Path, kind: str) -> dict[str, Any]:
    files = [source] if source.is_file() else [each for each in source.iterdir() if each.is_file()]
    size = sum(each.stat().st_size for each in files)
    about = {"path": str(source), "bytes": size, "format": _NAMES[kind], "schema_version": None, "params": {}}
    return {**about, **summarise_images(read_images(source))}


def _about(source: Path, what: str, names: list[str], size: int, *, by_folder: bool = False) -> dict[str, Any]:
    labelled, classes, loose = label(names) if by_folder else ([], (), [])
    counts = Counter((image.label, image.test) for image in labelled)
    listed = [
        {"class": number, "name": name, "training": counts[number, False], "test": counts[number, True]}
        for number, name in enumerate(classes)
    ]
    skipped = [{"path": name, "reason": "in no folder of a class"} for name in loose] if labelled else []
    return {
        "path": str(source),
        "bytes": size,
        "format": what,
        "schema_version": None,
        "images": len(names),
        "height": None,
        "width": None,
        "training": sum(each["training"] for each in listed),
        "test": sum(each["test"] for each in listed),
        "classes": listed,
        "params": {},
        "skipped": skipped,
        "attributes": {},
    }
