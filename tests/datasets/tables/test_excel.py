"""Workbooks are read as tables of text are, without trust in them."""

from __future__ import annotations

import zipfile
from datetime import date, datetime, time, timedelta

import numpy as np
import pytest

from physode.datasets import read_csv, read_data, summarise_data
from physode.datasets.series import read_series
from physode.datasets.table import TableOptions, read_header, read_table
from physode.errors import ConfigError, DataError

openpyxl = pytest.importorskip("openpyxl")


def attempt(path):
    """Return the values of x, or None and what is said against the file."""
    try:
        return read_table(path).numbers["x"].tolist(), ""
    except DataError as error:
        return None, str(error)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.xlsx"


@pytest.fixture
def save(path):
    def saver(*rows, title="run", more=None, start=1):
        book = openpyxl.Workbook()
        sheet = book.active
        sheet.title = title
        for i, row in enumerate(rows, start):
            for k, value in enumerate(row, start):
                sheet.cell(i, k, value)
        for name, others in (more or {}).items():
            other = book.create_sheet(name)
            for row in others:
                other.append(row)
        book.save(path)
        return path

    return saver


def test_numbers_keep_every_digit_and_empty_cells_are_missing(save):
    values = np.round(np.random.default_rng(0).normal(size=20) * 1e5, 6)  # openpyxl writes 16 digits
    path = save(("t [s]", "x"), *((k, value) for k, value in enumerate(values)), (20, None), (21, "#N/A"), (None, None))
    table = read_table(path)
    np.testing.assert_array_equal(table.numbers["x"], [*values, np.nan, np.nan])
    assert (table.units, table.understood, table.plain) == ({"t": "s", "x": ""}, "sheet run", False)
    assert read_header(path) == ("t", "x")


def test_a_table_may_begin_anywhere_in_the_sheet(save):
    table = read_table(save(("t", "x", None), ("s", "m"), (0, 1.5), (1, 2.5, None), start=3))
    assert table.numbers["x"].tolist() == [1.5, 2.5]
    assert table.lines.tolist() == [5, 6]
    assert table.units == {"t": "s", "x": "m"}


def test_pandas_reads_the_same(save):
    pandas = pytest.importorskip("pandas")
    path = save(("t", "x", "name"), (0, 1.25, "a"), (1, 2, "b"))
    frame, table = pandas.read_excel(path), read_table(path, texts=True)
    np.testing.assert_array_equal(table.numbers["x"], frame["x"])
    assert [table.labels("name").labels[code] for code in table.labels("name").codes] == list(frame["name"])


@pytest.mark.parametrize(
    ("times", "expected", "origin"),
    [
        ([datetime(2020, 3, 1, 12), datetime(2020, 3, 2)], [0, 43200], datetime(2020, 3, 1, 12)),
        ([date(2020, 3, 1), date(2020, 3, 2)], [0, 86400], datetime(2020, 3, 1)),
        ([time(0, 0, 30), time(1, 0, 0)], [30, 3600], None),
        ([timedelta(seconds=30), timedelta(days=2)], [30, 172800], None),
        (["2020-03-01", "2020-03-02"], [0, 86400], datetime(2020, 3, 1)),
    ],
)
def test_dates_and_times_are_those_of_the_cells(save, times, expected, origin):
    table = read_table(save(("time", "x"), *((each, 1) for each in times)))
    np.testing.assert_allclose(table.numbers["time"], expected, rtol=1e-12)
    assert table.origin == origin


def test_numbers_typed_as_text_have_a_notation(save):
    assert read_table(save(("t", "x"), (0, "1,5"), (1, 2.5), (2, "3,25"))).numbers["x"].tolist() == [1.5, 2.5, 3.25]
    with pytest.raises(DataError, match=r"row 2, column x: '1,500' may be 1\.500 or 1500"):
        read_table(save(("t", "x"), (0, "1,500"), (1, 2.5)))


def test_whole_numbers_are_labels_without_a_point(save):
    table = read_table(save(("trajectory", "t", "x"), (1, 0, 1), (2, 0, 1)))
    assert table.words["trajectory"].labels == ("1", "2")


