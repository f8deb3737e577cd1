"""The arms of spiral galaxies."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import i0e

from physode.simulators.arguments import Floats
from physode.simulators.galaxies.galaxy import Galaxy

__all__ = ["arm_density", "arm_phase", "arm_start", "knots"]

_KNOTS = 14.0  # mean number of star-forming regions
_SPREAD = 0.25  # of the regions around their arm, in radians of its phase
_REACH = 3.8  # scale lengths to the outermost region


def arm_start(galaxy: Galaxy) -> float:
    """Return the radius in arcseconds at which the arms begin: the end of the bar, or 0.6 scale lengths."""
    return galaxy.bar_length if galaxy.bar_fraction > 0 else 0.6 * galaxy.scale_length


def arm_phase(radius: Floats, angle: Floats, galaxy: Galaxy) -> Floats:
    r"""Return the phase of logarithmic arms, 0 (mod 2 pi) on each of `m` arms.

    .. math:: \psi = m \left(\theta - w \, \frac{\ln(R / R_0)}{\tan p}\right)

    so that an arm :math:`R = R_0 \exp(w (\theta - \theta_k) \tan p)` cuts every circle at the pitch angle `p`.

    Parameters
    ----------
    radius, angle
        In the plane of the disc: R in arcsec, theta in radians from the bar.
    galaxy
        With its number of arms m, pitch p and winding w.
    """
    turns = np.log(np.maximum(radius, 1e-3) / arm_start(galaxy)) / math.tan(math.radians(galaxy.pitch))
    return galaxy.arms * (angle - galaxy.winding * turns)


def arm_density(radius: Floats, angle: Floats, galaxy: Galaxy) -> Floats:
    r"""Return the factor by which arms raise or lower the light of an even disc; its mean over a circle is 1.

    .. math:: 1 + w(R) \left(\frac{e^{\kappa \cos \psi}}{I_0(\kappa)} - 1\right), \qquad
              w(R) = 1 - e^{-(R / R_0)^2}

    Parameters
    ----------
    radius, angle
        As :func:`arm_phase`.
    galaxy
        With its sharpness kappa.
    """
    kappa = galaxy.arm_sharpness
    crest = np.exp(kappa * (np.cos(arm_phase(radius, angle, galaxy)) - 1.0)) / float(i0e(kappa))
    weight = -np.expm1(-((radius / arm_start(galaxy)) ** 2))
    density: Floats = 1.0 + weight * (crest - 1.0)
    return density


def knots(galaxy: Galaxy, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw star-forming regions along the arms.

    Returns
    -------
    tuple
        Radius in arcsec, angle in radians from the bar, both in the disc's plane, and share of their light; (K,) each.
    """
    count = max(1, int(rng.poisson(_KNOTS)))
    h = galaxy.scale_length
    radius = np.clip(rng.gamma(3.0, 0.7 * h, count), arm_start(galaxy), _REACH * h)
    arm = rng.integers(galaxy.arms, size=count)
    offset = (2.0 * math.pi * arm + rng.normal(0.0, _SPREAD, count)) / galaxy.arms
    turns = np.log(radius / arm_start(galaxy)) / math.tan(math.radians(galaxy.pitch))
    share = rng.exponential(size=count)
    return radius, offset + galaxy.winding * turns, share / share.sum()
