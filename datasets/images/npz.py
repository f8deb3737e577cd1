"""NumPy archives of images."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from physode.datasets.files import check_file
from physode.datasets.images.containers import open_zip
from physode.datasets.images.images import Images
from physode.errors import DataError

_MOST_BYTES = 1 << 36
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError, LookupError),
    *(RuntimeError, MemoryError, SyntaxError, ArithmeticError, AssertionError, struct.error, tokenize.TokenError),
)

Array = np.ndarray[Any, Any]


def read_npz(path: Path) -> Images:
    """Read ``x_train`` and ``y_train``, and where they are there ``x_test``, ``y_test`` and ``label_names``.

    Images are bytes (N, H, W, 3), or grey, (N, H, W) or (N, H, W, 1); labels whole numbers from 0, (N,) or (N, 1);
    names text, one a class.

    Raises
    ------
    DataError
        If an array is missing, of another type or shape, damaged, or pickled (which is never read).
    """
    check_file(path)
    try:
        found = _arrays(path)
        if not {"x_train", "y_train"} <= found.keys():
            raise DataError(f"it holds {', '.join(sorted(found)) or 'nothing'}; images need x_train and y_train")
        if len({"x_test", "y_test"} & found.keys()) == 1:
            raise DataError("it holds one of x_test and y_test; images for the test need both, or leave both out")
        return _images(path, found)
    except PermissionError:
        raise
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged or no NumPy archive (.npz): {error}") from error


def _images(path: Path, found: dict[str, Array]) -> Images:
    parts = [("x_train", "y_train"), *([("x_test", "y_test")] if "x_test" in found else [])]
    x = [_pixels(name, found[name]) for name, _ in parts]
    y = [_labels(name, found[name], len(pixels)) for (_, name), pixels in zip(parts, x, strict=True)]
    if len({pixels.shape[1:] for pixels in x}) > 1:
        raise DataError(f"x_train has images of {x[0].shape[2:]} pixels, x_test of {x[1].shape[2:]}")
    labels = np.concatenate(y)
    classes = _names(found.get("label_names"), int(labels.max(initial=0)) + 1)
    return Images(
        x=np.ascontiguousarray(np.concatenate(x)),
        y=labels,
        classes=classes,
        test=np.repeat([name == "x_test" for name, _ in parts], [len(each) for each in y]),
        attrs={"name": path.stem, "source": str(path)},
    )


def _arrays(path: Path) -> dict[str, Array]:
    """Read the arrays by name, each only if the file has the bytes that its shape needs."""
    known = ("x_train", "y_train", "x_test", "y_test", "label_names")
    found = {}
    with open_zip(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in known:
                if info.file_size > _MOST_BYTES:
                    raise DataError(f"{name} has {info.file_size} bytes, more than {_MOST_BYTES}")
                with archive.open(info) as file:
                    _check_header(name, file, info.file_size)
                with archive.open(info) as file:
                    found[name] = np.lib.format.read_array(file, allow_pickle=False)
    return found


def _check_header(name: str, file: IO[bytes], size: int) -> None:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise DataError(f"{name} is of version {version} of NumPy's format; write it again with numpy.savez")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise DataError(f"{name} holds Python objects (pickled), which are never read; store bytes, numbers or text")
    declared = dtype.itemsize * int(np.prod(shape, dtype=object))
    if declared > size or min(shape, default=0) < 0:
        raise DataError(f"{name} declares the shape {shape}, {declared} bytes, but {size} are stored")


def _pixels(name: str, values: Array) -> Array:
    channels = values[..., None] if values.ndim == 3 else values
    if values.dtype != np.uint8 or channels.ndim != 4 or channels.shape[-1] not in (1, 3) or 0 in values.shape[1:]:
        raise DataError(f"{name} must be uint8 (N, H, W, 3), or grey (N, H, W), got {values.dtype} {values.shape}")
    return np.broadcast_to(channels, (*channels.shape[:3], 3)).transpose(0, 3, 1, 2)


def _labels(name: str, values: Array, count: int) -> Array:
    if values.dtype.kind not in "iu" or values.shape not in ((count,), (count, 1)):
        raise DataError(f"{name} must be whole numbers ({count},), got {values.dtype} {values.shape}")
    if values.size and not (values.min() >= 0 and values.max() < 100_000):
        raise DataError(f"{name} must be from 0 on, one number a class, got {values.min()} to {values.max()}")
    return values.reshape(-1).astype(np.int64)


def _names(values: Array | None, least: int) -> tuple[str, ...]:
    if values is None:
        return tuple(map(str, range(least)))
    if values.dtype.kind not in "US" or values.ndim != 1:
        raise DataError(f"label_names must be text (classes,), got {values.dtype} {values.shape}")
    if len(values) < least:
        raise DataError(f"label_names has {len(values)} names, but the labels go up to {least - 1}")
    return tuple(each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in values.tolist())
