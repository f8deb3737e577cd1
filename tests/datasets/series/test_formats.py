"""Kinds are told apart by what files hold; of others it is said what they look like."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets import Trajectories, write_trajectories
from physode.datasets.images import Images, write_images
from physode.datasets.series import IrregularSeries, holds_series, kind_of_series, read_series, write_series
from physode.errors import DataError

ACCEPTED = (
    "series are read from HDF5 of series or trajectories, a table with a column of times and one a channel, or with "
    "the columns series, time, channel and value, or a folder of records of PhysioNet's 2012 challenge"
)


@pytest.fixture
def made(tmp_path):
    t, y = np.arange(3.0), np.random.default_rng(0).normal(size=(2, 3, 1))
    write_series(tmp_path / "series", IrregularSeries.of_arrays(t, y))
    write_trajectories(tmp_path / "trajectories", Trajectories(t=t, y=y, columns=("x",), units=("",)))
    (tmp_path / "table").write_text("time,series,value,channel\n0,a,1,p\n")
    (tmp_path / "wide").write_text("time,x\n0,1\n1,2\n")
    (tmp_path / "set-a").mkdir()
    (tmp_path / "set-a" / "1.txt").write_text("Time,Parameter,Value\n00:00,HR,1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind", "alone"),
    [
        ("series", "hdf5", True),
        ("trajectories", "trajectories", False),
        ("table", "csv", True),
        ("wide", "csv", False),
        ("set-a", "physionet", True),
    ],
)
def test_kinds_are_told_by_content(made, name, kind, alone):
    assert kind_of_series(made / name) == kind
    assert holds_series(made / name) == alone
    assert len(read_series(made / name)) >= 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("set-a/1.txt", "is one record of PhysioNet's 2012 challenge; name its folder"),
        ("", "is a folder without records of series, such as 132539.txt, and without images; name "),
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("binary", "is no table of text: it holds bytes that are no text"),
        ("images", f"is HDF5 of physode-images; {ACCEPTED}"),
    ],
)
def test_what_is_no_series_is_described_in_one_line(made, name, message):
    (made / "empty").touch()
    (made / "binary").write_bytes(bytes(range(256)))
    images = Images(np.zeros((1, 3, 2, 2), np.uint8), np.zeros(1, np.int64), ("a",), np.zeros(1, np.bool_))
    write_images(made / "images", images)
    with pytest.raises(DataError) as caught:
        read_series(made / name)
    assert str(caught.value).startswith(f"{made / name} ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not holds_series(made / name) or name == ""
