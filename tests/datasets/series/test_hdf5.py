"""Files of series: what goes in comes out, whole or not at all, and damage is found."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets import Trajectories, write_trajectories
from physode.datasets.series import IrregularSeries, read_series, write_series
from physode.errors import DataError

_RNG = np.random.default_rng(0)
_MASK = np.arange(60).reshape(3, 10, 2) % 3 > 0
SERIES = IrregularSeries.of_arrays(
    np.sort(_RNG.uniform(size=(3, 10)), axis=1),
    _RNG.normal(size=(3, 10, 2)),
    _MASK,
    ["pressure", "flöw"],
    units=["kPa", ""],
    names=["a", "b", "c"],
    attrs={"name": "toy", "source": "a sum", "time_unit": "h", "notes": ["one"], "statics": {"Age": [1.0, None, 3.0]}},
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "series.h5"
    write_series(path, SERIES)
    return path.read_bytes()


@pytest.fixture(scope="module")
def spare(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "series.h5"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_series_come_back_as_they_were(tmp_path, dtype):
    made = IrregularSeries(SERIES.t, SERIES.y.astype(dtype), SERIES.channels, SERIES.units, SERIES.names, SERIES.attrs)
    write_series(tmp_path / "a.h5", made)
    found = read_series(tmp_path / "a.h5")
    assert found.digest() == made.digest()
    assert found.y.dtype == dtype
    assert (found.names, found.channels, found.units) == (made.names, made.channels, made.units)
    assert {name: found.attrs[name] for name in made.attrs} == made.attrs
    assert {"versions", "created", "command"} <= set(found.attrs)


def test_a_file_reads_without_physode(tmp_path):
    write_series(tmp_path / "a.h5", SERIES)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["t"][1], SERIES.t[1])
        np.testing.assert_array_equal(file["y"][1:], SERIES.y[1:])
        assert [name.decode() for name in file["y"].attrs["channels"]] == list(SERIES.channels)
        assert [name.decode() for name in file["t"].attrs["names"]] == list(SERIES.names)
        assert file["t"].attrs["units"] == b"h"


def test_four_names_make_a_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["format"] = "physode-series"
        file.attrs["schema_version"] = 1
        file["t"] = np.arange(6.0).reshape(2, 3)
        file["y"] = np.arange(12).reshape(2, 3, 2)
    found = read_series(tmp_path / "a.h5")
    assert (found.names, found.channels, found.units) == (("0", "1"), ("y1", "y2"), ("", ""))
    assert found.attrs == {"name": "a", "source": "a.h5", "notes": []}
    assert found.y.dtype == np.float64


def test_a_file_that_exists_is_replaced_only_if_asked(tmp_path):
    write_series(tmp_path / "a.h5", SERIES)
    with pytest.raises(DataError, match="exists already"):
        write_series(tmp_path / "a.h5", SERIES)
    write_series(tmp_path / "a.h5", SERIES.take([0]), overwrite=True)
    assert read_series(tmp_path / "a.h5").names == ("a",)


def test_series_that_could_not_be_read_again_are_not_written(tmp_path):
    y = SERIES.y.copy()
    y[:2, :, 1] = np.nan
    part = IrregularSeries(SERIES.t, y, SERIES.channels, SERIES.units, SERIES.names).take([0, 1])
    with pytest.raises(DataError, match="channel 'flöw' has no value in any series"):
        write_series(tmp_path / "a.h5", part)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_trajectories_is_read_as_series(tmp_path):
    y = _RNG.normal(size=(2, 5, 1))
    t = np.sort(_RNG.uniform(size=(2, 5)))
    made = Trajectories(t=t, y=y, columns=("x",), units=("m",), attrs={"system": "toy"}, sigma=np.ones_like(y))
    write_trajectories(tmp_path / "toy.h5", made)
    found = read_series(tmp_path / "toy.h5")
    np.testing.assert_array_equal(found.t, t)
    np.testing.assert_array_equal(found.y, y)
    assert (found.names, found.channels, found.units) == (("0", "1"), ("x",), ("m",))
    assert (found.attrs["system"], found.attrs["name"], found.attrs["source"]) == ("toy", "toy", "toy.h5")
    assert found.attrs["notes"] == ["left out, as series have no place for it: sigma"]


def test_trajectories_that_are_no_series_are_named(tmp_path):
    made = Trajectories(t=np.arange(3.0), y=np.full((1, 3, 1), np.nan), columns=("x",), units=("",))
    write_trajectories(tmp_path / "toy.h5", made)
    with pytest.raises(DataError, match=r"toy\.h5: series '0' has no value at all"):
        read_series(tmp_path / "toy.h5")


def _replace(name, values):
    def change(file):
        attrs = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(attrs)

    return change


def _attribute(name, value, *, at="/"):
    def change(file):
        file[at].attrs[name] = value

    return change


def _declare(file):
    del file["y"]
    file.create_dataset("y", shape=(2**40, 2**20, 2), dtype="f8", chunks=(1, 64, 2), compression="gzip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replace("t", np.zeros((3, 9))), r"/t and /y must be \(N, K\) and \(N, K, C\), they are \(3, 9\)"),
        (_replace("t", np.zeros((3, 10))), "series 'a', point 2, has the time 0.0 twice"),
        (_replace("t", -SERIES.t), "series 'a', point 2, has the time .* after"),
        (_replace("y", np.full((3, 10, 2), np.inf)), "the value is inf"),
        (_replace("y", np.full((3, 10, 2), np.nan)), "series 'a' has no value at all"),
        (_replace("y", np.zeros((3, 10, 2), dtype=complex)), "/y must hold numbers"),
        (_replace("y", np.zeros((3, 10, 2), dtype=np.float16)), "got an array of float16"),
        (_attribute("names", [b"a", b"a", b"b"], at="t"), "`names` must differ from each other"),
        (_attribute("channels", [b"a"], at="y"), "`channels` must have one entry for each of the 2"),
        (_attribute("statics", b'{"Age": [1]}'), "must be a list of 3 values"),
        (_attribute("json_attributes", "{"), "damaged"),
        (_attribute("schema_version", 9), "its schema_version is 9, this physode reads 1"),
        (_attribute("format", "netcdf"), "is HDF5 of netcdf; series are read from HDF5 of series or trajectories"),
        (lambda file: file.attrs.pop("format"), "is HDF5 of something else, or damaged; series are read from"),
        (lambda file: file.pop("t"), "no dataset /t"),
        (_declare, "but 0 are stored"),
    ],
)
def test_files_of_another_layout_are_described_in_one_line(tmp_path, whole, change, message):
    path = tmp_path / "series.h5"
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError, match=message) as caught:
        read_series(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_truncated_file_is_always_found(whole, spare, data):
    spare.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError):
        read_series(spare)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_flipped_bits_are_found_or_harmless(whole, spare, data):
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        damaged[place // 8] ^= 1 << place % 8
    spare.write_bytes(damaged)
    try:
        found = read_series(spare)
    except DataError:
        return
    np.testing.assert_array_equal(found.t, SERIES.t)
    np.testing.assert_array_equal(found.y, SERIES.y)
