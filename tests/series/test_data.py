"""From series to what a model is told and asked, and what is refused on the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator

from physode.datasets.series import IrregularSeries
from physode.errors import DataError
from physode.models.observations import Points
from physode.series.data import check_points, divide, points_of, points_of_arrays, posed, split

pytestmark = pytest.mark.usefixtures("float64")


def generator(seed=0):
    return Generator().manual_seed(seed)


def of(t, y, **options):
    return IrregularSeries.of_arrays(np.asarray(t, float), np.asarray(y, float)[..., None], **options)


def places(points):
    """Which times of each series are left, as sets."""
    return [set(t[used].tolist()) for t, used in zip(points.t, points.used, strict=True)]


# Tensors.


def test_points_hold_what_is_observed_without_holes_and_padding():
    t = [[0.0, 1.0, 2.0], [5.0, 6.0, np.nan]]
    y = [[[1.0, np.nan], [np.nan, np.nan], [2.0, 3.0]], [[np.nan, 4.0], [5.0, 6.0], [np.nan, np.nan]]]
    series = IrregularSeries.of_arrays(np.array(t), np.array(y))
    points = points_of(series)
    assert points.t.tolist() == [[0.0, 2.0], [5.0, 6.0]]
    assert points.mask.tolist() == [[[True, False], [True, True]], [[False, True], [True, True]]]
    assert points.x.tolist() == [[[1.0, 0.0], [2.0, 3.0]], [[0.0, 4.0], [5.0, 6.0]]]
    assert points.t.dtype == torch.float64


def test_values_and_times_are_double_whatever_the_default(series_of):
    torch.set_default_dtype(torch.float32)
    points = points_of(series_of())
    assert (points.x.dtype, points.t.dtype) == (torch.float64, torch.float64)


def test_arrays_of_other_channels_are_refused(sines_of):
    t, y = sines_of()
    with pytest.raises(DataError, match=r"^`y` has 2 channels, the model was trained on 3: a, b, c$"):
        points_of_arrays(t, y, None, channels=("a", "b", "c"))


def test_arrays_may_lack_a_channel_as_long_as_each_series_has_a_value(sines_of):
    t, y = sines_of()
    y[..., 1] = np.nan
    points = points_of_arrays(t, y, None, channels=("a", "b"))
    assert not bool(points.mask[..., 1].any())
    y[3] = np.nan
    with pytest.raises(DataError, match="series '3' has no value at all"):
        points_of_arrays(t, y, None, channels=("a", "b"))


def spoilt(sines_of, what):
    t, y = sines_of(4, 5)
    if what == "twice":
        t[1, 3] = t[1, 2]
    elif what == "unsorted":
        t[1] = t[1, ::-1]
    elif what == "endless":
        t[1, 4] = np.inf
    else:
        y[1, 2, 1] = -np.inf
    return t, y


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("twice", "series '1', point 4, has the time .* twice; keep one"),
        ("unsorted", "series '1', point 2, has the time .* after .*; sort it by time"),
        ("endless", "series '1', point 5, has the time inf"),
        ("boundless", "series '1', time .*, channel .*: the value is -inf; values must be finite"),
    ],
)
def test_times_and_values_that_cannot_be_are_refused_by_series_and_place(sines_of, what, why):
    t, y = spoilt(sines_of, what)
    for read in (IrregularSeries.of_arrays, lambda t, y: points_of_arrays(t, y, None, channels=("0", "1"))):
        with pytest.raises(DataError, match=why) as raised:
            read(t, y)
        assert "\n" not in str(raised.value)


# Division.


def test_a_series_of_one_point_is_refused_with_the_way_out():
    series = of([[0.0, 1.0], [0.0, np.nan]], [[1.0, 2.0], [3.0, np.nan]], names=["long", "short"])
    with pytest.raises(DataError, match=r"series 'short' has a single point: .*--min-points 2"):
        check_points(series, None)
    assert check_points(series, 2).names == ("long",)


def test_more_such_series_are_counted():
    series = of([[0.0, 1.0], [0.0, np.nan], [1.0, np.nan]], [[1.0, 2.0], [3.0, np.nan], [3.0, np.nan]])
    with pytest.raises(DataError, match=r"series '1' has a single point \(2 such series\)"):
        check_points(series, None)
    with pytest.raises(DataError, match="no series has 5 points or more"):
        check_points(series, 5)


def test_training_and_test_share_no_series_and_leave_none_out(series_of, config_of):
    series = series_of(20)
    parts = split(series, config_of(test_fraction=0.25))
    assert [len(part) for part in parts] == [15, 5]
    assert sorted(parts[0].names + parts[1].names) == sorted(series.names)


def test_the_division_is_that_of_its_own_seed(series_of, config_of):
    series = series_of(20)
    tests = [split(series, config_of(split=place, seed=seed))[1].names for place, seed in ((0, 0), (0, 9), (1, 0))]
    assert tests[0] == tests[1] != tests[2]


def test_a_limit_takes_training_series_only(series_of, config_of):
    series = series_of(20)
    whole, limited = split(series, config_of()), split(series, config_of(limit=5))
    assert limited[1].names == whole[1].names
    assert len(limited[0]) == 5
    assert set(limited[0].names) < set(whole[0].names)


def test_one_series_is_too_few(series_of, config_of):
    message = "^1 series cannot be divided into training and test; give at least 2: in a table, --columns series=NAME"
    with pytest.raises(DataError, match=message):
        split(series_of(1), config_of())


def test_a_channel_that_no_training_series_has_is_named(sines_of, config_of):
    t, y = sines_of(10)
    _, testing = split(IrregularSeries.of_arrays(t, y), config_of())
    missing = np.ones(10, dtype=bool)
    missing[[int(name) for name in testing.names]] = False
    y[missing, :, 1] = np.nan
    series = IrregularSeries.of_arrays(t, y, channels=["speed", "height"])
    with pytest.raises(DataError, match=r"^the 8 training series have no value of channel 'height'; remove it"):
        split(series, config_of())


# The task.


def test_a_share_of_each_series_own_points_is_told(points):
    for share in (0.01, 0.1, 0.5, 0.75, 1.0):
        told = divide(points, share=share, generator=generator())
        for before, after in zip(places(points), places(told), strict=True):
            assert after <= before
            assert len(after) == max(1, round(share * len(before)))


@pytest.fixture
def points(series_of):
    """Series of 10 places of which the n-th has n."""
    found = points_of(series_of(10, 10))
    used = torch.arange(10) <= torch.arange(10)[:, None]
    return found.where(used)


def test_every_point_is_as_likely_to_be_told():
    t = torch.arange(5.0).expand(4000, -1)
    x = torch.ones(4000, 5, 1)
    told = divide(Points(t, x, x.bool()), share=0.4, generator=generator())
    counts = torch.stack([(told.t[told.used] == time).sum() for time in range(5)]) / 4000
    torch.testing.assert_close(counts, torch.full((5,), 0.4), rtol=0, atol=0.04)  # 5 standard errors


def test_interpolation_asks_for_all_points(points, config_of):
    told, asked = posed(points, config_of(observed=0.3), generator=generator())
    assert places(asked) == places(points)
    assert all(some <= every for some, every in zip(places(told), places(points), strict=True))


def test_extrapolation_tells_what_is_before_and_asks_what_is_after(points, config_of):
    config = config_of(task="extrapolation", observed=1.0, until=0.4)
    told, asked = posed(points, config, generator=generator())
    for row, every in enumerate(places(points)):
        cut = min(every) + 0.4 * (max(every) - min(every))
        assert places(told)[row] == {time for time in every if time <= cut}
        assert places(asked)[row] == {time for time in every if time > cut}


def test_what_comes_later_does_not_change_what_extrapolation_tells(points, config_of):
    config = config_of(task="extrapolation", observed=0.5)
    told, asked = posed(points, config, generator=generator())
    later = points.x.clone()
    for row, times in enumerate(places(asked)):
        later[row, [float(t) in times for t in points.t[row]]] += 100.0
    again, changed = posed(Points(points.t, later, points.mask), config, generator=generator())
    assert all(torch.equal(one, other) for one, other in zip(told, again, strict=True))
    assert bool((changed.x[changed.mask] > 50).all())
