"""HDF5 files show their own numbers only, and ask for no more than they can hold, whatever links they have."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from physode.datasets import Trajectories, read_trajectories, summarise, summarise_data, write_trajectories
from physode.datasets.formats import format_of
from physode.datasets.images import Images, read_images, write_images
from physode.datasets.images.hdf5 import summarise_image_file
from physode.datasets.series import IrregularSeries, read_series
from physode.datasets.series.hdf5 import write_series
from physode.errors import DataError

TRAJECTORIES = Trajectories(
    t=np.linspace(0.0, 1.0, 20),
    y=np.random.default_rng(0).normal(size=(3, 20, 2)),
    params={"mass": np.ones(3)},
    columns=("a", "b"),
    units=("", ""),
)
READERS = {
    "trajectories": (read_trajectories, summarise),
    "images": (read_images, summarise_image_file),
    "series": (read_series, summarise_data),
}


def written(kind, path):
    if kind == "trajectories":
        write_trajectories(path, TRAJECTORIES)
    elif kind == "images":
        images = Images(
            x=np.ones((4, 3, 2, 2), dtype=np.uint8), y=np.arange(4) % 2, classes=("a", "b"), test=np.arange(4) < 1
        )
        write_images(path, images, params={"mass": (np.ones(4), "", "")})
    else:
        write_series(path, IrregularSeries.of(TRAJECTORIES))
    return path


@pytest.fixture(params=READERS)
def file(request, tmp_path):
    """A file of each layout, with its readers, and another of the same beside it."""
    written(request.param, tmp_path / "other.h5")
    readers = READERS[request.param]
    if request.param == "series":
        readers = (read_series, lambda path: summarise_data([path]))
    return written(request.param, tmp_path / "data.h5"), readers


def linked(path, name, link):
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        file[name] = link


def assert_refused(path, readers, message):
    for look in readers:
        with pytest.raises(DataError, match=message) as caught:
            look(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["other.h5", "pipe", "/dev/zero", "nothing.h5"])
@pytest.mark.parametrize("name", ["y", "params", "beside/it"])
def test_links_to_other_files_are_never_followed(file, tmp_path, target, name):
    path, readers = file
    os.mkfifo(tmp_path / "pipe")  # a reader would wait here for ever
    linked(path, name, h5py.ExternalLink(target, "/y"))
    assert_refused(path, readers, f"/{name} is a link to another file, and not followed; copy what is there into this")


def test_a_link_to_a_link_to_another_file_is_not_followed(file):
    path, readers = file
    linked(path, "beside", h5py.ExternalLink("other.h5", "/y"))
    linked(path, "y", h5py.SoftLink("/beside"))
    assert_refused(path, readers, "/beside is a link to another file")


@pytest.mark.parametrize("target", ["/nothing", "/y", "/params/nothing"])
def test_links_to_nothing_and_in_a_circle_are_named(file, target):
    path, readers = file
    linked(path, "y", h5py.SoftLink(target))
    assert_refused(path, readers, f"/y is a link to {target}, which leads to nothing; remove it")


def test_links_inside_a_file_are_followed(tmp_path):
    path = written("trajectories", tmp_path / "data.h5")
    with h5py.File(path, "r+") as file:
        file.move("y", "kept")
        file["y"] = h5py.SoftLink("/kept")
    np.testing.assert_array_equal(read_trajectories(path).y, TRAJECTORIES.y)


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}])
@pytest.mark.parametrize("layout", ["trajectories", "images"])
def test_many_names_of_one_parameter_ask_for_no_more_than_the_file_can_hold(tmp_path, kind, options, layout):
    path = written(layout, tmp_path / "data.h5")
    count = {"trajectories": 3, "images": 4}[layout]
    with h5py.File(path, "r+") as file:
        values = np.random.default_rng(0).uniform(size=(count, 20_000))
        file.create_dataset("params/large", data=values, chunks=values.shape, **options)
        for i in range(300):
            file[f"params/p{i}"] = file["params/large"] if kind == "hard" else h5py.SoftLink("/params/large")
    looks = READERS[layout] if layout == "trajectories" else READERS[layout][1:]
    assert_refused(
        path, looks, r"its datasets take \d+ bytes, but it has \d+; it is damaged, or several names lead to one"
    )


def test_a_group_that_holds_itself_is_one_error(tmp_path):
    path = written("trajectories", tmp_path / "data.h5")
    with h5py.File(path, "r+") as file:
        file["params/again"] = file["params"]
    assert_refused(path, READERS["trajectories"], "no dataset /params/again")


@pytest.mark.parametrize(
    "read", [read_trajectories, read_images, read_series, format_of, lambda path: summarise_data([path])]
)
@pytest.mark.parametrize("name", ["pipe", "pipe.h5", "pipe.csv", "pipe.npz", "pipe.zip"])
def test_a_pipe_is_refused_before_it_is_opened(tmp_path, read, name):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(DataError, match=f"{name} is not a file"):
        read(path)
