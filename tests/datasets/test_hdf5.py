"""Trajectory files: what goes in comes out, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from physode.datasets import SCHEMA_VERSION, Trajectories, read_trajectories, write_trajectories
from physode.datasets.atomic_write import replacing
from physode.datasets.hdf5_file import chunk_shape
from physode.datasets.images import read_images
from physode.datasets.series import read_series
from physode.errors import DataError

ROOT = Path(__file__).parents[2]


def make(**changes) -> Trajectories:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(4, 30, 2))
    values = {
        "t": np.linspace(0.0, 1.0, 30),
        "y": clean + 0.1,
        "y_clean": clean,
        "params": {"masses": rng.uniform(size=(4, 3)), "index": np.arange(4)},
        "columns": ("position", "velocity"),
        "units": ("AU", "AU/yr"),
        "attrs": {"system": "oscillator", "seed": 7, "time_unit": "yr", "param_units": {"masses": "Msun"}},
        "sigma": np.full(clean.shape, 0.1),
    }
    return Trajectories(**{**values, **changes})


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "data.h5"


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_what_is_written_is_read(path, compression):
    write_trajectories(path, make(), compression=compression)
    read, made = read_trajectories(path), make()
    for name in ("t", "y", "y_clean", "sigma"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name), strict=True)
    assert read.params.keys() == made.params.keys()
    for name, values in made.params.items():
        np.testing.assert_array_equal(read.params[name], values, strict=True)
    assert (read.columns, read.units) == (made.columns, made.units)
    assert read.attrs.items() >= made.attrs.items()


def test_single_precision_stays_single(path):
    write_trajectories(path, make(y=make().y.astype(np.float32), y_clean=None, sigma=None))
    read = read_trajectories(path)
    assert read.y.dtype == np.float32
    assert read.y_clean is None
    assert read.sigma is None


def test_deviations_that_are_unknown_stay_so(path):
    sigma = np.full((4, 30, 2), np.nan)
    sigma[..., 0] = 0.5
    write_trajectories(path, make(sigma=sigma))
    np.testing.assert_array_equal(read_trajectories(path).sigma, sigma)


def test_whole_numbers_are_deviations_too(path):
    write_trajectories(path, make(sigma=None))
    with h5py.File(path, "r+") as file:
        file["sigma"] = np.ones((4, 30, 2), dtype=int)
    assert read_trajectories(path).sigma.dtype == np.float64


def test_each_trajectory_may_have_its_own_falling_times_and_missing_values(path):
    y = make().y
    y[1, 2, 0] = np.nan
    t = -np.linspace(0, 1, 30) * np.arange(1.0, 5.0)[:, None]
    write_trajectories(path, make(t=t, y=y))
    np.testing.assert_array_equal(read_trajectories(path).t, t)
    np.testing.assert_array_equal(read_trajectories(path).y, y)


@pytest.mark.parametrize(
    "value",
    [
        True,
        3,
        2**70,
        1e-9,
        "text with ünïcode and a\nnew line",
        "nul \0 inside",
        "odd byte \udcff of a file name",
        "",
        None,
        ["a", 1, None],
        {"masses": [1.0, 2.0], "nested": {"deep": True}},
        "x" * 100_000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_attributes_keep_value_and_type(path, value):
    write_trajectories(path, make(attrs={"thing": value}))
    read = read_trajectories(path).attrs["thing"]
    assert read == value
    assert type(read) is type(value)


def test_numpy_values_are_attributes_too(path):
    attrs = {"array": np.arange(20_000.0), "scalar": np.float32(0.5), "nested": {"row": np.arange(3)}}
    write_trajectories(path, make(attrs=attrs))
    read = read_trajectories(path).attrs
    np.testing.assert_array_equal(read["array"], attrs["array"])
    assert read["scalar"] == 0.5
    assert read["nested"] == {"row": [0, 1, 2]}


@pytest.mark.parametrize("attrs", [{"f": object()}, {"schema_version": 9}, {1: "x"}, {"": 1}, {"z": 1j}])
def test_attributes_that_cannot_be_stored_are_refused_before_a_file_is_made(path, attrs):
    with pytest.raises(DataError, match="attrs"):
        write_trajectories(path, make(attrs=attrs))
    assert list(path.parent.iterdir()) == []


def test_provenance_is_stored_and_what_the_caller_says_wins(path):
    write_trajectories(path, make(attrs={"command": "mine"}))
    attrs = read_trajectories(path).attrs
    assert attrs["command"] == "mine"
    assert attrs["versions"]["h5py"] == h5py.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", attrs["created"])


def test_every_dataset_names_its_units_axes_and_meaning(path):
    write_trajectories(path, make())
    with h5py.File(path) as file:
        datasets = [file[name] for name in ("t", "y", "y_clean", "sigma", "params/masses", "params/index")]
        for dataset in datasets:
            assert {"units", "axes", "description"} <= dataset.attrs.keys()
            assert dataset.fletcher32
        assert file["t"].attrs["units"] == b"yr"
        assert list(file["y"].attrs["columns"]) == [b"position", b"velocity"]
        assert file["params/masses"].attrs["units"] == b"Msun"
        assert file.attrs["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((10, 5, 2), (10, 5, 2)), ((1000, 100, 12), (109, 100, 12)), ((3, 10**6, 12), (1, 10922, 12)), ((7,), (7,))],
)
def test_chunks_hold_whole_trajectories_of_about_a_mebibyte(shape, expected):
    assert chunk_shape(shape, 8) == expected


def test_an_existing_file_is_kept_unless_told_otherwise(path):
    write_trajectories(path, make())
    before = path.read_bytes()
    with pytest.raises(DataError, match="exists already"):
        write_trajectories(path, make())
    assert path.read_bytes() == before
    write_trajectories(path, make(y_clean=None), overwrite=True)
    assert read_trajectories(path).y_clean is None


def test_a_folder_that_is_missing_or_in_the_way_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        write_trajectories(tmp_path / "nowhere" / "data.h5", make())
    with pytest.raises(DataError, match="is a folder"):
        write_trajectories(tmp_path, make(), overwrite=True)


def test_an_error_while_writing_leaves_the_old_file_and_no_other(path):
    path.write_text("old")

    def write() -> None:
        with replacing(path, overwrite=True) as part:
            part.write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        write()
    assert [entry.name for entry in path.parent.iterdir()] == ["data.h5"]
    assert path.read_text() == "old"


def test_a_kill_while_writing_leaves_nothing_under_the_final_name(path):
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from physode.datasets import atomic_write, write_trajectories
from test_hdf5 import make

def stall(path):
    print("ready", flush=True)
    time.sleep(600)

atomic_write._sync = stall  # the file is written, and not yet renamed
write_trajectories({str(path)!r}, make())
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert not path.exists()
    write_trajectories(path, make())
    assert len(read_trajectories(path)) == 4


@pytest.mark.skipif(os.name != "posix", reason="umask is a notion of POSIX")
def test_files_get_the_permissions_of_any_new_file(path):
    before = os.umask(0o022)
    try:
        write_trajectories(path, make())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_examples_of_the_documentation_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_trajectories("threebody.h5", make(attrs={"rhs": {"masses": [1.0]}}))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
    assert len(blocks) == 7
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["rhs"] == {"masses": [1.0]}
    assert names["columns"] == ["position", "velocity"]
    assert read_trajectories("copy.h5").columns == ("y1", "y2")
    assert names["series"].attrs["statics"] == {"age": [40.0, 50.0]}
    assert names["table"].column("infected").tolist() == [1.5, 12.25]
    assert read_images("my-images.h5").counts() == (2, 2)
    assert read_series("my-series.h5").points.tolist() == [3, 2]


def test_the_json_list_names_the_attributes_in_json(path):
    write_trajectories(path, make(attrs={"rhs": {"a": 1}, "seed": 3}))
    with h5py.File(path) as file:
        assert set(json.loads(file.attrs["json_attributes"])) == {"rhs", "versions"}
