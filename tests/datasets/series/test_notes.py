"""What may surprise is said, once."""

from __future__ import annotations

import numpy as np

from physode.datasets.series import IrregularSeries

NAN = np.nan


def notes_of(t, y, **more) -> list[str]:
    return IrregularSeries.of_arrays(t, y, **more).attrs["notes"]


def varied(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_plain_series_need_no_notes():
    assert notes_of([0.0, 1.0, 2.0], varied(3, 3, 2)) == []


def test_series_of_one_point_are_counted_and_the_first_is_named():
    t = [[0.0, 1.0], [0.0, NAN], [0.0, 1.0], [2.0, NAN]]
    y = varied(4, 2, 1)
    y[[1, 3], 1] = NAN
    (note,) = notes_of(t, y, names=["a", "b", "c", "d"])
    assert note.startswith("series with one point only: 2 of 4, 'b' the first")


def test_times_without_values_are_counted():
    y = varied(2, 3, 2)
    y[0, 1] = y[1, 2] = NAN
    assert notes_of([0.0, 1.0, 2.0], y) == ["times without a value in any channel: 2"]


def test_wildly_different_spans_are_said_with_both_series():
    t = [[0.0, 0.01], [0.0, 120.0], [0.0, 1.0]]
    (note,) = notes_of(t, varied(3, 2, 1), names=["fast", "slow", "usual"], attrs={"time_unit": "h"})
    assert note == (
        "spans of time differ by a factor 1.2e+04, from 0.01 h ('fast') to 120 h ('slow'): "
        "times are normalised by the longest span"
    )
    assert notes_of([[0.0, 0.2], [0.0, 120.0]], varied(2, 2, 1)) == []


def test_rare_and_constant_channels_are_named():
    y = varied(200, 2, 3)
    y[1:, :, 1] = NAN
    y[..., 2] = 4.0
    assert notes_of([0.0, 1.0], y, channels=["usual", "rare", "same"]) == [
        "channels with values in fewer than 1% of the series: rare",
        "channels with one and the same value throughout: same",
    ]


def test_notes_of_before_are_kept_and_none_is_repeated():
    y = varied(2, 3, 2)
    y[0, 1] = NAN
    usual = "times without a value in any channel: 1"
    assert notes_of([0.0, 1.0, 2.0], y, attrs={"notes": ["before", usual]}) == ["before", usual]
