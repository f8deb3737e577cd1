"""States between the outputs."""

from __future__ import annotations

import numpy as np
import pytest

from physode.plotting.comparison import elapsed, interpolate


@pytest.mark.parametrize("way", [1, -1])
def test_smooth_motion_is_found_between_its_outputs(way):
    t = np.linspace(0.0, 6.0, 61)[::way]
    states = interpolate(t, np.stack([np.sin(t), np.cos(t)], axis=1))
    between = np.linspace(0.5, 5.5, 37)
    np.testing.assert_allclose(states(between), np.stack([np.sin(between), np.cos(between)], axis=1), atol=1e-5)


def test_a_path_that_ended_early_is_not_continued():
    t = np.linspace(0.0, 1.0, 11)
    y = np.where(t < 0.55, t, np.nan)[:, None]
    found = interpolate(t, y)(np.array([0.25, 0.5, 0.51, 0.9]))
    np.testing.assert_allclose(found[:, 0], [0.25, 0.5, np.nan, np.nan])


@pytest.mark.parametrize("known", [1, 2, 3])
def test_few_outputs_are_joined_by_what_they_determine(known):
    t = np.arange(float(known))
    found = interpolate(t, (2.0 * t + 1.0)[:, None])(t)
    np.testing.assert_allclose(found[:, 0], 2.0 * t + 1.0)


def test_nothing_known_stays_unknown():
    assert np.isnan(interpolate(np.arange(3.0), np.full((3, 2), np.nan))(np.array([0.0, 1.0]))).all()


def test_what_has_come_by_goes_with_the_direction_of_time():
    np.testing.assert_array_equal(elapsed(np.array([0.0, 1.0, 2.0]), 1.0), [True, True, False])
    np.testing.assert_array_equal(elapsed(np.array([2.0, 1.0, 0.0]), 1.0), [True, True, False])
