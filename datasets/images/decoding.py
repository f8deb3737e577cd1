"""Bytes of image files into pixels of one size."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.optional_imports import needs

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SUFFIXES", "UndecodableError", "decode"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings of the names of image files, in lower case."""

# By name, because some of Pillow's other formats start programs (EPS) or are rarely tried.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MOST_PIXELS = 50_000_000
# What Pillow's readers raise over bytes that make no sense.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, MemoryError),
    *(AttributeError, RuntimeError, AssertionError, struct.error, zlib.error),
)

Array = np.ndarray[Any, Any]


class UndecodableError(Exception):
    """Bytes that are no image that can be read; the message says why in a few words."""


def decode(data: bytes, *, size: int) -> Array:
    """Decode an image, turn it upright, and scale it.

    The image is turned as its EXIF orientation says, becomes RGB (transparent parts white, 16 bits
    scaled to 8, of an animation the first frame), and is scaled to a square by bilinear interpolation, whose support
    grows with the scale, so that finer detail is averaged and not sampled. Its aspect ratio is not kept.

    Parameters
    ----------
    data
        An image file: BMP, GIF, JPEG, PNG, PNM, TIFF or WebP.
    size
        Pixels along a side.

    Returns
    -------
    numpy.ndarray
        Bytes, (3, size, size).

    Raises
    ------
    UndecodableError
        If this is no such image, it is damaged or truncated, or it has more than 50 million pixels.
    """
    library = needs("PIL.Image", extra="images", purpose="reading images")
    if not data:
        raise UndecodableError("empty")
    try:
        with library.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise UndecodableError(f"{image.width} x {image.height} pixels, more than {_MOST_PIXELS}")
            scaled = _rgb(_upright(image)).resize((size, size), library.Resampling.BILINEAR)
    except library.UnidentifiedImageError as error:
        raise UndecodableError("not an image") from error
    except (library.DecompressionBombError, library.DecompressionBombWarning) as error:
        raise UndecodableError(f"more than {_MOST_PIXELS} pixels") from error
    except _DAMAGE as error:
        raise UndecodableError(f"damaged: {error}") from error
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))


def _upright(image: Image) -> Image:
    operations = needs("PIL.ImageOps", extra="images", purpose="reading images")
    turned: Image = operations.exif_transpose(image)
    return turned


def _rgb(image: Image) -> Image:
    """Return an image in three channels of 8 bits."""
    if image.mode == "F":
        raise UndecodableError("its pixels are real numbers, not bytes")
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _from_16_bits(image: Image) -> Image:
    """Return whole numbers from 0 to 65535 as bytes, 65535 as 255; Pillow's own conversion cuts them at 255."""
    library = needs("PIL.Image", extra="images", purpose="reading images")
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise UndecodableError("its pixels are numbers of 32 bits, not bytes")
    grey: Image = library.fromarray(((values + 128) // 257).astype(np.uint8))
    return grey.convert("RGB")


def _on_white(image: Image) -> Image:
    library = needs("PIL.Image", extra="images", purpose="reading images")
    front = image.convert("RGBA")
    merged: Image = library.alpha_composite(library.new("RGBA", front.size, "white"), front)
    return merged.convert("RGB")
