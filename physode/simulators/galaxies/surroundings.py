"""What else is in the field: stars before the galaxy, and small galaxies far behind it."""

from __future__ import annotations

import numpy as np

from physode.simulators.arguments import Floats
from physode.simulators.galaxies.plane import FIELD, Plane
from physode.simulators.galaxies.profiles import elliptical_radius, sersic
from physode.simulators.galaxies.rendering import bands

__all__ = ["surroundings"]

_STARS = 0.6  # mean number in an image
_NEIGHBOURS = 0.6
_EDGE = 0.53 * FIELD  # a little beyond the image, whatever its pixels


def surroundings(plane: Plane, rng: np.random.Generator) -> Floats:
    """Draw stars and small galaxies, anywhere in the field: their brightness (3, S, S), before the atmosphere.

    Light has the unit of :attr:`physode.simulators.galaxies.galaxy.Galaxy.flux`.
    """
    scene = np.zeros((3, *plane.x.shape))
    for _ in range(rng.poisson(_STARS)):
        where = rng.uniform(-_EDGE, _EDGE, 2)
        light = 10.0 ** (-0.4 * np.array([rng.uniform(17.5, 21.0)]))
        scene += _colour(rng.uniform(0.2, 1.3)) * plane.points(where[:1], where[1:], light)
    for _ in range(rng.poisson(_NEIGHBOURS)):
        scene += _neighbour(plane, rng)
    return scene


def _neighbour(plane: Plane, rng: np.random.Generator) -> Floats:
    x, y = rng.uniform(-_EDGE, _EDGE, 2)
    u, v = plane.frame(x=x, y=y, angle=rng.uniform(0.0, 180.0))
    q, radius, magnitude = rng.uniform(0.4, 1.0), rng.uniform(0.6, 1.6), rng.uniform(18.5, 21.5)
    profile = sersic(elliptical_radius(u, v, q), n=rng.uniform(1.0, 2.5), half_light=radius, q=q)
    light: Floats = _colour(rng.normal(0.8, 0.2)) * 10.0 ** (-0.4 * magnitude) * profile
    return light


def _colour(colour: float) -> Floats:
    return bands(colour)[:, None, None]
