"""What a simulated galaxy is: its parameters, with their units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PARAMETERS", "SCALE_LENGTHS", "Galaxy", "columns"]

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
