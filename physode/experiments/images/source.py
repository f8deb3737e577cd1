"""The images of a study: read from a file or folder, or simulated galaxies."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.errors import DataError

if TYPE_CHECKING:
    from physode.datasets.images import Images
    from physode.typing import Progress

__all__ = ["FULL", "SIMULATED", "describe", "load"]

SIMULATED = "simulated galaxies"
FULL = 28_790
"""How many galaxies are simulated where nothing else is said: as many as the galaxy paper has."""

_SEED = 0  # of the simulated galaxies, and of the choice of some images: the same ones for every training


def describe(path: Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Return what a configuration says of the images at `path`: their name, fingerprint and classes.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    from physode.datasets.images import read_images

    images = read_images(path, progress=progress)
    return {
        "data": str(images.attrs.get("name", path.name)),
        "digest": images.digest(),
        "classes": images.classes,
    }


def load(*, digest: str, images: int | None, path: str | None) -> Images:
    """Return the images of a study, the same ones at every call.

    Parameters
    ----------
    digest
        Their fingerprint; empty for simulated galaxies.
    images
        How many of them are used, chosen at random; None for all.
    path
        Where they are; no part of what they are.

    Raises
    ------
    DataError
        If others stand at `path` by now.
    """
    if not digest:
        return _simulated(FULL if images is None else images)
    if path is None:
        raise DataError(f"the images of fingerprint {digest[:8]} are missing; name them with `path`")
    found = _read(path, digest)
    if images is None or images >= len(found):
        return found
    order = np.random.default_rng(_SEED).permutation(len(found))[:images]
    return found.take(np.sort(order))


@functools.lru_cache(maxsize=1)
def _read(path: str, digest: str) -> Images:
    """Read images once for all cells of a process."""
    from physode.datasets.images import read_images

    found = read_images(Path(path))
    if found.digest() != digest:
        raise DataError(f"{path} has changed since the study was planned; give the command again")
    return found


@functools.lru_cache(maxsize=1)
def _simulated(count: int) -> Images:
    from physode.simulators.galaxies import simulate_galaxies

    return simulate_galaxies(count, seed=_SEED)
