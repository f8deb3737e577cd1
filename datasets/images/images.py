"""Labelled images in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from physode.errors import DataError
from physode.optional_imports import needs

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read: its path, and why in a few words."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images.

    Attributes
    ----------
    x
        (N, 3, H, W), bytes.
    y
        Labels from 0, (N,), int64.
    classes
        Their names.
    test
        Which of them the source has set aside for the test, (N,); none where it has no such split.
    attrs
        What else is known: ``name``, ``source``, ...
    skipped
        What could not be read.
    names
        Where each image came from: its file's path in the source; empty where images have no names.

    Raises
    ------
    DataError
        If these do not fit together.
    """

    x: Array
    y: Array
    classes: tuple[str, ...]
    test: Array
    attrs: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.shape[1] != 3 or self.x.dtype != np.uint8:
            raise DataError(f"`x` must be bytes (N, 3, H, W), got {self.x.dtype} {self.x.shape}")
        if self.y.shape != (len(self.x),) or self.y.dtype != np.int64:
            raise DataError(f"`y` must be int64 ({len(self.x)},), got {self.y.dtype} {self.y.shape}")
        if self.test.shape != self.y.shape or self.test.dtype != np.bool_:
            raise DataError(f"`test` must be bool {self.y.shape}, got {self.test.dtype} {self.test.shape}")
        if len(self.y) and (self.y.min() < 0 or self.y.max() >= len(self.classes)):
            raise DataError(f"`y` must be from 0 to {len(self.classes) - 1}, got {self.y.min()} to {self.y.max()}")
        if self.names and len(self.names) != len(self.x):
            raise DataError(f"`names` must be {len(self.x)} names or none, got {len(self.names)}")

    def __len__(self) -> int:
        return len(self.y)

    def check(self) -> None:
        """Raise `DataError` unless two classes or more have images to train on."""
        present = np.flatnonzero(self.training().counts())
        if len(present) < 2:
            found = f"of one class, {self.classes[int(present[0])]!r}" if len(present) else "none"
            raise DataError(f"the images to train on are {found}; a classifier needs those of two classes or more")

    def take(self, places: Array) -> Images:
        """Return some of them, by places or by a mask."""
        kept = np.arange(len(self))[places] if self.names else ()
        names = tuple(self.names[place] for place in kept)
        return replace(self, x=self.x[places], y=self.y[places], test=self.test[places], names=names)

    def name(self, place: int) -> str:
        """Return an image's name, or its number where images have none."""
        return self.names[place] if self.names else str(place)

    def training(self) -> Images:
        """Return those that are not for the test."""
        return self.take(~self.test)

    def testing(self) -> Images:
        """Return those for the test."""
        return self.take(self.test)

    def counts(self) -> tuple[int, ...]:
        """Return how many there are of each class."""
        return tuple(np.bincount(self.y, minlength=len(self.classes)).tolist())

    def digest(self) -> str:
        """Return a fingerprint of images, labels, classes and split."""
        found = hashlib.sha256("\0".join(self.classes).encode())
        for values in (self.x, self.y, self.test):
            found.update(repr((values.shape, values.dtype.str)).encode())
            found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()


def resized(images: Images, size: int) -> Images:
    """Return images of `size` x `size` pixels, by bilinear interpolation; those that have this size as they are.

    Where they shrink, the interpolation's support grows with the scale, so that finer detail is averaged. The aspect
    ratio is not kept.

    Raises
    ------
    ConfigError
        If Pillow is needed and not installed.
    """
    if images.x.shape[2:] == (size, size):
        return images
    library = needs("PIL.Image", extra="images", purpose="resizing images")
    x = np.empty((len(images), 3, size, size), dtype=np.uint8)
    for place, image in enumerate(images.x):
        picture = library.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        x[place] = np.asarray(picture.resize((size, size), library.Resampling.BILINEAR)).transpose(2, 0, 1)
    return replace(images, x=x)


def central_square(width: int, height: int, share: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the square about an image's centre whose side is a share of the shorter."""
    side = max(1, round(share * min(width, height)))
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def centred(images: Images, share: float) -> Images:
    """Return the square about the centre of each image, its side `share` of the image's shorter one."""
    left, top, right, bottom = central_square(images.x.shape[3], images.x.shape[2], share)
    return replace(images, x=np.ascontiguousarray(images.x[:, :, top:bottom, left:right]))


def summarise_images(images: Images) -> dict[str, Any]:
    """Describe images.

    Returns
    -------
    dict
        ``images``, ``height``, ``width``, ``training``, ``test`` (numbers of images), ``classes`` (a list of
        ``class``, ``name``, ``training``, ``test``, and for Galaxy Zoo ``found``, ``published`` and ``conditional``,
        see :func:`physode.datasets.images.galaxy_classes`), ``skipped`` (a list of ``path`` and ``reason``),
        ``digest`` and ``attributes``.
    """
    training, test = images.training().counts(), images.testing().counts()
    attributes = dict(images.attrs)
    counts = {
        name: attributes.pop(f"{name}_counts")
        for name in ("found", "published", "conditional")
        if _counts_each(attributes.get(f"{name}_counts"), len(images.classes))
    }
    return {
        "images": len(images),
        "height": images.x.shape[2],
        "width": images.x.shape[3],
        "training": sum(training),
        "test": sum(test),
        "classes": [
            {
                "class": number,
                "name": name,
                "training": training[number],
                "test": test[number],
                **{title: int(each[number]) for title, each in counts.items()},
            }
            for number, name in enumerate(images.classes)
        ],
        "skipped": [{"path": each.path, "reason": each.reason} for each in images.skipped],
        "digest": images.digest(),
        "attributes": attributes,
    }


def _counts_each(value: Any, classes: int) -> bool:
    return isinstance(value, list) and len(value) == classes and all(isinstance(each, int) for each in value)
