"""The camera: its plane of the sky, the atmosphere before it, noise, and images of 8 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from physode.simulators.sampling import Floats

__all__ = [
    "FIELD", "SKY", "Plane", "convolve", "exposure", "moffat", "pixels", "plane_of", "record", "signal_to_noise",
    "stretch",
]  # fmt: skip

FIELD = 48.0
"""Width of an image in arcseconds, about four radii of 90 % of a galaxy's light."""

OVERSAMPLING = 3
"""Fine pixels along a side of a pixel."""

MARGIN = 2
"""Pixels drawn beyond each edge, so that light from there comes in through the point-spread function."""

SKY = 10.0 ** (-0.4 * 20.9)
"""Brightness of the night sky, 20.9 mag/arcsec^2 in r; that of magnitude 0 is 1."""

_READ_NOISE = 5.0  # electrons
_BETA = 3.0  # exponent of the wings of the point-spread function
_SLOPE = 2.0  # shown brightness over brightness / sky, where both are small
_SOFTENING = 5.0  # Q, how soon brightness is shown by its logarithm
_PEDESTAL = 0.06  # what the sky is shown as, before the asinh


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


def moffat(size: int, *, fwhm: float, step: float) -> Floats:
    r"""Return the transform of the point-spread function :math:`(1 + (r / a)^2)^{-\beta}` of total 1.

    Half of its value at the centre is reached at r = fwhm / 2, with :math:`a = fwhm / (2 \sqrt{2^{1/\beta} - 1})`
    (Moffat 1969).

    Parameters
    ----------
    size
        Pixels along a side; beyond an edge the function goes on at the opposite one.
    fwhm
        Full width at half maximum, in the unit of `step`.
    step
        Width of a pixel.

    Returns
    -------
    Floats
        Real transform (size, size // 2 + 1): real, for the function is symmetric.
    """
    scale = fwhm / (2.0 * math.sqrt(2.0 ** (1.0 / _BETA) - 1.0))
    distance = step * size * fft.fftfreq(size)
    kernel = (1.0 + (distance[:, None] ** 2 + distance**2) / scale**2) ** -_BETA
    transform: Floats = fft.rfft2(kernel / kernel.sum()).real
    return transform


def convolve(scene: Floats, transform: Floats) -> Floats:
    """Blur each band (..., S, S) by a point-spread function; no light is lost: edges continue at the opposite ones."""
    blurred: Floats = fft.irfft2(fft.rfft2(scene) * transform, s=scene.shape[-2:])
    return np.maximum(blurred, 0.0)  # rounding


def pixels(scene: Floats) -> Floats:
    """Return the mean brightness over each pixel, margins cut off: (3, H, W) from the fine grid's (3, S, S)."""
    side = scene.shape[-1] // OVERSAMPLING
    means: Floats = scene.reshape(-1, side, OVERSAMPLING, side, OVERSAMPLING).mean((2, 4))
    return means[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def exposure(noise: float) -> float:
    r"""Return how many electrons the sky gives in a pixel if its noise is shown as `noise`.

    With `e` electrons from the sky and read noise `r`, brightness in units of the sky's has the standard deviation
    :math:`s = \sqrt{e + r^2} / e`, and is shown with the slope a: :math:`a s` is `noise` for

    .. math:: e = \frac{1 + \sqrt{1 + 4 s^2 r^2}}{2 s^2}
    """
    sigma = noise / _SLOPE
    return (1.0 + math.sqrt(1.0 + 4.0 * (sigma * _READ_NOISE) ** 2)) / (2.0 * sigma**2)


def record(brightness: Floats, *, noise: float, rng: np.random.Generator) -> Floats:
    """Count electrons of galaxy and sky, add the read noise, and take the mean sky away again.

    Parameters
    ----------
    brightness
        Of galaxy and field, in units of the sky's.
    noise
        Standard deviation of an empty pixel in the image that is shown, of full scale; 0 leaves `brightness` alone.
    rng
        Source of randomness.
    """
    if noise == 0:
        return brightness
    sky = exposure(noise)
    electrons = rng.poisson(sky * (1.0 + brightness)) + _READ_NOISE * rng.standard_normal(brightness.shape)
    recorded: Floats = electrons / sky - 1.0
    return recorded


def signal_to_noise(brightness: float, count: float, *, noise: float) -> float:
    """Return the signal-to-noise ratio of a mean `brightness`, in units of the sky's, over `count` pixels."""
    if noise == 0:
        return math.inf
    sky = exposure(noise)
    return sky * brightness * count / math.sqrt(count * (sky * (1.0 + brightness) + _READ_NOISE**2))


def stretch(brightness: Floats) -> NDArray[np.uint8]:
    r"""Show brightness in three bands as colours of 8 bits.

    With :math:`I` the mean of the bands, every band is multiplied by :math:`f(I) / I`,

    .. math:: f(I) = \operatorname{asinh}(a Q I) / Q

    so that colours are kept from faint to bright; a pixel of which a band is above full scale is scaled down as a whole
    (Lupton et al. 2004, PASP 116, 133).

    Parameters
    ----------
    brightness
        (3, H, W) in units of the sky's, which has been taken away.
    """
    shown = _SLOPE * brightness + _PEDESTAL
    mean = shown.mean(0)
    safe = np.where(np.abs(mean) < 1e-9, 1e-9, mean)
    colours = shown * (np.arcsinh(_SOFTENING * safe) / (_SOFTENING * safe))
    colours /= np.maximum(colours.max(0), 1.0)
    return np.round(255.0 * np.clip(colours, 0.0, 1.0)).astype(np.uint8)
