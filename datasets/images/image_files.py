"""Image files decoded into pixels of one size, many side by side."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from physode.datasets.files import shown
from physode.datasets.images.containers import Container
from physode.datasets.images.images import Images, Skipped, central_square
from physode.datasets.images.measured import MOST_PIXELS, UndecodableError, is_fits, read_fits, stretched
from physode.errors import ConfigError, DataError
from physode.optional_imports import needs

if TYPE_CHECKING:
    from PIL.Image import Image


SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings of the names of image files that Pillow reads, in lower case."""

# By name, because some of Pillow's other formats start programs (EPS) or are rarely tried.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# What Pillow's readers raise over bytes that make no sense.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, MemoryError),
    *(AttributeError, RuntimeError, AssertionError, struct.error, zlib.error),
)

Array = np.ndarray[Any, Any]


def decode(data: bytes, *, size: int, centre: float | None = None) -> Array:
    """Decode an image, turn it upright, and scale it.

    The image is turned as its EXIF orientation says, becomes RGB (transparent parts white, of an animation the first
    frame), and is scaled to a square by bilinear interpolation, whose support grows with the scale, so that finer
    detail is averaged and not sampled. Its aspect ratio is not kept, unless only the square about its centre is. Bytes
    stay as they are; grey of other numbers, 16 or 32 bits or real, is stretched to bytes
    (:func:`physode.datasets.images.measured.stretched`), of the part that is kept and before it is scaled.

    Parameters
    ----------
    data
        An image file: BMP, FITS, GIF, JPEG, PNG, PNM, TIFF or WebP.
    size
        Pixels along a side.
    centre
        Side of the square about the centre that is kept, a share of the image's shorter side; None keeps the whole.

    Returns
    -------
    numpy.ndarray
        Bytes, (3, size, size).

    Raises
    ------
    UndecodableError
        If this is no such image, it is damaged or truncated, or it has more than 50 million pixels.
    ConfigError
        If Pillow, or for FITS astropy, is not installed.
    """
    library = needs("PIL.Image", extra="images", purpose="reading images")
    if not data:
        raise UndecodableError("empty")
    try:
        part = _of_numbers(read_fits(data), centre) if is_fits(data) else _of_picture(data, centre)
        scaled = part.resize((size, size), library.Resampling.BILINEAR)
    except library.UnidentifiedImageError as error:
        raise UndecodableError("not an image") from error
    except (library.DecompressionBombError, library.DecompressionBombWarning) as error:
        raise UndecodableError(f"more than {MOST_PIXELS} pixels") from error
    except ConfigError:  # which is a ValueError, too
        raise
    except _DAMAGE as error:
        raise UndecodableError(f"damaged: {error}") from error
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))


