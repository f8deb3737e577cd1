"""Images in .npz files."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets.images.npz import read_npz
from physode.errors import DataError

_RNG = np.random.default_rng(0)
TRAIN = _RNG.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
TEST = _RNG.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
ARRAYS = {
    "x_train": TRAIN,
    "y_train": np.array([0, 1, 2, 1, 0], dtype=np.uint8),
    "x_test": TEST,
    "y_test": np.array([2, 0], dtype=np.int32),
    "label_names": np.array(["cat", "dög", "owl"]),
}


def saved(path, *, save=np.savez, without=(), **changed):
    save(path, **{name: values for name, values in {**ARRAYS, **changed}.items() if name not in without})
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_labels_names_and_split_are_read(tmp_path, save):
    images = read_npz(saved(tmp_path / "pets.npz", save=save))
    np.testing.assert_array_equal(images.x, np.concatenate([TRAIN, TEST]).transpose(0, 3, 1, 2))
    assert images.y.tolist() == [0, 1, 2, 1, 0, 2, 0]
    assert images.test.tolist() == [False] * 5 + [True] * 2
    assert images.classes == ("cat", "dög", "owl")
    assert images.attrs["name"] == "pets"


def test_without_test_images_and_names_labels_are_the_names(tmp_path):
    images = read_npz(saved(tmp_path / "a.npz", without=("x_test", "y_test", "label_names")))
    assert not images.test.any()
    assert images.classes == ("0", "1", "2")


@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 4, 6, 1)])
def test_grey_images_have_three_equal_colours(tmp_path, shape):
    grey = TRAIN[..., 0].reshape(shape)
    images = read_npz(saved(tmp_path / "a.npz", x_train=grey, without=("x_test", "y_test")))
    for colour in range(3):
        np.testing.assert_array_equal(images.x[:, colour], TRAIN[..., 0])


def test_labels_in_a_column_and_arrays_in_the_order_of_Fortran_are_read(tmp_path):
    changed = {"y_train": ARRAYS["y_train"][:, None], "x_train": np.asfortranarray(TRAIN)}
    images = read_npz(saved(tmp_path / "a.npz", **changed))
    assert images.y[:5].tolist() == [0, 1, 2, 1, 0]
    np.testing.assert_array_equal(images.x[:5], TRAIN.transpose(0, 3, 1, 2))


def test_names_as_bytes_are_read(tmp_path):
    names = np.array(["cat", "dog", "owl"], dtype="S3")
    assert read_npz(saved(tmp_path / "a.npz", label_names=names)).classes == ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("without", "changed", "message"),
    [
        (("x_train",), {}, "images need x_train and y_train"),
        (("y_train",), {}, "images need x_train and y_train"),
        (("y_test",), {}, "one of x_test and y_test"),
        (("x_test",), {}, "one of x_test and y_test"),
        ((), {"x_train": TRAIN.astype(float)}, r"x_train must be uint8 .* got float64 \(5, 4, 6, 3\)"),
        ((), {"x_train": TRAIN.transpose(0, 3, 1, 2)}, "x_train must be uint8"),
        ((), {"x_test": TEST[:, :3]}, r"x_train has images of \(4, 6\) pixels, x_test of \(3, 6\)"),
        ((), {"y_train": np.zeros(4, int)}, r"y_train must be whole numbers \(5,\), got int64 \(4,\)"),
        ((), {"y_train": np.zeros(5)}, "y_train must be whole numbers"),
        ((), {"y_train": np.full(5, -1)}, "y_train must be from 0 on, one number a class, got -1"),
        ((), {"y_train": np.full(5, 2**63, np.uint64)}, "y_train must be from 0 on"),
        ((), {"y_train": np.full(5, 3)}, "label_names has 3 names, but the labels go up to 3"),
        ((), {"label_names": np.arange(3)}, "label_names must be text"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, without, changed, message):
    path = saved(tmp_path / "a.npz", without=without, **changed)
    with pytest.raises(DataError, match=message) as caught:
        read_npz(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    path = saved(tmp_path / "a.npz", label_names=np.array([_Trap()] * 3, dtype=object))
    with pytest.raises(DataError, match=r"label_names holds Python objects .*never read"):
        read_npz(path)


def test_an_array_that_declares_more_than_is_stored_sets_no_memory_aside(tmp_path):
    header = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 1024, 1024, 3)}
    np.lib.format.write_array_header_1_0(header, fields)
    path = saved(tmp_path / "a.npz", without=("x_train",))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", header.getvalue() + bytes(100))
    with pytest.raises(DataError, match=r"x_train declares the shape .* bytes, but \d+ are stored"):
        read_npz(path)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "does not exist"), (b"", "is empty"), (b"no zip", "is damaged or no NumPy archive")]
)
def test_what_is_no_npz_is_said(tmp_path, content, message):
    path = tmp_path / "a.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_npz(path)


@given(data=st.data())
@settings(max_examples=100)
def test_damage_is_found_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    damaged = bytearray(saved(folder / "damaged.npz").read_bytes())
    for place in data.draw(st.lists(st.integers(0, 8 * len(damaged) - 1), min_size=1, max_size=4)):
        damaged[place // 8] ^= 1 << place % 8
    (folder / "damaged.npz").write_bytes(damaged)
    try:
        images = read_npz(folder / "damaged.npz")
    except DataError:
        return
    np.testing.assert_array_equal(images.x[:5], TRAIN.transpose(0, 3, 1, 2))


HEADER = b"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 6, 3), }"


def with_header(path, header, version=b"\x01\x00"):
    """Images whose array has a header of any bytes, with checksums that are right."""
    saved(path)
    size = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members["x_train.npy"] = b"\x93NUMPY" + version + size + header + TRAIN.tobytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x00\x00"])
def test_a_header_with_flipped_bits_is_one_error_or_read(tmp_path, version):
    path = tmp_path / "a.npz"
    refused = 0
    for bit in map(int, np.random.default_rng(0).integers(8 * len(HEADER), size=100)):
        header = bytearray(HEADER)
        header[bit // 8] ^= 1 << bit % 8
        with_header(path, bytes(header), version)
        try:
            read_npz(path)
        except DataError as error:
            assert str(error).startswith(f"{path}")  # noqa: PT017 - refused, or read: both are right
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused > 60


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"(" * 5000,
        b"{" * 300 + b"}" * 300,
        b"-" * 9000 + b"1",
        b"\x00" * 50,
        b"\xff" * 50,
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (5, -4, 6, 3), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (10**30,), }",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1" + b"0" * 60 + b",), }",
        b"{'descr': '|u1', 'fortran_order': 3, 'shape': (5, 4, 6, 3), }",
        b"{'descr': ['x'], 'fortran_order': False, 'shape': (5, 4, 6, 3), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (5,), }",
        b"'" * 3,
        b"{'a':\n 1}",
    ],
    ids=lambda header: str(header[:30]),
)
def test_any_header_is_one_error(tmp_path, header):
    path = tmp_path / "a.npz"
    with_header(path, header)
    with pytest.raises(DataError) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)
