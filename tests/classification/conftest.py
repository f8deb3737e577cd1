"""Images that a small network can tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets.images import Images


def make_images(count: int = 96, *, size: int = 12, classes: int = 3, seed: int = 0, test: float = 0.25) -> Images:
    """Bars of a direction and a colour of their own for each class, in noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = rng.integers(0, 60, (count, 3, size, size))
    for row, label in enumerate(y):
        at = rng.integers(2, size - 2)
        place = (slice(at - 1, at + 1), slice(None)) if label % 2 else (slice(None), slice(at - 1, at + 1))
        x[(row, label % 3, *place)] += 150
    return Images(
        x=x.astype(np.uint8),
        y=y.astype(np.int64),
        classes=tuple(f"class {label}" for label in range(classes)),
        test=np.arange(count) < test * count,
        attrs={"name": "bars"},
    )


@pytest.fixture
def bars() -> Images:
    return make_images()


@pytest.fixture
def images_of():
    """Make others like them."""
    return make_images
