"""Trajectories refuse arrays that do not go together."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets import Trajectories
from physode.errors import DataError

T = np.linspace(0.0, 1.0, 5)
Y = np.zeros((3, 5, 2))


def make(**changes) -> Trajectories:
    return Trajectories(**{"t": T, "y": Y, "columns": ("a", "b"), "units": ("", ""), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": Y[0]}, "`y` must have the shape"),
        ({"y": Y[:0]}, "none of them 0"),
        ({"y": Y.astype(int)}, "`y` must be a NumPy array of real float32 or float64"),
        ({"y": Y.astype(complex)}, "split complex states"),
        ({"y": Y.tolist()}, "got a list"),
        ({"y_clean": Y[:, :4]}, "`y_clean` must have the shape of `y`"),
        ({"sigma": Y[:, :4]}, "`sigma` must have the shape of `y`"),
        ({"sigma": Y}, "`sigma` must be above 0 and finite, got 0.0"),
        ({"sigma": Y - 1}, "`sigma` must be above 0 and finite, got -1.0"),
        ({"sigma": Y + np.inf}, "`sigma` must be above 0 and finite, got inf"),
        ({"sigma": np.where(np.arange(5)[:, None] == 3, np.nan, Y + 1)}, "`sigma` is NaN for some known values of 'a'"),
        ({"sigma": [1.0]}, "`sigma` must be a NumPy array"),
        ({"t": T[:4]}, "`t` must have the shape"),
        ({"t": np.tile(T, (2, 1))}, "`t` must have the shape"),
        ({"t": np.array(["a"] * 5)}, "`t` must be a NumPy array"),
        ({"t": np.array([0.0, 1.0, np.nan, 2.0, 3.0])}, "`t` must be finite, got nan"),
        ({"t": np.array([0.0, 1.0, 1.0, 2.0, 3.0])}, "rise or fall strictly"),
        ({"t": np.array([0.0, 2.0, 1.0, 3.0, 4.0])}, "rise or fall strictly"),
        ({"params": {"m": np.zeros(2)}}, "one entry for each of the 3 trajectories"),
        ({"params": {"m": np.float64(1.0)}}, "`params\\['m'\\]` must be a NumPy array"),
        ({"params": {"a/b": np.zeros(3)}}, "use a word without '/'"),
        ({"params": {"m": np.array(["x"] * 3)}}, "must be a NumPy array of real numbers"),
        ({"columns": ("a",)}, "`columns` must have one entry for each of the 2 components"),
        ({"columns": ("a", "a")}, "`columns` must differ"),
        ({"units": ("AU",) * 3}, "`units` must have one entry"),
    ],
)
def test_arrays_that_do_not_fit_are_named(changes, message):
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_deviations_may_be_unknown_for_a_component_and_where_values_are_missing():
    y = Y.copy()
    y[1, 2, 0] = np.nan
    sigma = np.where(np.isnan(y), np.nan, 0.5)
    sigma[..., 1] = np.nan
    assert make(y=y, sigma=sigma).sigma is sigma


def test_one_time_is_enough():
    assert len(make(t=T[:1], y=Y[:, :1])) == 3


def test_trajectories_may_run_in_either_direction():
    make(t=T[::-1])
    make(t=np.stack([T, T[::-1], T]))
