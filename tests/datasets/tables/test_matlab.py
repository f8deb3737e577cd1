"""MATLAB's files, of version 5 and 7.3, are read as tables of numbers, and nothing else."""

from __future__ import annotations

import zlib

import h5py
import numpy as np
import pytest
import scipy.io

from physode.datasets import read_data, summarise_data
from physode.datasets.table import TableOptions, read_header, read_table
from physode.errors import DataError

T = np.linspace(0.0, 1.0, 5)
X = np.arange(10.0).reshape(5, 2) / 3


def save_5(path, **variables):
    scipy.io.savemat(path, variables, do_compression=True)


def save_7_3(path, **variables):
    """Write HDF5 as MATLAB does: behind 512 bytes that say so, arrays transposed, structs as groups."""
    classes = {"f": "double", "i": "int64", "u": "uint16", "b": "logical"}
    with h5py.File(path, "w", userblock_size=512) as file:

        def put(group, name, value):
            if isinstance(value, dict):
                inner = group.create_group(name)
                inner.attrs["MATLAB_class"] = np.bytes_("struct")
                for each, part in value.items():
                    put(inner, each, part)
            elif isinstance(value, str):
                dataset = group.create_dataset(name, data=np.array([[ord(c)] for c in value], np.uint16))
                dataset.attrs["MATLAB_class"] = np.bytes_("char")
            else:
                array = np.atleast_2d(np.asarray(value))
                dataset = group.create_dataset(
                    name, data=array.T.astype(np.uint8 if array.dtype == bool else array.dtype)
                )
                dataset.attrs["MATLAB_class"] = np.bytes_(classes[array.dtype.kind])

        for name, value in variables.items():
            put(file, name, value)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Sun Mar  1 12:00:00 2020 HDF5 schema 1.00 .")


def refusal(path):
    """Return what is said against a file; nothing where it is read."""
    try:
        read_table(path)
    except DataError as error:
        return str(error)
    return ""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.mat"


@pytest.fixture(params=[save_5, save_7_3], ids=["5", "7.3"])
def save(request, path):
    def saver(**variables):
        request.param(path, **variables)
        return path

    return saver


def column(values):
    return np.reshape(values, (-1, 1))


def test_vectors_and_matrices_are_columns(save):
    table = read_table(save(t=column(T), x=X, y=T[None] ** 2))
    assert set(table.names) == {"t", "x_1", "x_2", "y"}
    np.testing.assert_array_equal(table.numbers["t"], T)
    np.testing.assert_array_equal(np.stack([table.numbers["x_1"], table.numbers["x_2"]], 1), X)
    np.testing.assert_array_equal(table.numbers["y"], T**2)
    assert table.lines.tolist() == [1, 2, 3, 4, 5]
    assert table.understood == "variables t, x, y"
    assert set(read_header(save(t=column(T), x=X))) == {"t", "x_1", "x_2"}


def test_a_struct_has_columns_by_its_fields_names(save):
    table = read_table(save(data={"time": column(T), "v": column(np.arange(5)), "label": "run one"}))
    assert set(table.names) == {"time", "v"}
    assert table.numbers["v"].tolist() == [0, 1, 2, 3, 4]


def test_single_numbers_and_text_are_left_out_and_matrices_are_turned(save):
    table = read_table(save(t=column(T), x=X.T, fs=100.0, name="text"))
    np.testing.assert_array_equal(table.numbers["x_2"], X[:, 1])
    assert "fs" not in table.names
    assert table.understood.startswith("variables ")
    assert table.understood.endswith(", single numbers left out: fs")


def test_variables_are_chosen(save):
    path = save(t=column(T), x=column(T), other=column(np.arange(3.0)), run={"t": column(T), "x": column(T + 1)})
    with pytest.raises(DataError, match=r"other has 3 values, .* 5; say which belong together: --variable NAME"):
        read_table(path)
    assert read_table(path, options=TableOptions(variable="run")).numbers["x"].tolist() == (T + 1).tolist()
    table = read_table(path, options=TableOptions(variable=("t", "x")))
    assert set(table.names) == {"t", "x"}
    with pytest.raises(DataError, match="the variable z is not in it; those that hold numbers are"):
        read_table(path, options=TableOptions(variable="z"))


