"""Labelled images in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from physode.errors import DataError

__all__ = ["Images", "Skipped"]

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

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.shape[1] != 3 or self.x.dtype != np.uint8:
            raise DataError(f"`x` must be bytes (N, 3, H, W), got {self.x.dtype} {self.x.shape}")
        if self.y.shape != (len(self.x),) or self.y.dtype != np.int64:
            raise DataError(f"`y` must be int64 ({len(self.x)},), got {self.y.dtype} {self.y.shape}")
        if self.test.shape != self.y.shape or self.test.dtype != np.bool_:
            raise DataError(f"`test` must be bool {self.y.shape}, got {self.test.dtype} {self.test.shape}")
        if len(self.y) and (self.y.min() < 0 or self.y.max() >= len(self.classes)):
            raise DataError(f"`y` must be from 0 to {len(self.classes) - 1}, got {self.y.min()} to {self.y.max()}")

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
        return replace(self, x=self.x[places], y=self.y[places], test=self.test[places])

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
