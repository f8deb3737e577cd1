"""Files that are missing, foreign or damaged raise `DataError`, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets import Trajectories, read_trajectories, summarise, write_trajectories
from physode.errors import DataError

TRAJECTORIES = Trajectories(
    t=np.linspace(0.0, 1.0, 20),
    y=np.random.default_rng(0).normal(size=(3, 20, 2)),
    y_clean=np.random.default_rng(1).normal(size=(3, 20, 2)),
    sigma=np.random.default_rng(3).uniform(1, 2, size=(3, 20, 2)),
    params={"masses": np.random.default_rng(2).uniform(size=(3, 3))},
    columns=("a", "b"),
    units=("AU", "AU"),
    attrs={"rhs": {"masses": [1, 2, 3]}, "seed": 0, "created": "then", "command": "physode", "versions": {}},
)


@pytest.fixture(scope="module", params=[None, "gzip"])
def whole(request, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "data.h5"
    write_trajectories(path, TRAJECTORIES, compression=request.param)
    return path.read_bytes()


@pytest.fixture(scope="module")
def spare(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "data.h5"


def assert_found_or_harmless(path: Path) -> None:
    """A damaged byte is found, or was one that carries nothing."""
    for look in (read_trajectories, summarise):
        try:
            found = look(path)
        except DataError:
            continue
        if isinstance(found, Trajectories):
            np.testing.assert_array_equal(found.t, TRAJECTORIES.t)
            np.testing.assert_array_equal(found.y, TRAJECTORIES.y)
            np.testing.assert_array_equal(found.y_clean, TRAJECTORIES.y_clean)
            np.testing.assert_array_equal(found.sigma, TRAJECTORIES.sigma)
            np.testing.assert_array_equal(found.params["masses"], TRAJECTORIES.params["masses"])


@given(data=st.data())
@settings(max_examples=60)
def test_a_truncated_file_is_always_found(whole, spare, data):
    spare.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError):
        read_trajectories(spare)


@given(data=st.data())
@settings(max_examples=150)
def test_flipped_bits_are_found_or_harmless(whole, spare, data):
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        damaged[place // 8] ^= 1 << place % 8
    spare.write_bytes(damaged)
    assert_found_or_harmless(spare)


@given(data=st.data())
@settings(max_examples=60)
def test_overwritten_blocks_are_found_or_harmless(whole, spare, data):
    start = data.draw(st.integers(0, len(whole) - 1))
    block = data.draw(st.binary(min_size=1, max_size=512))
    spare.write_bytes((whole[:start] + block + whole[start + len(block) :])[: len(whole)])
    assert_found_or_harmless(spare)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "is empty"), (b"t,x\n0,1\n", "is not an HDF5 file")],
)
def test_what_is_no_hdf5_file_is_said(tmp_path, content, message):
    path = tmp_path / "data.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"data.h5 {message}"):
        read_trajectories(path)


def test_folders_and_pipes_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DataError, match="is not a file"):
            read_trajectories(path)


def _drop(name):
    def change(file):
        del file[name]

    return change


def _replace(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


def _attribute(name, value):
    def change(file):
        file.attrs[name] = value

    return change


def _declare(shape, **layout):
    def change(file):
        del file["y"]
        file.create_dataset("y", shape=shape, dtype="f8", **layout)

    return change


def _elsewhere(file):
    del file["y"]
    file.create_dataset("y", shape=(3, 20, 2), dtype="f8", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("t"), "no dataset /t"),
        (_drop("y"), "no dataset /y"),
        (_replace("params", np.zeros(3)), "/params must be a group"),
        (_replace("y", np.zeros((3, 20))), "`y` must have the shape"),
        (_replace("y", np.zeros((3, 21, 2))), "`y_clean` must have the shape of `y`"),
        (_replace("y", np.array([b"x", b"y"])), "/y must hold numbers"),
        (_replace("y", np.zeros((3, 20, 2), dtype=complex)), "/y must hold numbers"),
        (_replace("sigma", np.zeros((3, 20))), "`sigma` must have the shape of `y`"),
        (_replace("sigma", np.zeros((3, 20, 2))), "`sigma` must be above 0"),
        (_replace("t", np.zeros(20)), "rise or fall strictly"),
        (_replace("t", np.full(20, np.nan)), "`t` must be finite"),
        (_replace("params/masses", np.zeros(2)), "one entry for each of the 3"),
        (_attribute("format", "netcdf"), "not one of trajectories"),
        (_attribute("schema_version", 99), "schema_version is 99, this physode reads 1"),
        (_attribute("schema_version", "one"), "schema_version is 'one'"),
        (_attribute("json_attributes", "{"), "damaged"),
        (_attribute("json_attributes", '["gone"]'), "damaged"),
        (_declare((2**40, 2**20, 12), chunks=(1, 64, 12)), "but 0 are stored"),
        (_declare((2**40, 2**20, 12), chunks=(1, 64, 12), compression="gzip"), "but 0 are stored"),
        (_elsewhere, "/y is stored in other files"),
    ],
)
def test_files_of_another_layout_are_described(tmp_path, change, message):
    path = tmp_path / "data.h5"
    write_trajectories(path, TRAJECTORIES)
    with h5py.File(path, "r+") as file:
        change(file)
    for look in (read_trajectories, summarise):
        with pytest.raises(DataError, match=message) as caught:
            look(path)
        assert str(path) in str(caught.value)


def test_an_hdf5_file_of_something_else_is_told_from_a_damaged_one(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["image"] = np.zeros((4, 4))
    with pytest.raises(DataError, match="not one of trajectories"):
        read_trajectories(path)


def test_integers_and_foreign_byte_order_are_read_as_floats(tmp_path):
    path = tmp_path / "data.h5"
    write_trajectories(path, TRAJECTORIES)
    with h5py.File(path, "r+") as file:
        _replace("y", np.ones((3, 20, 2), dtype=">i4"))(file)
        _replace("t", np.arange(20, dtype=">f4"))(file)
    read = read_trajectories(path)
    assert read.y.dtype == read.t.dtype == np.dtype("=f8")
    assert (read.y == 1).all()


@pytest.mark.parametrize("value", ["null", "3", "true", '"words"', "[1, 2]", "{"])
@pytest.mark.parametrize("name", ["rhs", "notes", "param_units", "time_unit", "bodies"])
def test_attributes_of_a_kind_that_they_cannot_be_are_named(tmp_path, name, value):
    path = tmp_path / "data.h5"
    write_trajectories(path, TRAJECTORIES)
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
        names = sorted({"versions", "rhs", name})
        file.attrs["json_attributes"] = json.dumps(names)
    right = {"notes": "[1, 2]", "bodies": "[1, 2]", "time_unit": '"words"'}
    if right.get(name) == value:
        assert read_trajectories(path).attrs[name] in ([1, 2], "words")
        return
    for look in (read_trajectories, summarise):
        with pytest.raises(DataError) as caught:
            look(path)
        assert str(path) in str(caught.value)
        assert f"its attribute `{name}` must be" in str(caught.value) or "damaged" in str(caught.value)
        assert "\n" not in str(caught.value)
