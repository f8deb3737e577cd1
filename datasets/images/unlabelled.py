"""Images whose classes nobody knows yet: files in any folders or archives, or labelled ones without their labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from physode.datasets.files import check_file
from physode.datasets.images.formats import container_of, read_images
from physode.datasets.images.image_files import Labelled, assemble, bombs_are_errors, decode
from physode.datasets.images.image_folder import is_image
from physode.datasets.images.images import Images
from physode.datasets.images.measured import UndecodableError
from physode.errors import DataError

__all__ = ["joined", "read_unlabelled"]

UNKNOWN = "unknown"
"""The one class of images whose classes are not known."""

_USUAL = 32


def read_unlabelled(
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    centre: float | None = None,
    workers: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Images:
    """Read images without asking for their classes, in the order of their files' names.

    Parameters
    ----------
    path
        An image file; a folder or an archive with image files, in folders of any depth; or a file of labelled images
        (HDF5, npz, CIFAR), whose labels are left out.
    size
        Pixels along a side, as of :func:`physode.datasets.images.read_images`.
    centre
        As there, of image files; of pixels that are stored, the centre has been cut already.
    workers, progress
        As there.

    Returns
    -------
    Images
        Of the one class ``"unknown"``; with `names` where they come from files.

    Raises
    ------
    DataError
        If there is no image, or none can be read.
    ConfigError
        If Pillow is needed and not installed.
    """
    source = Path(path)
    if not source.exists():
        raise DataError(f"{source} does not exist")
    if source.is_file() and is_image(source.name):
        return _single(source, size or _USUAL, centre)
    container = container_of(source)
    names = [] if container is None else [each.name for each in container.listing.entries if is_image(each.name)]
    if container is None or not names:
        return _nameless(read_images(source, size=size, workers=workers, progress=progress))
    return assemble(
        container,
        _in_order(names),
        classes=(UNKNOWN,),
        attrs={"name": source.name.partition(".")[0] or "images", "source": str(source)},
        skipped=[each for each in container.listing.skipped if is_image(each.path)],
        size=size or _USUAL,
        centre=centre,
        workers=workers,
        progress=progress,
    )


def joined(parts: Sequence[Images]) -> Images:
    """Return the images of several sources as one; names begin with that of the source.

    Raises
    ------
    DataError
        If their sizes differ.
    """
    sizes = {part.x.shape[1:] for part in parts}
    if len(sizes) > 1:
        told = ", ".join(f"{part.attrs['name']} {part.x.shape[3]}x{part.x.shape[2]}" for part in parts)
        raise DataError(f"these images are of different sizes: {told}; give them apart")
    return dataclasses.replace(
        parts[0],
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        test=np.concatenate([part.test for part in parts]),
        skipped=tuple(each for part in parts for each in part.skipped),
        names=tuple(_full_name(part, place) for part in parts for place in range(len(part))),
    )


def _full_name(images: Images, place: int) -> str:
    source, name = Path(str(images.attrs.get("source", images.attrs.get("name", "images")))).name, images.name(place)
    return name if name == source else f"{source}/{name}"


def _in_order(names: Sequence[str]) -> list[Labelled]:
    return [Labelled(name, 0, False) for name in sorted(names)]


def _single(path: Path, size: int, centre: float | None) -> Images:
    check_file(path)
    try:
        with bombs_are_errors():
            pixels = decode(path.read_bytes(), size=size, centre=centre)
    except UndecodableError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    none = np.zeros(1, dtype=np.int64)
    return Images(
        pixels[None], none, (UNKNOWN,), none > 0, {"name": path.stem, "source": str(path)}, names=(path.name,)
    )


def _nameless(images: Images) -> Images:
    """Return images as if their classes were not known."""
    none = np.zeros(len(images), dtype=np.int64)
    return dataclasses.replace(images, y=none, classes=(UNKNOWN,), test=none > 0)