def test_one_of_several_sheets_has_to_be_named(save):
    path = save(("t", "x"), (0, 1), (1, 2), more={"other run": [("t", "x"), (0, 3), (1, 4)], "empty": []})
    with pytest.raises(DataError, match="it has the sheets run, other run; say which: --sheet run"):
        read_table(path)
    again = save(("t", "x"), (0, 1), title="run 1", more={"run 2": [("t", "x"), (0, 3)]})
    with pytest.raises(DataError, match="say which: --sheet 'run 1'"):
        read_table(again)
    path = save(("t", "x"), (0, 1), (1, 2), more={"other run": [("t", "x"), (0, 3), (1, 4)], "empty": []})
    assert read_table(path, options=TableOptions(sheet="other run")).numbers["x"].tolist() == [3, 4]
    with pytest.raises(DataError, match="it has no sheet 'x'; its sheets are run, other run, empty"):
        read_table(path, options=TableOptions(sheet="x"))


def test_the_one_sheet_that_is_not_empty_is_taken(save):
    assert read_table(save(("t", "x"), (0, 1), more={"Sheet2": [], "Sheet3": []})).numbers["x"].tolist() == [1]


def test_formulas_give_the_values_that_are_stored_and_are_refused_without(save, path):
    save(("t", "x"), (0, 1), (1, "=B2*2"))
    with pytest.raises(DataError, match=r"row 3 has the formula =B2\*2 without its value; open the workbook"):
        read_table(path)
    part = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = (
        parts[part].replace(b"<v></v>", b"<v>2</v>").replace(b"<v />", b"<v>2</v>").replace(b"<v/>", b"<v>2</v>")
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert read_table(path).numbers["x"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("t", "x"), (0, "#DIV/0!")], "row 2, column x: '#DIV/0!' is not a number"),
        ([("t", "x"), (0, True)], "row 2, column x: 'TRUE' is not a number"),
        ([("t", "x"), (0, 1, 2)], "row 2 has 3 cells, the header 2"),
        ([("t", None, "x"), (0, 1, 2)], "column 2 of the header has no name"),
        ([(None, "t", "x"), (5, 1, 2)], "row 2 has a value in a column without a name"),
        ([("t", "t")], "the header names t twice"),
        ([()], "no sheet of it holds anything"),
    ],
)
def test_bad_sheets_are_one_line(save, rows, message):
    with pytest.raises(DataError, match=message):
        read_table(save(*rows))


def test_bad_archives_are_one_line(save, path, monkeypatch):
    save(("t", "x"), (0, 1))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="it is damaged or no workbook"):
        read_table(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.csv", "t,x\n0,1\n")
    with pytest.raises(DataError, match="it is a zip archive and no workbook"):
        read_table(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    with pytest.raises(DataError, match=r"it is a spreadsheet of another kind; save the table as \.xlsx or CSV"):
        read_table(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    with pytest.raises(DataError, match="its XML declares entities"):
        read_table(path)
    path.write_bytes(whole)
    monkeypatch.setattr("physode.datasets.tables.sources.LARGEST", len(whole))
    with pytest.raises(DataError, match=f"it unpacks to more than {len(whole)} bytes"):
        read_table(path)


def test_every_damaged_byte_is_refused_or_harmless(save, path):
    save(("t", "x"), (0, 1.5), (1, 2.5))
    whole = path.read_bytes()
    for place in range(0, len(whole), 23):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        values, message = attempt(path)
        assert "\n" not in message
        assert values in (None, [1.5, 2.5])


def test_without_openpyxl_the_extra_is_named(save, monkeypatch):
    path = save(("t", "x"), (0, 1))
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(ConfigError, match=r"reading a workbook needs openpyxl; .* 'physode\[excel\]'"):
        read_table(path)


def test_workbooks_are_data_and_series_and_are_described(save):
    path = save(("t", "x"), (0, 1), (1, 2))
    assert read_data([path]).y[0, :, 0].tolist() == [1, 2]
    assert read_csv(path).attrs["understood"] == "sheet run"
    assert summarise_data([path])["format"] == "Excel"
    path = save(("series", "time", "channel", "value"), ("a", 0, "p", 1), ("a", 1, "p", 2))
    assert read_series(path).y[0, :, 0].tolist() == [1, 2]
    with pytest.raises(DataError, match="--delimiter has no part in a file of Excel"):
        read_table(path, options=TableOptions(delimiter=";"))
