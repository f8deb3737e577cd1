r"""Surface brightness of a galaxy's components, each of total light 1, from coordinates in arcseconds."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaincinv, gammaln, k1

from physode.simulators.arguments import Floats

__all__ = ["bar", "edge_on_disc", "elliptical_radius", "exponential_disc", "sersic", "sersic_b"]

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
