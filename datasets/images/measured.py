"""Images whose pixels are measured numbers, of FITS and of TIFF and PNG with more than 8 bits, stretched to bytes.

Detectors count up to any number, most of a picture is sky, and a few stars are a thousand times as bright: neither 16
bits divided by 257 nor the smallest and largest value show anything. What shows it is what astronomers use, limits
among the image's own values and a stretch that is linear for the faint and logarithmic for the bright.
"""

from __future__ import annotations

import io
import math
import zlib
from typing import Any

import numpy as np

from physode.datasets.images.images import central_square
from physode.optional_imports import needs

__all__ = ["FITS_ENDINGS", "UndecodableError", "is_fits", "read_fits", "stretched"]

FITS_ENDINGS = (".fit", ".fits", ".fts", ".fit.gz", ".fits.gz", ".fits.fz")
"""Endings of the names of FITS files, in lower case."""

MOST_PIXELS = 50_000_000
"""Of one image, in each of its colours."""

_LOW, _HIGH = 0.5, 99.5  # percentiles of the finite pixels that become black and white
_SOFTENING = 0.1  # of the range: below it the stretch is nearly linear
_MOST_UNITS = 1000  # header and data units of a file that are looked into
_MOST_BYTES = 1 << 30  # that a packed file may have unpacked
_COLOURS = 3
_BEGINNING, _PACKED = b"SIMPLE  =", b"\x1f\x8b"

Array = np.ndarray[Any, Any]


class UndecodableError(Exception):
    """Bytes that are no image that can be read; the message says why in a few words."""


def stretched(values: Array, *, centre: float | None = None) -> Array:
    r"""Return measured numbers as bytes, the same for the same image whatever its company.

    With the 0.5 % and 99.5 % percentiles l and h of the finite pixels, a pixel v becomes

    .. math:: 255\, \frac{\operatorname{asinh}(10 u)}{\operatorname{asinh}(10)},
              \qquad u = \min\left(1, \max\left(0, \frac{v - l}{h - l}\right)\right)

    (the stretch of Lupton, Gunn and Szalay 1999; the limits make up for zero points, sky and gain, which are not known
    here). Where the two percentiles are equal, the smallest and largest value take their place. Colours have their
    limits in common, which keeps the ratios between them.

    Parameters
    ----------
    values
        Real numbers, (H, W) or (H, W, 3). NaN and minus infinity are the darkest, plus infinity is the brightest.
    centre
        Side of the square about the centre that is kept and has the limits, a share of the shorter side.

    Returns
    -------
    numpy.ndarray
        Bytes, of the same axes. Where all pixels are equal, 0.
    """
    if centre is not None:
        left, top, right, bottom = central_square(values.shape[1], values.shape[0], centre)
        values = values[top:bottom, left:right]
    real = np.asarray(values, dtype=np.float64)
    finite = real[np.isfinite(real)]
    if not finite.size:
        return np.where(real == np.inf, 255, 0).astype(np.uint8)
    # Of the largest magnitude, so that no difference overflows.
    unit = float(np.abs(finite).max()) or 1.0
    low, high = np.percentile(finite / unit, (_LOW, _HIGH))
    if not low < high:
        low, high = finite.min() / unit, finite.max() / unit
    span = float(high - low) or 1.0
    share = np.clip((np.nan_to_num(real / unit, nan=low, posinf=high, neginf=low) - low) / span, 0.0, 1.0)
    bytes_: Array = np.rint(255 * np.arcsinh(share / _SOFTENING) / math.asinh(1 / _SOFTENING)).astype(np.uint8)
    return bytes_


def is_fits(data: bytes) -> bool:
    """Whether bytes begin as a FITS file does, or as a packed one may."""
    return data.startswith((_BEGINNING, _PACKED))


def read_fits(data: bytes) -> Array:
    """Return the first image of a FITS file: of the first header and data unit that has one of 2 or 3 axes.

    Scaling (``BSCALE``, ``BZERO``) is applied, ``BLANK`` becomes NaN. Rows of FITS count from the bottom, those that
    are returned from the top.

    Parameters
    ----------
    data
        The file; it may be packed by gzip, or its images by FITS's own compression.

    Returns
    -------
    numpy.ndarray
        (H, W); or (H, W, 3) of an image with three planes, which are red, green and blue.

    Raises
    ------
    UndecodableError
        If there is no such image, it has another number of planes than 1 or 3, no pixel, or more than 50 million of
        them in a plane.
    ConfigError
        If astropy is not installed.
    """
    library: Any = needs("astropy.io.fits", extra="astronomy", purpose="reading FITS")
    if data.startswith(_PACKED):
        data = _unpacked(data)
    if not data.startswith(_BEGINNING):
        raise UndecodableError("not an image")
    with library.open(io.BytesIO(data), mode="readonly", memmap=False, lazy_load_hdus=True) as units:
        for number, unit in enumerate(units):
            if number >= _MOST_UNITS:
                break
            if unit.is_image and len(unit.shape) in (2, _COLOURS):
                _check(tuple(unit.shape))
                return _upright(np.asarray(unit.data))
    raise UndecodableError("no image of 2 or 3 axes in it")


def _check(shape: tuple[int, ...]) -> None:
    """Refuse what a header declares, before memory is set aside for it."""
    planes = shape[0] if len(shape) == _COLOURS else 1
    pixels = shape[-1] * shape[-2]
    if planes not in (1, _COLOURS):
        raise UndecodableError(f"{planes} planes; an image has 1, or 3 for red, green and blue")
    if not 0 < pixels <= MOST_PIXELS:
        raise UndecodableError(
            f"{shape[-1]} x {shape[-2]} pixels, {'none' if not pixels else f'more than {MOST_PIXELS}'}"
        )


def _upright(values: Array) -> Array:
    """Return planes as (H, W) or (H, W, 3) with the first row at the top."""
    planes = values[..., ::-1, :]
    if planes.ndim == _COLOURS:
        planes = planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)
    return planes


def _unpacked(data: bytes) -> bytes:
    """Unpack a file, as far as its size is bearable."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise UndecodableError(f"damaged: {error}") from error
    if unpacker.unconsumed_tail:
        raise UndecodableError(f"more than {_MOST_BYTES} bytes unpacked")
    if not unpacker.eof:
        raise UndecodableError("damaged: it is cut off")
    return found
