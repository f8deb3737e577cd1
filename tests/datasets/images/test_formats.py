"""Images of any source are told apart by what is in it."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
from PIL import Image

from physode.datasets.images import Images, kind_of_images, read_images, write_images
from physode.datasets.images.containers import LARGEST_FILE
from physode.errors import DataError

_X = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
_Y = np.array([0, 1, 1, 0])


@pytest.fixture(autouse=True)
def _no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _npz(path):
    np.savez(path / "a.npz", x_train=_X, y_train=_Y)
    return path / "a.npz"


def _hdf5(path):
    images = Images(np.ascontiguousarray(_X.transpose(0, 3, 1, 2)), _Y, ("0", "1"), np.zeros(4, bool))
    write_images(path / "without_an_ending", images)
    return path / "without_an_ending"


def _folder(path):
    for place, label in enumerate(_Y):
        (path / "pets" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(_X[place]).save(path / "pets" / str(label) / f"{place}.png")
    return path / "pets"


def _archive(path):
    with tarfile.open(path / "pets.tar.xz", "w:xz") as archive:
        archive.add(_folder(path), "pets")
    return path / "pets.tar.xz"


def _cifar(path):
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (path / name).write_bytes(bytes(3073))
    return path


SOURCES = {_npz: "npz", _hdf5: "hdf5", _folder: "folder", _archive: "folder", _cifar: "cifar10"}


@pytest.mark.parametrize(("make", "kind"), SOURCES.items())
def test_the_kind_is_found_or_may_be_said(tmp_path, make, kind):
    path = make(tmp_path)
    assert kind_of_images(path) == kind
    assert read_images(path, size=12).digest() == read_images(str(path), kind=kind, size=12).digest()


@pytest.mark.parametrize("make", [_npz, _hdf5, _folder, _archive])
def test_the_same_images_from_any_source_are_the_same_at_any_size(tmp_path, make):
    images = read_images(make(tmp_path), size=5)
    reference = read_images(_npz(tmp_path), size=5)
    order = np.argsort(reference.y, kind="stable")  # that of folders
    np.testing.assert_array_equal(images.x[np.argsort(images.y, kind="stable")], reference.x[order])
    assert images.classes == ("0", "1")


@pytest.mark.parametrize("make", [_npz, _hdf5])
def test_pixels_that_are_stored_come_as_they_are_unless_a_size_is_asked_for(tmp_path, make):
    np.testing.assert_array_equal(read_images(make(tmp_path)).x, _X.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "`size` must be from 1 to 2048 pixels, got 0"),
        ({"workers": 0}, "`workers` must be at least 1, got 0"),
        ({"kind": "jpeg"}, "`kind` must be one of cifar10, cifar100, folder, galaxy-zoo, hdf5, npz, got 'jpeg'"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        read_images(_npz(tmp_path), **arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"words", "is nothing that images are read from; that is .* HDF5 of physode, or .npz"),
        (b"\x89HDF\r\n\x1a\n cut", "is not an HDF5 file|damaged or incomplete"),
        (b"PK\x03\x04 cut", "nothing that images are read from"),
    ],
)
def test_what_is_no_source_of_images_is_one_line(tmp_path, content, message):
    path = tmp_path / "some.h5" if content and content.startswith(b"\x89") else tmp_path / "some"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_images(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["cifar10", "folder", "galaxy-zoo", "hdf5"])
def test_a_kind_that_the_source_is_not_is_one_line(tmp_path, kind):
    with pytest.raises(DataError) as caught:
        read_images(_npz(tmp_path), kind=kind)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_largest_file_of_CIFAR_100_can_be_read():
    assert LARGEST_FILE > 50_000 * (2 + 3 * 32 * 32)
