"""Images brought to one size."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets.images import Images
from physode.datasets.images.images import resized
from physode.errors import ConfigError


def images_of(x):
    count = len(x)
    return Images(x, np.arange(count) % 2, ("a", "b"), np.zeros(count, bool), {"name": "some"})


def test_images_of_the_right_size_are_the_same_object():
    images = images_of(np.zeros((2, 3, 8, 8), np.uint8))
    assert resized(images, 8) is images


def test_blocks_that_shrink_by_a_whole_factor_keep_their_colours_inside():
    colours = np.random.default_rng(0).integers(0, 256, (4, 3, 1, 1), dtype=np.uint8)
    small = resized(images_of(np.tile(colours, (1, 1, 12, 20))), 5)
    np.testing.assert_array_equal(small.x, np.tile(colours, (1, 1, 5, 5)))
    assert small.attrs == {"name": "some"}


def test_a_line_grows_into_the_line_between_its_ends():
    ramp = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8), (1, 3, 16, 16))
    large = resized(images_of(ramp), 32).x
    # Pixel centres: new pixel i lies at (i + 1/2) / 2 - 1/2 of the old ones.
    expected = 10 * np.clip((np.arange(32) + 0.5) / 2 - 0.5, 0, 15)
    assert np.abs(large - expected).max() <= 0.5


def test_finer_detail_is_averaged_and_not_sampled():
    stripes = np.zeros((1, 3, 32, 32), np.uint8)
    stripes[..., ::2] = 200
    # At the edges the support is cut, and holds one kind of stripe more than the other.
    assert np.abs(resized(images_of(stripes), 8).x.astype(int) - 100).max() <= 10


def test_rows_and_columns_keep_their_places():
    x = np.zeros((1, 3, 8, 16), np.uint8)
    x[:, 0, :4, 8:] = 255  # red, at the top on the right
    small = resized(images_of(x), 4).x
    assert small[0, 0, 0, 3] == 255
    assert small[0, 0, 3].max() == small[0, :, :, 0].max() == small[0, 1:].max() == 0


def test_a_missing_Pillow_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigError, match=r"resizing images needs Pillow.*physode\[images\]"):
        resized(images_of(np.zeros((2, 3, 8, 8), np.uint8)), 4)
