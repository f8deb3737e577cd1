"""The plane of the sky: the fine grid that galaxies are drawn on, and positions in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from physode.simulators.arguments import Floats

__all__ = ["FIELD", "MARGIN", "OVERSAMPLING", "Plane", "plane_of"]

FIELD = 48.0
"""Width of an image in arcseconds, about four radii of 90 % of a galaxy's light."""

OVERSAMPLING = 3
"""Fine pixels along a side of a pixel."""

MARGIN = 2
"""Pixels drawn beyond each edge, so that light from there comes in through the point-spread function."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The fine pixels' centres.

    Attributes
    ----------
    x, y
        Arcseconds to the right of and below the image's centre, (S, S), S fine pixels along a side.
    step
        Width of a fine pixel, arcsec.
    """

    x: Floats
    y: Floats
    step: float

    @property
    def half_width(self) -> float:
        """From the centre to an edge, margin included, in arcseconds."""
        return 0.5 * len(self.x) * self.step

    def frame(self, *, x: float, y: float, angle: float) -> tuple[Floats, Floats]:
        """Return the pixels' coordinates along and across axes with origin (x, y), turned by `angle` degrees."""
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        right, down = self.x - x, self.y - y
        return cosine * right + sine * down, cosine * down - sine * right

    def points(self, x: Floats, y: Floats, flux: Floats) -> Floats:
        """Return the brightness (S, S) of points of light, each shared by the four pixels around it.

        The shares are bilinear, so that the sum of the light and its centre are right. Light outside is left out.
        """
        image = np.zeros_like(self.x)
        size = len(image)
        column, row = (x + self.half_width) / self.step - 0.5, (y + self.half_width) / self.step - 0.5
        left, top = np.floor(column).astype(int), np.floor(row).astype(int)
        for down in (0, 1):
            for right in (0, 1):
                i, j = top + down, left + right
                share = (1.0 - np.abs(row - i)) * (1.0 - np.abs(column - j)) * flux
                inside = (i >= 0) & (i < size) & (j >= 0) & (j < size)
                np.add.at(image, (i[inside], j[inside]), share[inside])
        return image / self.step**2


@lru_cache(maxsize=4)
def plane_of(size: int) -> Plane:
    """Return the fine grid of an image of `size` pixels along a side, margins included."""
    step = FIELD / (size * OVERSAMPLING)
    count = (size + 2 * MARGIN) * OVERSAMPLING
    line = (np.arange(count) - 0.5 * (count - 1)) * step
    x, y = np.meshgrid(line, line)
    x.flags.writeable = y.flags.writeable = False
    return Plane(x=x, y=y, step=step)
