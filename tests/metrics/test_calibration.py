"""Confidence against accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from physode.metrics import calibrate


def test_bins_by_hand():
    shares = np.array([[0.55, 0.45], [0.6, 0.4], [0.1, 0.9], [0.05, 0.95]])
    found = calibrate(shares, [0, 1, 1, 1], bins=5)
    assert_array_equal(found.counts, [0, 0, 2, 0, 2])
    assert_allclose(found.confidence[[2, 4]], [0.575, 0.925])
    assert_allclose(found.accuracy[[2, 4]], [0.5, 1.0])
    assert np.isnan(found.accuracy[[0, 1, 3]]).all()
    assert found.error == pytest.approx(0.5 * 0.075 + 0.5 * 0.075)


def test_answers_as_right_as_they_say_are_calibrated(rng):
    sure = rng.uniform(0.5, 1.0, 50_000)
    labels = (rng.uniform(size=sure.size) > sure).astype(int)
    assert calibrate(np.stack([sure, 1 - sure], axis=1), labels).error < 0.01


def test_certain_and_always_wrong_is_an_error_of_one():
    found = calibrate([[1.0, 0.0], [1.0, 0.0]], [1, 1])
    assert (found.error, found.counts[-1]) == (1.0, 2)


def test_bins_there_must_be():
    with pytest.raises(ValueError, match="`bins` must be at least 1, got 0"):
        calibrate([[1.0, 0.0]], [0], bins=0)
