"""Galaxies, stars before them and small galaxies behind as brightness on the fine grid, in three bands."""

from __future__ import annotations

import math

import numpy as np

from physode.simulators.galaxies.camera import FIELD, Plane
from physode.simulators.galaxies.galaxy import Galaxy
from physode.simulators.galaxies.profiles import (
    arm_density,
    bar,
    edge_on_disc,
    elliptical_radius,
    exponential_disc,
    knots,
    sersic,
)
from physode.simulators.sampling import Floats

__all__ = ["bands", "render", "surroundings"]


_NEUTRAL = 0.5  # g - r that is shown as grey
_YOUNG = 0.05  # g - r of stars that have just formed
_KNOT_SHARE = 0.2  # of the young stars' light that comes from knots
_OLD_ARMS = 0.35  # contrast of the arms in old stars, of that in young ones
_BAR_RATIO = 0.28
_EXTINCTION = np.array([0.76, 1.0, 1.44])  # of i and g, that of r being 1
_SOFTENING = 0.3  # fine pixels within which a cusp is flat, as the mean over a pixel is


def bands(colour: float) -> Floats:
    """Return the light in i, r and g, that in r being 1, of stars of the colour g - r: (3,).

    Each band is scaled so that a colour of 0.5 is grey. The other colour is on the line along which galaxies lie,
    r - i = 0.38 + 0.56 (g - r - 0.77).
    """
    excess = colour - _NEUTRAL
    return np.array([10.0 ** (0.4 * 0.56 * excess), 1.0, 10.0 ** (-0.4 * excess)])


def render(galaxy: Galaxy, plane: Plane, rng: np.random.Generator) -> Floats:
    """Return a galaxy's brightness before atmosphere and camera: (3, S, S), in i, r and g.

    Parameters
    ----------
    galaxy
        Its parameters.
    plane
        The fine grid.
    rng
        Draws what has no parameters: a spiral's star-forming regions.
    """
    if not galaxy.has_disc:
        image = _smooth(galaxy, plane)
    elif galaxy.arms:
        image = _spiral(galaxy, plane, rng)
    else:
        image = _edge_on(galaxy, plane)
    return galaxy.flux * image


def _smooth(galaxy: Galaxy, plane: Plane) -> Floats:
    u, v = plane.frame(x=galaxy.x, y=galaxy.y, angle=galaxy.position_angle)
    q = galaxy.axis_ratio
    profile = sersic(_softened(elliptical_radius(u, v, q), plane), n=galaxy.index, half_light=galaxy.radius, q=q)
    return _painted(profile, galaxy.colour)


def _edge_on(galaxy: Galaxy, plane: Plane) -> Floats:
    u, v = plane.frame(x=galaxy.x, y=galaxy.y, angle=galaxy.position_angle)
    h = galaxy.scale_length
    height = galaxy.thickness * h
    disc = edge_on_disc(u, v, scale_length=h, height=height)
    image = (1.0 - galaxy.bulge_fraction) * _painted(disc, galaxy.colour) + _bulge(galaxy, u, v, 0.7, plane)
    if galaxy.dust == 0:
        return image
    depth = galaxy.dust * np.exp(-np.abs(u) / (1.4 * h) - np.abs(v - galaxy.dust_offset) / (0.55 * height))
    # The lane is in the disc's middle: what is before it is seen as it is.
    seen: Floats = 0.15 + 0.85 * np.exp(-_EXTINCTION[:, None, None] * depth)
    return image * seen


def _spiral(galaxy: Galaxy, plane: Plane, rng: np.random.Generator) -> Floats:
    u, v = plane.frame(x=galaxy.x, y=galaxy.y, angle=galaxy.position_angle)
    q, h = galaxy.axis_ratio, galaxy.scale_length
    radius, start = elliptical_radius(u, v, q), math.radians(galaxy.arm_angle)
    angle = np.arctan2(v / q, u) - start
    disc = exponential_disc(radius, scale_length=h, q=q)
    waves = galaxy.arm_contrast * (arm_density(radius, angle, galaxy) - 1.0)
    regions = plane.points(*_seen(galaxy, *knots(galaxy, rng)))
    young = (1.0 - _KNOT_SHARE) * disc * (1.0 + waves) + _KNOT_SHARE * regions
    old = disc * (1.0 + _OLD_ARMS * waves)
    image = (1.0 - galaxy.young) * _painted(old, galaxy.colour) + galaxy.young * _painted(young, _YOUNG)
    image *= 1.0 - galaxy.bulge_fraction - galaxy.bar_fraction
    if galaxy.bar_fraction > 0:
        along, across = radius * np.cos(angle), radius * np.sin(angle)
        own = bar(along, across, length=galaxy.bar_length, q=_BAR_RATIO) / q
        image += galaxy.bar_fraction * _painted(own, galaxy.bulge_colour)
    return image + _bulge(galaxy, u, v, 0.4 + 0.6 * q, plane)


def _bulge(galaxy: Galaxy, u: Floats, v: Floats, q: float, plane: Plane) -> Floats:
    if galaxy.bulge_fraction == 0:
        return np.zeros((3, 1, 1))
    radius = _softened(elliptical_radius(u, v, q), plane)
    profile = sersic(radius, n=galaxy.bulge_index, half_light=galaxy.bulge_radius, q=q)
    return galaxy.bulge_fraction * _painted(profile, galaxy.bulge_colour)


def _seen(galaxy: Galaxy, radius: Floats, angle: Floats, share: Floats) -> tuple[Floats, Floats, Floats]:
    """Return where points of the disc's plane are on the sky, and their shares."""
    theta = angle + math.radians(galaxy.arm_angle)
    along, across = radius * np.cos(theta), galaxy.axis_ratio * radius * np.sin(theta)
    turn = math.radians(galaxy.position_angle)
    x = galaxy.x + math.cos(turn) * along - math.sin(turn) * across
    y = galaxy.y + math.sin(turn) * along + math.cos(turn) * across
    return x, y, share


def _softened(radius: Floats, plane: Plane) -> Floats:
    return np.hypot(radius, _SOFTENING * plane.step)


def _painted(profile: Floats, colour: float) -> Floats:
    return bands(colour)[:, None, None] * profile


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
