"""The formats of labelled images that physode reads, told apart by what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from physode.datasets.files import check_file, shown
from physode.datasets.hdf5_file import is_hdf5
from physode.datasets.images.cache import cached
from physode.datasets.images.cifar import CIFAR, read_cifar
from physode.datasets.images.containers import Container, Folder, Tar, Zip, is_tar, is_zip
from physode.datasets.images.galaxy_zoo import TABLES, read_galaxy_zoo
from physode.datasets.images.hdf5 import read_hdf5
from physode.datasets.images.image_folder import is_image, read_folder
from physode.datasets.images.images import Images, centred, resized
from physode.datasets.images.npz import read_npz
from physode.errors import DataError

ImageKind = Literal["cifar10", "cifar100", "folder", "galaxy-zoo", "hdf5", "npz"]
KINDS: tuple[ImageKind, ...] = get_args(ImageKind)

_SIZES = (1, 2048)
_USUAL = 32
_ACCEPTED = (
    "a folder or archive with a folder of images for each class, CIFAR-10 or CIFAR-100 in the binary version, "
    "a folder with Kaggle's Galaxy Zoo, HDF5 of physode, or .npz"
)


@dataclass(frozen=True)
class Format:
    """A format of labelled images.

    Attributes
    ----------
    kind
        Its name.
    of_file
        Whether a file, by its path, has it.
    of_names
        Whether a folder or archive has it, by the names of the files in it that are at most one folder deep.
    stored
        Reads images that are stored as pixels; None where they are files to be decoded.
    decoded
        Reads image files of a container, scaled to `size`; what it returns is kept in the cache.
    """

    kind: ImageKind
    of_file: Callable[[Path], bool] = lambda _: False
    of_names: Callable[[set[str]], bool] = lambda _: False
    stored: Callable[[Path, Container | None], Images] | None = None
    decoded: Callable[..., Images] = lambda place, **options: read_folder(place, **options)


def _cifar(kind: ImageKind) -> Format:
    layout = CIFAR[kind]
    return Format(
        kind,
        of_names=lambda names: bool(names & {*layout.training, layout.test}),
        stored=lambda path, container: read_cifar(_needed(path, container, kind), kind),
    )


FORMATS = (
    Format("hdf5", of_file=is_hdf5, stored=lambda path, _: read_hdf5(path)),
    Format("npz", of_file=lambda path: path.suffix.casefold() == ".npz", stored=lambda path, _: read_npz(path)),
    Format(
        "galaxy-zoo",
        of_file=lambda path: path.name in TABLES,
        of_names=lambda names: bool(names & set(TABLES)),
        decoded=lambda place, **options: read_galaxy_zoo(place.path, **options),
    ),
    _cifar("cifar10"),
    _cifar("cifar100"),
    Format("folder"),
)
"""The first that has a source reads it; the last is for what holds image files in folders."""

_BY_KIND = {each.kind: each for each in FORMATS}


def read_images(
    path: str | os.PathLike[str],
    *,
    kind: ImageKind | None = None,
    size: int | None = None,
    centre: float | None = None,
    conditional: bool = False,
    workers: int | None = None,
    progress: Callable[[float], object] | None = None,
    cache: bool = True,
) -> Images:
    """Read labelled images.

    Parameters
    ----------
    path
        A folder or file, see ``docs/data.md``.
    kind
        What it is; None finds out.
    size
        Pixels along a side that all images are scaled to; None leaves those of CIFAR, HDF5 and npz as they are, and
        scales files of images to 32.
    centre
        Keep only the square about each image's centre, with this share of the shorter side, and scale that; galaxies of
        Galaxy Zoo fill about half of theirs. None keeps whole images, whose aspect ratio scaling does not keep.
    conditional
        Of Galaxy Zoo, let thresholds be of the votes of those who were asked, see
        :func:`physode.datasets.images.galaxy_classes`.
    workers
        Threads that decode image files; None takes one a processor.
    progress
        Told the finished fraction of the decoding.
    cache
        Whether decoded image files are kept in ``$XDG_CACHE_HOME/physode/images`` or ``~/.cache/physode/images``, and
        read from there when they have not changed.

    Returns
    -------
    Images
        Image files that cannot be read are left out, and named in ``skipped``.

    Raises
    ------
    DataError
        If there is nothing that can be read.
    ConfigError
        If Pillow is needed and not installed.
    ValueError
        If an argument is out of range.
    """
    source = Path(path)
    if size is not None and not _SIZES[0] <= size <= _SIZES[1]:
        raise ValueError(f"`size` must be from {_SIZES[0]} to {_SIZES[1]} pixels, got {size}")
    if workers is not None and workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}")
    if centre is not None and not 0 < centre <= 1:
        raise ValueError(f"`centre` must be above 0 and at most 1, a share of the image's side, got {centre}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {kind!r}")
    if not source.exists():
        raise DataError(f"{source} does not exist")
    container = container_of(source)
    found = _BY_KIND[kind or _kind_of(source, container)]
    if conditional and found.kind != "galaxy-zoo":
        raise DataError(f"{source} has no votes that could be `conditional`; only Kaggle's Galaxy Zoo has")
    if found.stored is not None:
        images = found.stored(source, container)
        images = images if centre is None else centred(images, centre)
        return images if size is None else resized(images, size)
    options: dict[str, Any] = {} if centre is None else {"centre": centre}
    options |= {"conditional": True} if conditional else {}
    if found.kind == "galaxy-zoo":
        container = Folder(source if source.is_dir() else source.parent)
    place = _needed(source, container, found.kind)
    side = size or _USUAL

    def read() -> Images:
        return found.decoded(place, size=side, workers=workers, progress=progress, **options)

    return cached(place, kind=found.kind, size=side, read=read, options=options) if cache else read()


def kind_of_images(path: str | os.PathLike[str]) -> ImageKind:
    """Return what a folder or file is.

    Raises
    ------
    DataError
        If it is nothing that physode reads, or CIFAR's pickled version, which can run programs and is never read.
    """
    source = Path(path)
    return _kind_of(source, container_of(source))


def _needed(path: Path, container: Container | None, kind: ImageKind) -> Container:
    if container is None:
        raise DataError(f"{path} is no folder and no archive, as {kind} must be")
    return container


def container_of(path: Path) -> Container | None:
    """Return a folder or an archive as a container; None for another file."""
    if path.is_dir():
        return Folder(path)
    check_file(path)
    if is_tar(path):
        return Tar(path)
    return Zip(path) if is_zip(path) else None


def _kind_of(path: Path, container: Container | None) -> ImageKind:
    found = next((each.kind for each in FORMATS if path.is_file() and each.of_file(path)), None)
    if found is not None:
        return found
    if container is None:
        raise DataError(f"{path} is nothing that images are read from; that is {_ACCEPTED}")
    names = [entry.name for entry in container.listing.entries]
    near = {PurePosixPath(name).name for name in names if name.count("/") <= 1}
    found = next((each.kind for each in FORMATS if each.of_names(near)), None)
    if found == "galaxy-zoo" and not isinstance(container, Folder):
        raise DataError(f"{path} holds Kaggle's Galaxy Zoo; unpack it, the .zip files in it can stay as they are")
    if found is not None:
        return found
    if {"data_batch_1", "test_batch"} & near or {"train", "test", "meta"} <= near:
        raise DataError(
            f"{path} is the pickled version of CIFAR, which could run programs when it is read; "
            "get the binary version, such as cifar-10-binary.tar.gz"
        )
    if not any(is_image(name) for name in names):
        example = f"such as {shown(names[0])}" if names else "it is empty"
        raise DataError(f"{path} holds no images ({example}); images are read from {_ACCEPTED}")
    return "folder"
