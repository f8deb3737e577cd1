"""Image folders: a folder a class, perhaps in ``train`` and ``test``; on disk or in an archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from physode.datasets.images.containers import Container
from physode.datasets.images.image_files import SUFFIXES, Labelled, assemble
from physode.datasets.images.images import Images, Skipped
from physode.datasets.images.measured import FITS_ENDINGS
from physode.errors import DataError

_TRAINING = frozenset({"train", "training"})
_TEST = frozenset({"test", "testing", "val", "valid", "validation"})


def read_folder(
    container: Container,
    *,
    size: int = 32,
    centre: float | None = None,
    workers: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Images:
    """Read ``CLASS/image.jpg``, or ``train/CLASS/image.jpg`` and ``test/CLASS/image.jpg``.

    Folders around all of this are passed over, those below a class belong to it. ``training`` is ``train``;
    ``testing``, ``val``, ``valid`` and ``validation`` are ``test``. Classes stand in the order of their names, images
    in that of their paths. Hidden files and what has no image's ending are ignored.

    Parameters
    ----------
    container
        A folder or an archive.
    size, centre, workers, progress
        As of :func:`physode.datasets.images.image_files.assemble`.

    Raises
    ------
    DataError
        If no image lies in a class's folder, or none can be read.
    """
    names = [entry.name for entry in container.listing.entries if is_image(entry.name)]
    listed, classes, loose = label(names)
    if not listed:
        found = "no images" if not names else f"image files ({len(names)}), but none in a folder of its class"
        raise DataError(f"{container.path} holds {found}; give each class a folder: CLASS/image.jpg")
    refused = [each for each in container.listing.skipped if is_image(each.path) or each.path.endswith("/")]
    return assemble(
        container,
        listed,
        classes=classes,
        attrs={"name": container.path.name.partition(".")[0] or "images", "source": str(container.path)},
        skipped=[*refused, *(Skipped(name, "in no folder of a class") for name in loose)],
        size=size,
        centre=centre,
        workers=workers,
        progress=progress,
    )


def label(names: Sequence[str]) -> tuple[list[Labelled], tuple[str, ...], list[str]]:
    """Tell classes and split from the paths of images.

    Parameters
    ----------
    names
        Paths with slashes.

    Returns
    -------
    tuple
        The images in the order of their paths, the classes in that of their names, and paths that lie in no class's
        folder.
    """
    paths = {name: PurePosixPath(name).parts for name in sorted(names)}
    depth = _depth_of_root(list(paths.values()))
    inner = {name: parts[depth:] for name, parts in paths.items()}
    split = _is_split({parts[0] for parts in inner.values() if len(parts) > 1})
    place = 1 if split else 0
    inside = {name: parts for name, parts in inner.items() if len(parts) > place + 1}
    classes = tuple(sorted({parts[place] for parts in inside.values()}))
    numbers = {name: number for number, name in enumerate(classes)}
    listed = [
        Labelled(name, numbers[parts[place]], split and parts[0].casefold() in _TEST) for name, parts in inside.items()
    ]
    return listed, classes, [name for name in paths if name not in inside]


def _depth_of_root(paths: Sequence[tuple[str, ...]]) -> int:
    """Return how many folders lie around the classes, or around the parts of a split."""
    depth = 0
    while True:
        around = {parts[depth] for parts in paths}
        if len(around) != 1 or _is_split(around) or not all(len(parts) > depth + 2 for parts in paths):
            return depth
        depth += 1


def _is_split(folders: set[str]) -> bool:
    names = {folder.casefold() for folder in folders}
    return bool(names & _TRAINING) and names <= _TRAINING | _TEST


def is_image(name: str) -> bool:
    """Whether a path is named as an image's and is not hidden."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in path.parts)
    return not hidden and (path.suffix.casefold() in SUFFIXES or path.name.casefold().endswith(FITS_ENDINGS))
