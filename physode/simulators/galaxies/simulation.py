"""Sets of simulated images of galaxies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from physode.datasets.images import Images
from physode.gradients.kept_graphs import free_bytes
from physode.simulators.galaxies.camera import (
    FIELD,
    SKY,
    convolve,
    moffat,
    pixels,
    plane_of,
    record,
    signal_to_noise,
    stretch,
)
from physode.simulators.galaxies.galaxy import CLASSES, Galaxy, columns, draw_galaxy, labels, test_split
from physode.simulators.galaxies.rendering import render, surroundings
from physode.simulators.sampling import generator

if TYPE_CHECKING:
    from physode.typing import Progress

__all__ = ["photograph", "simulate_galaxies", "simulate_galaxies_with_parameters"]

_SIZES = (8, 256)
_LEAST_NOISE = 1e-6
_GALAXY = 5000  # bytes that a galaxy takes beside its image
_STEPS = 200  # calls of the progress


def simulate_galaxies(
    count: int,
    *,
    seed: int = 0,
    size: int = 32,
    noise: float = 0.03,
    balanced: bool = False,
    test_fraction: float = 0.1,
    progress: Progress | None = None,
) -> Images:
    """Simulate images of galaxies in the five classes of Galaxy Zoo.

    As :func:`simulate_galaxies_with_parameters`, without the parameters.
    """
    return simulate_galaxies_with_parameters(
        count,
        seed=seed,
        size=size,
        noise=noise,
        balanced=balanced,
        test_fraction=test_fraction,
        progress=progress,
    )[0]


def simulate_galaxies_with_parameters(
    count: int,
    *,
    seed: int = 0,
    size: int = 32,
    noise: float = 0.03,
    balanced: bool = False,
    test_fraction: float = 0.1,
    progress: Progress | None = None,
) -> tuple[Images, dict[str, NDArray[Any]]]:
    """Simulate images of galaxies in five classes, with the parameters that they were made from.

    Completely round, in-between and cigar-shaped galaxies are Sersic profiles of falling axis ratio; edge-on ones are
    discs of finite thickness with a bulge or a lane of dust, if any; spirals are inclined exponential discs with
    logarithmic arms, star-forming regions, a bulge and often a bar. All are seen against stars and small galaxies,
    through a Moffat point-spread function, with the noise of photons and camera, and shown in colours of 8 bits. A
    label is what a galaxy was made as, not what it looks like. Galaxy `i` depends on `seed` and `i` alone: a smaller
    set is the beginning of a larger one.

    Parameters
    ----------
    count
        Number of galaxies.
    seed
        Of every random choice.
    size
        Pixels along a side, 8 to 256, over 48 arcseconds.
    noise
        Standard deviation of an empty pixel, of full scale, from 0 to 1.
    balanced
        All classes equally frequent, instead of the shares 8434 : 8069 : 578 : 3903 : 7806 of Gupta et al. 2022.
    test_fraction
        Share of each class that is for testing, from 0 to below 1.
    progress
        Told the finished fraction.

    Returns
    -------
    tuple
        The images, and the parameters by name, each (count,): see
        :data:`physode.simulators.galaxies.PARAMETERS` for units and descriptions.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    _check(count, size=size, noise=noise, test_fraction=test_fraction)
    y = labels(count, seed=seed, balanced=balanced)
    galaxies = [draw_galaxy(int(label), generator(seed, "galaxy", index)) for index, label in enumerate(y)]
    x = np.empty((count, 3, size, size), dtype=np.uint8)
    for index, galaxy in enumerate(galaxies):
        x[index] = photograph(galaxy, seed=seed, index=index, size=size, noise=noise)
        if progress is not None and (index + 1) * _STEPS // count > index * _STEPS // count:
            progress((index + 1) / count)
    settings = {"seed": seed, "size": size, "noise": noise, "balanced": balanced, "test_fraction": test_fraction}
    images = Images(
        x=x,
        y=y,
        classes=CLASSES,
        test=test_split(y, fraction=test_fraction),
        attrs={"name": "galaxies", "source": "simulated galaxies", **settings},
    )
    return images, {**columns(galaxies), "signal_to_noise": _signal_to_noise(galaxies, size=size, noise=noise)}


def photograph(galaxy: Galaxy, *, seed: int, index: int, size: int, noise: float) -> NDArray[np.uint8]:
    """Return the image (3, size, size) of a galaxy in its field; `seed` and `index` give what is random in it."""
    plane = plane_of(size)
    rng = generator(seed, "field", index)
    scene = render(galaxy, plane, rng) + surroundings(plane, rng)
    blurred = convolve(scene, moffat(len(plane.x), fwhm=galaxy.psf, step=plane.step))
    return stretch(record(pixels(blurred) / SKY, noise=noise, rng=generator(seed, "noise", index)))


def _signal_to_noise(galaxies: Sequence[Galaxy], *, size: int, noise: float) -> NDArray[np.float64]:
    pixel = (FIELD / size) ** 2
    areas = [math.pi * each.radius**2 * each.axis_ratio for each in galaxies]
    return np.array(
        [
            signal_to_noise(0.5 * each.flux / area / SKY, area / pixel, noise=noise)
            for each, area in zip(galaxies, areas, strict=True)
        ]
    )


def _check(count: int, *, size: int, noise: float, test_fraction: float) -> None:
    if count < 1:
        raise ValueError(f"`count` must be at least 1 galaxy, got {count}")
    if not _SIZES[0] <= size <= _SIZES[1]:
        raise ValueError(f"`size` must be from {_SIZES[0]} to {_SIZES[1]} pixels, got {size}")
    if not 0 <= noise <= 1:
        raise ValueError(f"`noise` must be from 0 to 1, full scale, got {noise}")
    if 0 < noise < _LEAST_NOISE:
        raise ValueError(f"`noise` below {_LEAST_NOISE:g} leaves nothing in 8 bits, got {noise:g}; give 0 for none")
    needed, free = count * (_GALAXY + 2 * 3 * size**2), free_bytes(torch.device("cpu"))
    if needed > free:
        raise ValueError(
            f"{count} galaxies (`count`) of {size} pixels a side take {needed / 2**30:.3g} GiB, {free / 2**30:.3g} GiB "
            "are free; make fewer at a time"
        )
    if not 0 <= test_fraction < 1:
        raise ValueError(f"`test_fraction` must be from 0 to below 1, got {test_fraction}")
