"""Ends of intervals, read from a curve at some values."""

from __future__ import annotations

import numpy as np
import pytest

from physode.fitting.crossings import crossings


def test_those_of_a_parabola_are_exact():
    values = np.array([-3.0, -1.4, -0.5, 0.2, 1.0, 2.7])
    assert crossings(values, (values - 0.2) ** 2, 2.0) == pytest.approx((0.2 - 2**0.5, 0.2 + 2**0.5), rel=1e-12)


def test_those_of_a_smooth_curve_are_near():
    values = np.linspace(-1.0, 1.0, 11)
    low, high = crossings(values, 40.0 * (np.exp(values) - 1.0) ** 2, 4.0)
    assert (low, high) == pytest.approx((np.log(1 - 0.1**0.5), np.log(1 + 0.1**0.5)), abs=2e-3)


def test_a_side_that_stays_below_has_none():
    assert crossings([0.0, 1.0, 2.0, 3.0], [0.3, 0.0, 1.0, 4.0], 1.0) == (None, pytest.approx(2.0))
    assert crossings([0.0, 1.0], [0.0, 9.0], 1.0) == (None, pytest.approx(1.0 / 3.0))
    assert crossings([0.0], [0.0], 1.0) == (None, None)


def test_the_nearest_to_the_smallest_value_count():
    low, high = crossings([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 5.0, 1.0, 4.0, 0.5, 4.0], 4.0)
    assert low is None
    assert 0.0 < high < 1.0