def test_whole_numbers_and_truth_values_are_numbers(save):
    table = read_table(save(t=column(np.arange(3)), x=column(np.array([1, 2, 3], np.uint16)), y=column(T[:3] > 0.2)))
    assert table.numbers["x"].tolist() == [1, 2, 3]
    assert table.numbers["y"].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"name": "text"}, "it holds no array or struct of numbers"),
        ({"t": column(T), "x": X[:3]}, "x is 3 x 2, the others have 5 rows"),
        ({"t": column(T), "x": np.eye(5)}, "x is 5 x 5: whether rows or columns are times cannot be told"),
        ({"t": column(T), "T": column(T)}, "the header names .* twice"),
        ({"t": column(T), "x": column(np.array([0, np.inf, 1, 2, 3]))}, "row 2, column x: a value is"),
    ],
)
def test_variables_that_make_no_table_are_one_line(save, variables, message):
    with pytest.raises(DataError, match=message) as caught:
        read_table(save(**variables))
    assert "\n" not in str(caught.value)


def test_cells_objects_and_complex_numbers_are_refused(path):
    cells = np.empty((1, 2), dtype=object)
    cells[:] = [[np.ones(3), "a"]]
    save_5(path, t=column(T), cell=cells, z=column(T + 1j))
    for name, what in (("cell", "is cell, no array"), ("z", "is double with other things than real numbers")):
        with pytest.raises(DataError, match=f"the variable {name} {what}"):
            read_table(path, options=TableOptions(variable=("t", name)))
    assert read_table(path).names == ("t",)


def test_what_unpacks_to_too_much_is_refused_before_it_is_read(path, monkeypatch):
    save_5(path, x=np.zeros((1, 200_000)))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr("physode.datasets.tables.sources.LARGEST", 100_000)
    monkeypatch.setattr(scipy.io, "loadmat", None)
    with pytest.raises(DataError, match="its variables have more than 100000 bytes"):
        read_table(path)
    save_7_3(path, x=np.zeros((1, 20_000)))
    monkeypatch.setattr("physode.datasets.tables.sources.LARGEST", 159_999)
    with pytest.raises(DataError, match=r"has \d+ bytes, more than 159999|its variables have more than 159999 bytes"):
        read_table(path)


def test_links_out_of_a_file_are_refused(path):
    save_7_3(path, t=column(T))
    with h5py.File(path, "r+") as file:
        file["x"] = h5py.ExternalLink("other.h5", "x")
    with pytest.raises(DataError, match="/x is a link to another file"):
        read_table(path)


def test_every_damaged_byte_is_refused_or_read(save):
    path = save(t=column(T), x=X)
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        assert "\n" not in refusal(path)


def test_a_cut_file_is_one_line(save):
    path = save(t=column(np.arange(1000.0)))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"damaged|no array"):
        read_table(path)


def test_a_bomb_in_a_file_is_counted_as_it_unpacks(path, monkeypatch):
    packed = zlib.compress(bytes(3_000_000))
    save_5(path, t=column(T))
    path.write_bytes(path.read_bytes() + np.array([15, len(packed)], "<u4").tobytes() + packed)
    monkeypatch.setattr("physode.datasets.tables.sources.LARGEST", 1_000_000)
    with pytest.raises(DataError, match="its variables have more than 1000000 bytes"):
        read_table(path)


def test_files_of_MATLAB_are_data_and_are_described(save):
    path = save(t=column(T), x=column(T**2))
    found = read_data([path])
    np.testing.assert_array_equal(found.t, T)
    assert found.columns == ("x",)
    assert summarise_data([path])["format"] == "MATLAB"
    with pytest.raises(DataError, match="--decimal has no part in a file of MATLAB"):
        read_data([path], options=TableOptions(decimal=","))
