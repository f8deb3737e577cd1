"""Surface brightness of a galaxy's components, each of total light 1, and the arms of spirals."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaincinv, gammaln, i0e, k1

from physode.simulators.galaxies.galaxy import Galaxy
from physode.simulators.sampling import Floats

__all__ = [
    "arm_density",
    "arm_phase",
    "arm_start",
    "bar",
    "edge_on_disc",
    "elliptical_radius",
    "exponential_disc",
    "knots",
    "sersic",
    "sersic_b",
]


_SMALL = 1e-9  # K_1 is infinite at 0, where u K_1(u) is 1


def elliptical_radius(u: Floats, v: Floats, q: float) -> Floats:
    """Return the semi-major axis of the ellipse of axis ratio `q` through each point (u, v)."""
    return np.hypot(u, v / q)


def sersic_b(n: float) -> float:
    r"""Return :math:`b_n`, with which the half-light radius encloses half: :math:`\gamma(2n, b_n) = \Gamma(2n) / 2`."""
    return float(gammaincinv(2.0 * n, 0.5))


def sersic(radius: Floats, *, n: float, half_light: float, q: float = 1.0) -> Floats:
    r"""Return Sersic's profile of total light 1.

    .. math:: I(R) = I_e \exp(-b_n ((R / R_e)^{1/n} - 1)), \qquad
              1 = 2 \pi n R_e^2 q I_e e^{b_n} b_n^{-2n} \Gamma(2n)

    Parameters
    ----------
    radius
        Elliptical radius `R`, arcsec, of any shape.
    n
        Sersic index.
    half_light
        :math:`R_e`, arcsec: the semi-major axis of the ellipse that holds half of the light.
    q
        Axis ratio of the isophotes.

    Returns
    -------
    Floats
        Brightness in units of the total light per square arcsecond.

    Notes
    -----
    Graham & Driver 2005 (PASA 22, 118) collect these relations.
    """
    b = sersic_b(n)
    log_scale = math.log(2.0 * math.pi * n * half_light**2 * q) - 2.0 * n * math.log(b) + float(gammaln(2.0 * n))
    profile: Floats = np.exp(-b * (radius / half_light) ** (1.0 / n) - log_scale)
    return profile


def exponential_disc(radius: Floats, *, scale_length: float, q: float = 1.0) -> Floats:
    r"""Return :math:`\exp(-R / h) / (2 \pi h^2 q)`, a thin disc of axis ratio `q`."""
    profile: Floats = np.exp(-radius / scale_length) / (2.0 * math.pi * scale_length**2 * q)
    return profile


def edge_on_disc(along: Floats, above: Floats, *, scale_length: float, height: float) -> Floats:
    r"""Return a transparent disc of finite thickness, seen from its side.

    The density :math:`\exp(-R / h) \, \mathrm{sech}^2(z / z_0)`, summed along the line of sight, is

    .. math:: I(x, z) = \frac{1}{2 \pi h z_0} \frac{|x|}{h} K_1\!\left(\frac{|x|}{h}\right)
              \mathrm{sech}^2\!\left(\frac{z}{z_0}\right)

    (van der Kruit & Searle 1981, A&A 95, 105).

    Parameters
    ----------
    along, above
        x and z, arcsec.
    scale_length, height
        h and z_0, arcsec.
    """
    u = np.maximum(np.abs(along) / scale_length, _SMALL)
    # cosh overflows far from the plane; with the exponential taken out, nothing does.
    decay = np.exp(-2.0 * np.abs(above) / height)
    profile: Floats = u * k1(u) * 4.0 * decay / (1.0 + decay) ** 2 / (2.0 * math.pi * scale_length * height)
    return profile


def bar(along: Floats, across: Floats, *, length: float, q: float) -> Floats:
    r"""Return a Ferrers bar, :math:`(1 - m^2) \, 2 / (\pi a^2 q)` where :math:`m^2 = (x/a)^2 + (y/(qa))^2 < 1`.

    Parameters
    ----------
    along, across
        x and y in the bar's own axes, arcsec.
    length
        Half the length `a`, arcsec.
    q
        Axis ratio.
    """
    inside = np.maximum(1.0 - (along / length) ** 2 - (across / (q * length)) ** 2, 0.0)
    return inside * (2.0 / (math.pi * length**2 * q))


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