def _of_picture(data: bytes, centre: float | None) -> Image:
    """Return the part that is kept of what Pillow reads, in three channels of 8 bits."""
    library = needs("PIL.Image", extra="images", purpose="reading images")
    with library.open(io.BytesIO(data), formats=_FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise UndecodableError(f"{image.width} x {image.height} pixels, more than {MOST_PIXELS}")
        upright = _upright(image)
        if upright.mode.startswith(("I", "F")):
            return _of_numbers(np.asarray(upright), centre)
        upright = _rgb(upright)
    return upright if centre is None else upright.crop(central_square(upright.width, upright.height, centre))


def _of_numbers(values: Array, centre: float | None) -> Image:
    """Return the part that is kept of measured numbers, (H, W) or (H, W, 3), in three channels of 8 bits."""
    library = needs("PIL.Image", extra="images", purpose="reading images")
    if values.dtype == np.uint8:
        picture: Image = library.fromarray(np.ascontiguousarray(values)).convert("RGB")
        return picture if centre is None else picture.crop(central_square(picture.width, picture.height, centre))
    shown: Image = library.fromarray(stretched(values, centre=centre)).convert("RGB")
    return shown


def _upright(image: Image) -> Image:
    operations = needs("PIL.ImageOps", extra="images", purpose="reading images")
    turned: Image = operations.exif_transpose(image)
    return turned


def _rgb(image: Image) -> Image:
    """Return an image in three channels of 8 bits."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image) -> Image:
    library = needs("PIL.Image", extra="images", purpose="reading images")
    front = image.convert("RGBA")
    merged: Image = library.alpha_composite(library.new("RGBA", front.size, "white"), front)
    return merged.convert("RGB")


_CHUNK, _CHUNK_BYTES = 64, 1 << 23  # images, or bytes of them, that a thread decodes in one go
_MOST_PIXELS_IN_ALL = 1 << 34  # of all images together: 48 GiB
Chunk = list[tuple[str, bytes | Skipped]]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Labelled:
    """An image to read: its name in its container, its class, and whether it is for the test."""

    name: str
    label: int
    test: bool


def assemble(
    container: Container,
    listed: Sequence[Labelled],
    *,
    classes: tuple[str, ...],
    attrs: dict[str, Any],
    skipped: Iterable[Skipped] = (),
    size: int = 32,
    centre: float | None = None,
    workers: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Images:
    """Read and decode images; the order is that of `listed`, whatever the threads do.

    Parameters
    ----------
    container
        Where they are.
    listed
        Which ones.
    classes, attrs
        Of the result.
    skipped
        What has been left out already; images that cannot be decoded are added.
    size
        Pixels along a side of the result.
    centre
        What of each image is kept, see :func:`decode`.
    workers
        Threads that decode.
    progress
        Told the finished fraction.

    Raises
    ------
    DataError
        If no image is left, or all together have more than 2^34 pixels.
    """
    if len(listed) * size * size > _MOST_PIXELS_IN_ALL:
        raise DataError(
            f"{container.path}: {len(listed)} images of {size} x {size} pixels are too many; scale them down"
        )
    x = np.zeros((len(listed), 3, size, size), dtype=np.uint8)
    places = {each.name: place for place, each in enumerate(listed)}

    def decode_all(chunk: Chunk) -> list[tuple[int, Skipped | None]]:
        return [(places[name], _decode_into(x[places[name]], name, data, centre)) for name, data in chunk]

    found: dict[int, Skipped | None] = {}
    with bombs_are_errors():
        for results in _side_by_side(decode_all, _chunks(container.contents(places)), workers or _cores()):
            found.update(results)
            if progress is not None:
                progress(len(found) / len(listed))
    missing = {place: Skipped(name, "missing") for name, place in places.items() if place not in found}
    broken = {place: each for place, each in (found | missing).items() if each is not None}
    if len(broken) == len(listed):
        first = broken[0]
        raise DataError(
            f"{container.path}: none of {len(listed)} images can be read; {shown(first.path)}: {first.reason}"
        )
    kept = np.setdiff1d(np.arange(len(listed)), list(broken))
    return Images(
        x=x[kept] if broken else x,
        y=np.array([listed[place].label for place in kept], dtype=np.int64),
        classes=classes,
        test=np.array([listed[place].test for place in kept], dtype=np.bool_),
        attrs=attrs,
        skipped=tuple(sorted([*skipped, *broken.values()], key=lambda each: each.path)),
        names=tuple(listed[place].name for place in kept),
    )


def _decode_into(pixels: Array, name: str, data: bytes | Skipped, centre: float | None) -> Skipped | None:
    """Put an image where it belongs; return what is wrong with it, if anything."""
    if isinstance(data, Skipped):
        return data
    try:
        pixels[:] = decode(data, size=pixels.shape[-1], centre=centre)
    except UndecodableError as error:
        return Skipped(name, str(error))
    return None


def _chunks(contents: Iterable[tuple[str, bytes | Skipped]]) -> Iterator[Chunk]:
    chunk: Chunk = []
    held = 0
    for name, data in contents:
        chunk.append((name, data))
        held += len(data) if isinstance(data, bytes) else 0
        if len(chunk) >= _CHUNK or held >= _CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _side_by_side(work: Callable[[Chunk], Result], chunks: Iterable[Chunk], workers: int) -> Iterator[Result]:
    """Work on chunks in threads, reading only a few ahead; give the results in order."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Let Pillow raise where it would warn of a decompression bomb, and be silent about what is only odd.

    Python's filters of warnings are the process's, not the thread's: they are set once around all threads.
    """
    library = needs("PIL.Image", extra="images", purpose="reading images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", library.DecompressionBombWarning)
        yield


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
