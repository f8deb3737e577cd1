"""Random galaxies of each class."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from physode.simulators.galaxies.galaxy import SCALE_LENGTHS, Galaxy
from physode.simulators.galaxies.kinds import CIGAR, EDGE_ON, IN_BETWEEN, ROUND, SPIRAL
from physode.simulators.galaxies.plane import FIELD

__all__ = ["draw_galaxy"]

_EXTENT = FIELD / 4.0  # radius of 90 % of the light, arcsec
_LEAST_RATIO = 0.1  # apparent axis ratio of a disc seen exactly from its side


def draw_galaxy(label: int, rng: np.random.Generator) -> Galaxy:
    """Draw a galaxy of a class.

    Images of Galaxy Zoo are cut out in proportion to the galaxy, whose size therefore varies little.
    """
    own = _CLASSES[label](rng)
    common: dict[str, Any] = {
        "label": label,
        "x": rng.normal(0.0, 0.9),
        "y": rng.normal(0.0, 0.9),
        "position_angle": rng.uniform(0.0, 180.0),
        "psf": _normal(rng, 1.3, 0.18, 1.0, 1.8),
    }
    return Galaxy(**common, **own)


def _round(rng: np.random.Generator) -> dict[str, Any]:
    return _smooth(rng, axis_ratio=rng.uniform(0.84, 1.0), index=_normal(rng, 3.6, 1.0, 1.0, 6.0))


def _in_between(rng: np.random.Generator) -> dict[str, Any]:
    return _smooth(rng, axis_ratio=rng.uniform(0.39, 0.83), index=_normal(rng, 3.0, 1.1, 1.0, 6.0))


def _cigar(rng: np.random.Generator) -> dict[str, Any]:
    return _smooth(rng, axis_ratio=rng.uniform(0.18, 0.35), index=_normal(rng, 1.9, 0.6, 1.0, 4.0))


def _smooth(rng: np.random.Generator, *, axis_ratio: float, index: float) -> dict[str, Any]:
    """Draw a smooth galaxy: a Sersic profile, mostly of old stars."""
    blue = rng.uniform() < 0.25
    return {
        "axis_ratio": axis_ratio,
        "index": index,
        "radius": _extent(rng) / (2.1 + 0.3 * (index - 1.0)),  # about R90 / R50 of a Sersic profile, cut at four R50
        "brightness": _normal(rng, 20.4, 0.45, 19.0, 21.6),
        "colour": rng.normal(0.52 if blue else 0.76, 0.1),
    }


def _edge_on(rng: np.random.Generator) -> dict[str, Any]:
    radius = _extent(rng) / 2.3
    thickness = rng.uniform(0.18, 0.5)
    return {
        **_disc(radius, axis_ratio=_LEAST_RATIO, inclination=90.0),
        **_bulge(rng, radius, largest=0.45, absent=0.3),
        "brightness": _normal(rng, 22.0, 0.4, 21.0, 23.0),
        "colour": rng.normal(0.69, 0.12),
        "thickness": thickness,
        "dust": rng.uniform(0.5, 4.0) if rng.uniform() < 0.65 else 0.0,
        "dust_offset": rng.normal(0.0, 0.35 * thickness * radius / SCALE_LENGTHS),
    }


def _spiral(rng: np.random.Generator) -> dict[str, Any]:
    cosine = rng.uniform(0.42, 1.0)
    radius = 1.15 * _extent(rng) / 2.3
    arms = int(rng.choice([2, 3, 4], p=[0.65, 0.2, 0.15]))
    return {
        **_disc(radius, axis_ratio=cosine, inclination=math.degrees(math.acos(cosine))),
        **_bulge(rng, radius, largest=0.3, absent=0.0),
        **_bar(rng, radius),
        "brightness": _normal(rng, 21.5, 0.4, 20.4, 22.5),
        "colour": rng.normal(0.62, 0.12),
        "arms": arms,
        "pitch": rng.uniform(12.0, 34.0),
        "winding": float(rng.choice([-1.0, 1.0])),
        "arm_angle": rng.uniform(0.0, 180.0),
        "arm_contrast": rng.uniform(0.25, 1.0),
        "arm_sharpness": rng.uniform(1.5, 4.0),
        "young": rng.uniform(0.1, 0.5),
    }


def _disc(radius: float, *, axis_ratio: float, inclination: float) -> dict[str, Any]:
    return {"radius": radius, "axis_ratio": axis_ratio, "inclination": inclination, "index": 1.0}


def _bulge(rng: np.random.Generator, radius: float, *, largest: float, absent: float) -> dict[str, Any]:
    """Draw a bulge, which a share of the galaxies does not have."""
    fraction = rng.uniform(0.03, largest)
    return {
        "bulge_fraction": 0.0 if rng.uniform() < absent else fraction,
        "bulge_radius": radius * rng.uniform(0.15, 0.35),
        "bulge_index": rng.uniform(1.0, 4.0),
        "bulge_colour": rng.normal(0.82, 0.08),
    }


def _bar(rng: np.random.Generator, radius: float) -> dict[str, Any]:
    barred = rng.uniform() < 0.4
    return {
        "bar_fraction": rng.uniform(0.08, 0.22) if barred else 0.0,
        "bar_length": radius * rng.uniform(0.5, 0.9),
    }


def _extent(rng: np.random.Generator) -> float:
    return float(_EXTENT * math.exp(_normal(rng, 0.0, 0.15, -0.4, 0.4)))


def _normal(rng: np.random.Generator, mean: float, spread: float, low: float, high: float) -> float:
    """Draw from a normal distribution, values beyond the ends moved to them."""
    return min(max(float(rng.normal(mean, spread)), low), high)


_CLASSES: dict[int, Callable[[np.random.Generator], dict[str, Any]]] = {
    ROUND: _round,
    IN_BETWEEN: _in_between,
    CIGAR: _cigar,
    EDGE_ON: _edge_on,
    SPIRAL: _spiral,
}
