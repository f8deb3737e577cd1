"""The container: what it counts, what it takes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets import Trajectories
from physode.datasets.series import IrregularSeries
from physode.errors import DataError

NAN = np.nan
T = np.array([[0.0, 1.0, 2.5], [0.5, 0.75, NAN]])
Y = np.array([[[1.0, NAN], [NAN, NAN], [3.0, 4.0]], [[5.0, 6.0], [7.0, NAN], [NAN, NAN]]])


def series(**changes) -> IrregularSeries:
    usual = {"t": T, "y": Y, "channels": ("p", "q"), "units": ("kPa", ""), "names": ("a", "b")}
    return IrregularSeries(**{**usual, **changes})


def changed(values, place, value):
    copy = values.copy()
    copy[place] = value
    return copy


def test_mask_points_and_spans_see_values_only():
    found = series()
    assert len(found) == 2
    np.testing.assert_array_equal(found.mask, [[[1, 0], [0, 0], [1, 1]], [[1, 1], [1, 0], [0, 0]]])
    np.testing.assert_array_equal(found.points, [2, 2])
    np.testing.assert_array_equal(found.spans, [[0.0, 2.5], [0.5, 0.75]])


def test_times_without_values_at_the_ends_do_not_widen_spans():
    found = series(y=changed(changed(Y, (0, 0), NAN), (0, 1, 0), 2.0))
    np.testing.assert_array_equal(found.spans[0], [1.0, 2.5])


@pytest.mark.parametrize("rows", [[1], np.array([False, True]), slice(1, 2), [-1]])
def test_taken_series_keep_their_channels_names_and_statics(rows):
    found = series(attrs={"statics": {"Age": [54.0, None]}, "name": "toy"}).take(rows)
    np.testing.assert_array_equal(found.t, T[1:])
    np.testing.assert_array_equal(found.y, Y[1:])
    assert (found.names, found.channels) == (("b",), ("p", "q"))
    assert found.attrs == {"statics": {"Age": [None]}, "name": "toy"}


def test_a_channel_may_be_empty_in_some_of_the_series():
    found = series(y=changed(Y, (1, 0, 1), NAN)).take([1])
    assert found.channels == ("p", "q")
    assert not found.mask[..., 1].any()


@pytest.mark.parametrize("rows", [[], [0, 0], 1, [2], [True], [0.5]])
def test_rows_that_cannot_be_taken_are_refused(rows):
    with pytest.raises(ValueError, match="`rows` must"):
        series().take(rows)


def test_the_digest_tells_times_values_and_channels_and_no_bits_of_nan():
    usual = series().digest()
    other_nan = np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64)[0]
    assert series(y=changed(Y, (0, 0, 1), other_nan), names=("c", "d")).digest() == usual
    others = [{"t": T + 1}, {"y": changed(Y, (0, 0, 0), 9.0)}, {"channels": ("p", "r")}, {"y": Y.astype(np.float32)}]
    assert len({usual, *(series(**each).digest() for each in others)}) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": T.astype(np.float32)}, "`t` must be a NumPy array of float64 numbers; got an array of float32"),
        ({"t": [[0.0]]}, "got a list"),
        (
            {"y": np.ones((2, 3, 2), dtype=int)},
            "`y` must be a NumPy array of float32 or float64 numbers; got an array of int64",
        ),
        ({"y": Y[0]}, "`y` must have the shape (series, times, channels), none of them 0, got (3, 2)"),
        ({"t": T[:1]}, "`t` must have the shape (2, 3) to go with `y` of shape (2, 3, 2), got (1, 3)"),
        ({"channels": ("p",)}, "`channels` must have one entry for each of the 2 channels of `y`, got 1"),
        (
            {"channels": ("p", "p")},
            "`channels` must differ from each other and say something, but 'p' stands there twice",
        ),
        ({"units": ("p",)}, "`units` must have one entry for each of the 2 channels"),
        ({"names": ("a", "a")}, "`names` must differ from each other and say something, but 'a' stands there twice"),
        ({"names": ("a", "")}, "`names` must differ from each other and say something, but one is empty"),
        ({"names": ("a", "b\0")}, "`names` must hold words, got 'b\\x00'"),
        ({"names": ("a", 1)}, "`names` must hold words, got 1"),
        ({"attrs": {"statics": {"Age": [1]}}}, "`attrs['statics']['Age']` must be a list of 2 values"),
        ({"attrs": {"statics": 1}}, "`attrs['statics']` must be a dict of lists, got a int"),
        ({"t": changed(T, (1, 1), 0.5)}, "series 'b', point 2, has the time 0.5 twice; keep one, or take their mean"),
        ({"t": changed(T, (0, 2), 0.5)}, "series 'a', point 3, has the time 0.5 after 1.0; sort it by time"),
        ({"t": changed(T, (0, 2), np.inf)}, "series 'a', point 3, has the time inf; give each value a finite time"),
        ({"t": changed(T, (0, 1), NAN)}, "series 'a', point 2, has no time, but later ones follow"),
        ({"t": changed(T, (0, 2), NAN)}, "series 'a', point 3, has a value but no time"),
        ({"y": changed(Y, (0, 2, 1), -np.inf)}, "series 'a', time 2.5, channel 'q': the value is -inf; values must be"),
        ({"y": changed(Y, 1, NAN)}, "series 'b' has no value at all; leave it out"),
        ({"y": changed(Y, (..., 1), NAN)}, "channel 'q' has no value in any series; leave it out"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(changes, message):
    with pytest.raises(DataError) as caught:
        series(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trajectories_become_series_with_falling_times_turned_round():
    y = np.arange(12.0).reshape(2, 3, 2)
    t = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.5]])
    made = Trajectories(
        t=t, y=y, columns=("a", "b"), units=("m", ""), attrs={"time_unit": "s"}, params={"k": np.ones(2)}
    )
    found = IrregularSeries.of(made, names=("one", "two"), attrs={"name": "toy"})
    np.testing.assert_array_equal(found.t, [[0.0, 1.0, 2.0], [0.5, 1.0, 3.0]])
    np.testing.assert_array_equal(found.y, [y[0], y[1, ::-1]])
    assert (found.channels, found.units, found.names) == (("a", "b"), ("m", ""), ("one", "two"))
    notes = ["left out, as series have no place for it: params/k"]
    assert found.attrs == {"time_unit": "s", "name": "toy", "notes": notes}
    np.testing.assert_array_equal(made.t, t)


def test_trajectories_that_share_falling_times_become_series_too():
    made = Trajectories(t=np.array([2.0, 1.0]), y=np.ones((3, 2, 1)), columns=("a",), units=("",))
    found = IrregularSeries.of(made)
    np.testing.assert_array_equal(found.t, [[1.0, 2.0]] * 3)
    assert found.names == ("0", "1", "2")


def test_arrays_of_the_user_are_masked_and_padding_is_found():
    t = [[0, 1, 2, 0, 0], [3, 4, 5, 6, 7]]
    y = np.ones((2, 5, 1), dtype=np.float32)
    mask = [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0]]
    y[0, 3] = np.inf  # masked
    found = IrregularSeries.of_arrays(t, y, mask)
    np.testing.assert_array_equal(found.t, [[0, 1, 2, NAN, NAN], [3, 4, 5, 6, 7]])
    np.testing.assert_array_equal(found.mask[..., 0], mask)
    assert found.y.dtype == np.float32
    assert (found.channels, found.units, found.names) == (("y1",), ("",), ("0", "1"))


def test_times_may_be_shared_and_the_mask_be_of_each_channel():
    y = np.arange(8.0).reshape(2, 2, 2)
    mask = y != 3
    found = IrregularSeries.of_arrays([0.0, 1.0], y, mask, ["a", "b"], units=["m", "s"], names=["x", "y"])
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.t, [[0.0, 1.0]] * 2)
    assert (found.units, found.names) == (("m", "s"), ("x", "y"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0, 1.0], np.ones((2, 2))), r"`y` must have the shape \(series, times, channels\)"),
        (([0.0], np.ones((2, 2, 1))), r"`t` must have the shape \(2,\) or \(2, 2\) .* got \(1,\)"),
        (([0.0, 1.0], np.ones((2, 2, 1)), np.ones((1, 2))), r"`mask` must have the shape \(2, 2, 1\) or \(2, 2\)"),
        (([0.0, 1.0], np.ones((2, 2, 1)), np.full((2, 2), 0.5)), "`mask` must be True where"),
        (([0.0, 1.0], np.ones((2, 2, 1), dtype=complex)), "`y` must hold real numbers, got an array of complex128"),
        (([0.0, 0.0], np.ones((2, 2, 1))), "has the time 0.0 twice"),
        (([1.0, 0.0], np.ones((2, 2, 1))), "has the time 0.0 after 1.0"),
    ],
)
def test_arrays_that_do_not_go_together_are_described(arguments, message):
    with pytest.raises(DataError, match=message):
        IrregularSeries.of_arrays(*arguments)


def test_trajectories_without_a_value_are_left_out_and_said_to_be():
    y = np.ones((3, 4, 2))
    y[1] = np.nan
    made = IrregularSeries.of(Trajectories(t=np.arange(4.0), y=y, columns=("a", "b"), units=("", "")))
    assert made.names == ("0", "2")
    assert "left out, as they have no value: 1 of 3, '1' the first" in made.attrs["notes"]
