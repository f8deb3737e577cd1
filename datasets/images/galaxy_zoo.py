"""Kaggle's Galaxy Challenge: images of Galaxy Zoo 2 with the table of votes, in five classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from physode.datasets.files import check_file
from physode.datasets.images.archives import Zip
from physode.datasets.images.assembling import Labelled, assemble
from physode.datasets.images.containers import LARGEST_FILE, Container, Folder
from physode.datasets.images.folders import is_image
from physode.datasets.images.images import Images, Skipped
from physode.datasets.images.votes import CLASSES, PUBLISHED_COUNTS, Votes, galaxy_classes, read_votes
from physode.errors import DataError

__all__ = ["TABLES", "read_galaxy_zoo"]

TABLES = ("training_solutions_rev1.csv", "training_solutions_rev1.zip")
_IMAGES = "images_training_rev1"


def read_galaxy_zoo(
    path: Path,
    *,
    size: int = 32,
    workers: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Images:
    """Read the galaxies that volunteers agreed on; see :func:`physode.datasets.images.galaxy_classes`.

    The folder holds ``training_solutions_rev1.csv`` and ``images_training_rev1/<GalaxyID>.jpg``, either of them also
    as the ``.zip`` that Kaggle gives. Images of other galaxies are not read; a missing one is skipped.

    Parameters
    ----------
    path
        The folder, or the table in it.
    size, workers, progress
        As of :func:`physode.datasets.images.assembling.assemble`.

    Returns
    -------
    Images
        In the table's order, none for the test. Of its ``attrs``, ``found_counts`` are the galaxies of each class in
        the table, ``conditional_counts`` those with ``conditional=True``, ``published_counts`` those of the full table
        in the literature.

    Raises
    ------
    DataError
        If the table or the images are missing, the table is damaged, or no galaxy has a class and an image.
    """
    folder = path if path.is_dir() else path.parent
    votes = _votes(_table(folder))
    labels = galaxy_classes(votes)
    container, names = _images(folder)
    wanted = np.flatnonzero(labels >= 0)
    numbers = {int(votes.galaxies[row]): int(labels[row]) for row in wanted}
    listed = [Labelled(names[each], number, False) for each, number in numbers.items() if each in names]
    if not listed:
        raise DataError(
            f"{folder}: of {len(labels)} galaxies in the table {len(wanted)} have a class, and none of these an image"
        )
    return assemble(
        container,
        listed,
        classes=CLASSES,
        attrs={
            "name": "galaxy",
            "source": str(folder),
            "found_counts": _counts(labels),
            "conditional_counts": _counts(galaxy_classes(votes, conditional=True)),
            "published_counts": list(PUBLISHED_COUNTS),
        },
        skipped=[Skipped(f"{each}.jpg", "missing") for each in numbers if each not in names],
        size=size,
        workers=workers,
        progress=progress,
    )


def _table(folder: Path) -> Path:
    found = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if found is None:
        raise DataError(f"{folder} has no {TABLES[0]}, the table of Kaggle's Galaxy Challenge; put it there")
    return found


def _votes(path: Path) -> Votes:
    check_file(path, largest=LARGEST_FILE)
    try:
        return read_votes(_unpacked(path).decode())
    except (DataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}") from error


def _unpacked(path: Path) -> bytes:
    if path.suffix == ".csv":
        return path.read_bytes()
    archive = Zip(path)
    tables = [entry.name for entry in archive.listing.entries if PurePosixPath(entry.name).name == TABLES[0]]
    data = next((data for _, data in archive.contents(tables[:1])), None)
    if not isinstance(data, bytes):
        raise DataError(f"it holds no {TABLES[0]} that can be unpacked")
    return data


def _images(folder: Path) -> tuple[Container, dict[int, str]]:
    """Find the images, and return where they are with their names by galaxy."""
    candidates: Sequence[Container] = (
        *([Folder(folder / _IMAGES)] if (folder / _IMAGES).is_dir() else []),
        *([Zip(folder / f"{_IMAGES}.zip")] if (folder / f"{_IMAGES}.zip").is_file() else []),
        Folder(folder),
    )
    container = candidates[0]
    paths = [PurePosixPath(entry.name) for entry in container.listing.entries if is_image(entry.name)]
    return container, {int(each.stem): str(each) for each in paths if each.stem.isascii() and each.stem.isdigit()}


def _counts(labels: np.ndarray[Any, Any]) -> list[int]:
    return [int(np.count_nonzero(labels == number)) for number in range(len(CLASSES))]
