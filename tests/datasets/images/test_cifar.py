"""CIFAR-10 and CIFAR-100 in the binary version."""

from __future__ import annotations

import pickle
import tarfile

import numpy as np
import pytest

from physode.datasets.images import kind_of_images, read_images
from physode.errors import DataError

BATCHES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_cifar10(folder, rng, *, records=3):
    """Write batches of few records, and return their labels and pixels."""
    folder.mkdir()
    labels = rng.integers(0, 10, size=(6, records), dtype=np.uint8)
    pixels = rng.integers(0, 256, size=(6, records, 3, 32, 32), dtype=np.uint8)
    for name, y, x in zip(BATCHES, labels, pixels, strict=True):
        (folder / name).write_bytes(np.concatenate([y[:, None], x.reshape(records, -1)], axis=1).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return labels, pixels


def packed(folder, path):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname="cifar-10-batches-bin")
    return path


@pytest.fixture
def folder(tmp_path, rng):
    write_cifar10(tmp_path / "cifar-10-batches-bin", rng)
    return tmp_path / "cifar-10-batches-bin"


def test_batches_are_read_in_order_with_the_test_batch_set_aside(tmp_path, rng):
    labels, pixels = write_cifar10(tmp_path / "data", rng)
    images = read_images(tmp_path / "data")
    np.testing.assert_array_equal(images.x, pixels.reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(images.y, labels.reshape(-1))
    assert images.test.tolist() == [False] * 15 + [True] * 3
    assert images.classes == tuple(NAMES)
    assert images.attrs["name"] == "cifar10"


def test_the_archive_as_published_and_a_folder_around_the_batches_are_the_same(folder):
    archive = packed(folder, folder.parent / "cifar-10-binary.tar.gz")
    assert kind_of_images(archive) == "cifar10"
    assert read_images(archive).digest() == read_images(folder).digest()
    archive.rename(folder / "unrelated")
    assert read_images(folder.parent).digest() == read_images(folder).digest()


def test_fine_labels_of_CIFAR_100_are_read(tmp_path, rng):
    coarse, fine = rng.integers(0, 20, size=4), np.array([0, 99, 7, 42])
    pixels = rng.integers(0, 256, size=(4, 3072))
    data = np.concatenate([coarse[:, None], fine[:, None], pixels], axis=1).astype(np.uint8)
    (tmp_path / "train.bin").write_bytes(data[:3].tobytes())
    (tmp_path / "test.bin").write_bytes(data[3:].tobytes())
    images = read_images(tmp_path)
    assert images.attrs["name"] == "cifar100"
    assert images.y.tolist() == fine.tolist()
    assert images.test.tolist() == [False, False, False, True]
    assert images.classes == tuple(map(str, range(100)))
    np.testing.assert_array_equal(images.x.reshape(4, -1), pixels)
    words = [f"thing {number}" for number in range(100)]
    (tmp_path / "fine_label_names.txt").write_text("\n".join(words))
    assert read_images(tmp_path).classes == tuple(words)


def test_names_are_known_where_their_file_is_missing(folder):
    (folder / "batches.meta.txt").unlink()
    assert read_images(folder).classes == tuple(NAMES)


def test_another_size_is_scaled_to(folder):
    assert read_images(folder, size=16).x.shape == (18, 3, 16, 16)


def test_missing_batches_are_named(folder):
    (folder / "data_batch_2.bin").unlink()
    (folder / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_2.bin, test_batch.bin of CIFAR-10; get the whole archive"):
        read_images(folder)


@pytest.mark.parametrize("size", [0, 3072, 3 * 3073 - 1, 10_001 * 3073])
def test_batches_that_are_not_whole_records_are_refused(folder, size):
    with (folder / "data_batch_4.bin").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(DataError, match=f"data_batch_4.bin has {size} bytes, which are not 1 to 10000 records of 3073"):
        read_images(folder)


def test_a_label_without_a_class_is_refused(folder):
    (folder / "data_batch_1.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(DataError, match=r"data_batch_1.bin has the label 10, but CIFAR-10 has 10 classes"):
        read_images(folder)


class _Program:
    """Pickled, it writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("names", [("data_batch_1", "test_batch", "batches.meta"), ("train", "test", "meta")])
def test_the_pickled_version_is_refused_and_nothing_in_it_is_run(tmp_path, names):
    folder = tmp_path / "cifar-python"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(pickle.dumps(_Program(tmp_path / "ran")))
    for source in (folder, packed(folder, tmp_path / "cifar-10-python.tar.gz")):
        with pytest.raises(DataError, match=r"is the pickled version of CIFAR, .* get the binary version"):
            read_images(source)
    assert not (tmp_path / "ran").exists()
