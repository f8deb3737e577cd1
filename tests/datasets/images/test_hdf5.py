"""Files of images: what goes in comes out, whole or not at all, and damage is found."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets.images import Images, Skipped, write_images
from physode.datasets.images.hdf5 import read_hdf5
from physode.errors import DataError

_RNG = np.random.default_rng(0)
IMAGES = Images(
    x=_RNG.integers(0, 256, (7, 3, 5, 6), dtype=np.uint8),
    y=np.array([0, 1, 2, 0, 1, 2, 0]),
    classes=("cat", "dög", "in between"),
    test=np.array([False, True] * 3 + [False]),
    attrs={"name": "pets", "source": "the house", "counts": {"cat": 3}, "seed": 4},
    skipped=(Skipped("cat/1.jpg", "0 bytes"), Skipped("dog/\udce4.png", "truncated")),
    names=("cat/0.jpg", "dög/a b.png", "in between/\udce4.png", "c", "d", "e", "f" * 200),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "images.h5"
    write_images(path, IMAGES)
    return path.read_bytes()


@pytest.fixture(scope="module")
def spare(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "images.h5"


def test_images_come_back_as_they_were(tmp_path):
    write_images(tmp_path / "a.h5", IMAGES)
    read = read_hdf5(tmp_path / "a.h5")
    assert read.digest() == IMAGES.digest()
    assert (read.classes, read.skipped, read.names) == (IMAGES.classes, IMAGES.skipped, IMAGES.names)
    assert {name: read.attrs[name] for name in IMAGES.attrs} == IMAGES.attrs
    assert {"versions", "created", "command"} <= set(read.attrs)


def test_many_skipped_files_are_kept(tmp_path):
    skipped = tuple(Skipped(f"class/{i:06d}.jpg", "truncated") for i in range(5000))
    images = Images(IMAGES.x, IMAGES.y, IMAGES.classes, IMAGES.test, {}, skipped)
    write_images(tmp_path / "a.h5", images)
    assert read_hdf5(tmp_path / "a.h5").skipped == skipped


def test_a_file_reads_without_physode(tmp_path):
    write_images(tmp_path / "a.h5", IMAGES, params={"flux": (np.arange(7.0), "Jy", "its light")})
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["x"][2:4], IMAGES.x[2:4])
        assert [name.decode() for name in file["y"].attrs["classes"]] == list(IMAGES.classes)
        np.testing.assert_array_equal(file["test"][()], IMAGES.test)
        np.testing.assert_array_equal(file["params/flux"][()], np.arange(7.0))
        assert file["params/flux"].attrs["units"] == b"Jy"
        assert file["params/flux"].attrs["description"] == b"its light"


def test_a_file_of_images_and_labels_alone_is_enough(tmp_path):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file.attrs["format"] = "physode-images"
        file.attrs["schema_version"] = 1
        file["x"] = IMAGES.x
        file["y"] = IMAGES.y.astype(">i2")
    read = read_hdf5(tmp_path / "mine.h5")
    np.testing.assert_array_equal(read.y, IMAGES.y)
    assert read.classes == ("0", "1", "2")
    assert not read.test.any()
    assert read.attrs["name"] == "mine"


def test_a_file_in_the_way_is_left_alone_unless_it_may_be_replaced(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("precious")
    with pytest.raises(DataError, match="exists already"):
        write_images(path, IMAGES)
    assert path.read_text() == "precious"
    write_images(path, IMAGES, overwrite=True)
    assert read_hdf5(path).digest() == IMAGES.digest()
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(
    ("images", "params", "message"),
    [
        (IMAGES.take(np.array([], dtype=int)), {}, "at least one image"),
        (Images(IMAGES.x, IMAGES.y, IMAGES.classes, IMAGES.test, {"skipped": 1}), {}, "uses itself"),
        (IMAGES, {"a/b": (np.zeros(7), "", "")}, "words for names, got 'a/b'"),
        (IMAGES, {"a": (np.zeros(6), "", "")}, r"numbers \(7, ...\), got float64 \(6,\)"),
        (IMAGES, {"a": (np.array(["x"] * 7), "", "")}, r"numbers \(7, ...\), got <U1"),
    ],
)
def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path, images, params, message):
    with pytest.raises(DataError, match=message):
        write_images(tmp_path / "a.h5", images, params=params)
    assert list(tmp_path.iterdir()) == []


@given(data=st.data())
@settings(max_examples=40)
def test_a_truncated_file_is_always_found(whole, spare, data):
    spare.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError):
        read_hdf5(spare)


@given(data=st.data())
@settings(max_examples=100)
def test_flipped_bits_are_found_or_harmless(whole, spare, data):
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        damaged[place // 8] ^= 1 << place % 8
    spare.write_bytes(damaged)
    try:
        read = read_hdf5(spare)
    except DataError:
        return
    assert read.digest() == IMAGES.digest()


def _replace(name, values):
    def change(file):
        del file[name]
        if values is not None:
            file[name] = values

    return change


def _relabel(label):
    def change(file):
        file["y"][0] = label

    return change


def _declare(file):
    del file["x"]
    file.create_dataset("x", shape=(2**30, 3, 64, 64), dtype="u1", chunks=(1, 3, 64, 64), compression="gzip")


def _attribute(name, value):
    def change(file):
        file.attrs[name] = value

    return change


def _unnamed(file):
    del file["y"].attrs["classes"]
    file["y"][0] = 2**40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replace("x", None), "no dataset /x"),
        (_replace("y", None), "no dataset /y"),
        (_replace("x", np.zeros((7, 3, 5, 6))), "/x must be bytes"),
        (_replace("x", np.zeros((7, 5, 6, 3), dtype=np.uint8)), "/x must be bytes"),
        (_replace("x", np.zeros((7, 3, 0, 6), dtype=np.uint8)), "/x must be bytes"),
        (_replace("y", np.zeros(6, dtype=int)), r"/y must be integers \(7,\)"),
        (_replace("y", np.zeros(7)), r"/y must be integers \(7,\)"),
        (_replace("test", np.zeros(7)), r"/test must be integers \(7,\)"),
        (_relabel(9), "`y` must be from 0 to 2, got 0 to 9"),
        (_relabel(-1), "`y` must be from 0 to 2, got -1 to 2"),
        (_unnamed, "has the label 1099511627776"),
        (_declare, "but 0 are stored"),
        (_attribute("format", "physode-trajectories"), "not one of images"),
        (_attribute("schema_version", 2), "this physode reads 1"),
        (_attribute("skipped", "[1]"), "damaged"),
    ],
)
def test_files_of_another_layout_are_described(tmp_path, change, message):
    path = tmp_path / "a.h5"
    write_images(path, IMAGES)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError, match=message) as caught:
        read_hdf5(path)
    assert str(path) in str(caught.value)
