"""Simulated galaxies: five classes and how frequent they are, the parameters of one, and random ones of each class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physode.simulators.galaxies.camera import FIELD

__all__ = [
    "CIGAR",
    "CLASSES",
    "EDGE_ON",
    "FREQUENCIES",
    "IN_BETWEEN",
    "PARAMETERS",
    "ROUND",
    "SCALE_LENGTHS",
    "SPIRAL",
    "Galaxy",
    "columns",
    "draw_galaxy",
    "labels",
    "test_split",
]


CLASSES = ("completely round", "in-between", "cigar-shaped", "edge-on", "spiral")
"""Names by class number."""

ROUND, IN_BETWEEN, CIGAR, EDGE_ON, SPIRAL = range(5)

FREQUENCIES = (8434, 8069, 578, 3903, 7806)
"""Galaxies of each class in the data of Gupta et al. 2022 (Sect. 2), 28,790 in all."""

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def labels(count: int, *, seed: int, balanced: bool) -> NDArray[np.int64]:
    r"""Return the class of each galaxy: (count,).

    Let :math:`v_i = u + i g \bmod 1`, with `g` the golden ratio's fraction and `u` given by the seed, and divide
    :math:`[0, 1)` into the classes' shares: galaxy `i` has the class in whose part :math:`v_i` lies. These points are
    spread so evenly that every beginning of the sequence has the classes in their shares, to a few galaxies, and galaxy
    `i` does not depend on how many follow.

    Parameters
    ----------
    count
        Number of galaxies.
    seed
        Where the sequence begins.
    balanced
        All classes equally frequent, in place of `FREQUENCIES`.
    """
    shares = np.ones(len(CLASSES)) if balanced else np.array(FREQUENCIES, dtype=np.float64)
    edges = np.cumsum(shares) / shares.sum()
    start = np.random.default_rng(seed).uniform()
    points = (start + _GOLDEN * np.arange(count)) % 1.0
    return np.searchsorted(edges[:-1], points, side="right").astype(np.int64)


def test_split(y: NDArray[np.int64], *, fraction: float) -> NDArray[np.bool_]:
    """Return which galaxies are for testing: the same share of each class, to one galaxy.

    Of a class's galaxies in their order, the test galaxies are evenly spaced: number `k` is one if a multiple of
    ``1 / fraction`` lies in (k + 1/2, k + 3/2]. Galaxies of a class are independent, so that this is a fair sample.

    Parameters
    ----------
    y
        Classes, (N,).
    fraction
        Share of the test galaxies, from 0 to below 1.
    """
    chosen = np.zeros(len(y), dtype=bool)
    for label in range(len(CLASSES)):
        (members,) = np.nonzero(y == label)
        passed = np.floor((np.arange(len(members) + 1) + 0.5) * fraction)
        chosen[members] = np.diff(passed) > 0
    return chosen


SCALE_LENGTHS = 1.6783469900166605
"""Half-light radius of an exponential disc in scale lengths: the solution of (1 + x) exp(-x) = 1/2."""


def _parameter(unit: str, description: str, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"unit": unit, "description": description})


@dataclass(frozen=True, kw_only=True)
class Galaxy:
    """One galaxy. What its class does not have is NaN, or 0 where it is a share or a number of something.

    The main component is the whole of a smooth galaxy, and the disc of an edge-on or a spiral one.
    """

    label: int = _parameter("", "class, 0 to 4")
    x: float = _parameter("arcsec", "centre, to the right of the image's")
    y: float = _parameter("arcsec", "centre, below the image's")
    position_angle: float = _parameter("deg", "of the major axis, from the image's right downwards")
    radius: float = _parameter("arcsec", "half-light radius of the main component along its major axis")
    axis_ratio: float = _parameter("", "apparent axis ratio of the main component; of a thin disc, cos(inclination)")
    index: float = _parameter("", "Sersic index of the main component")
    brightness: float = _parameter("mag/arcsec^2", "mean within the half-light ellipse, in r; of discs seen face-on")
    colour: float = _parameter("mag", "g - r of the main component")
    psf: float = _parameter("arcsec", "full width at half maximum of the point-spread function")
    bulge_fraction: float = _parameter("", "bulge's share of the light", 0.0)
    bulge_radius: float = _parameter("arcsec", "half-light radius of the bulge", math.nan)
    bulge_index: float = _parameter("", "Sersic index of the bulge", math.nan)
    bulge_colour: float = _parameter("mag", "g - r of bulge and bar", math.nan)
    inclination: float = _parameter("deg", "of the disc, 0 for face-on", math.nan)
    thickness: float = _parameter("", "of an edge-on disc, z0 / h in sech^2(z / z0) and exp(-R / h)", math.nan)
    dust: float = _parameter("", "optical depth in r of the dust lane at the centre", 0.0)
    dust_offset: float = _parameter("arcsec", "of the dust lane from the plane", math.nan)
    bar_fraction: float = _parameter("", "bar's share of the light", 0.0)
    bar_length: float = _parameter("arcsec", "half the length of the bar", math.nan)
    arms: int = _parameter("", "number of spiral arms", 0)
    pitch: float = _parameter("deg", "angle between an arm and a circle", math.nan)
    winding: float = _parameter("", "1 or -1: sense in which the arms wind", math.nan)
    arm_angle: float = _parameter("deg", "of the bar and the arms' beginning, from the major axis", math.nan)
    arm_contrast: float = _parameter("", "share of the young light that is gathered in the arms", math.nan)
    arm_sharpness: float = _parameter("", "exponent kappa of an arm's profile exp(kappa cos(phase))", math.nan)
    young: float = _parameter("", "young stars' share of the disc's light", 0.0)

    @property
    def scale_length(self) -> float:
        """Of the main component as an exponential disc, in arcseconds."""
        return self.radius / SCALE_LENGTHS

    @property
    def has_disc(self) -> bool:
        """Whether the main component is a disc, not a smooth ellipsoid."""
        return math.isfinite(self.inclination)

    @property
    def flux(self) -> float:
        """Light in r: a surface brightness of magnitude 0 over one square arcsecond is 1.

        Half of it lies within the half-light ellipse, whose mean brightness is known. A disc is transparent: inclined,
        it has the light that it has face-on, on a smaller area.
        """
        area = math.pi * self.radius**2 * (1.0 if self.has_disc else self.axis_ratio)
        return float(2.0 * area * 10.0 ** (-0.4 * self.brightness))


PARAMETERS: dict[str, dict[str, str]] = {
    **{each.name: dict(each.metadata) for each in fields(Galaxy)},
    "signal_to_noise": {"unit": "", "description": "of the light within the half-light ellipse, in r"},
}
"""Unit and description of each parameter by name."""


def columns(galaxies: Sequence[Galaxy]) -> dict[str, NDArray[Any]]:
    """Return the parameters of N galaxies, each an array (N,): integers where all are, else float64."""
    return {each.name: np.array([getattr(galaxy, each.name) for galaxy in galaxies]) for each in fields(Galaxy)}


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
