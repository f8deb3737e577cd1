"""Tables of text in many dialects give the same numbers, or ask."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from physode.datasets import read_csv, read_data
from physode.datasets.table import Table, TableOptions, read_header, read_table
from physode.errors import ConfigError, DataError

pandas = pytest.importorskip("pandas")

NAN = np.nan
T = [0.0, 0.5, 1.0, 1.5]
X = [1234.5, -0.25, 3e-5, 12.0]
POINTS = "t,x\n0,1234.5\n0.5,-0.25\n1,3e-5\n1.5,12\n"
COMMAS = "t;x\n0;1234,5\n0,5;-0,25\n1;3e-5\n1,5;12\n"


@pytest.fixture
def read(tmp_path):
    def reader(text: str | bytes, name: str = "data.csv", **options) -> Table:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        texts = options.pop("texts", False)
        return read_table(path, options=TableOptions(**options), texts=texts)

    return reader


def of(table: Table, t: str = "t", x: str = "x") -> tuple[list[float], list[float]]:
    return table.numbers[t].tolist(), table.numbers[x].tolist()


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        (POINTS, "commas"),
        (POINTS.replace(",", ";"), "semicolons"),
        (POINTS.replace(",", "\t"), "tabs"),
        (POINTS.replace(",", "|"), "bars"),
        (POINTS.replace(",", "   "), "columns divided by white space"),
        (POINTS.replace(",", ", "), "commas"),
        (COMMAS, "semicolons, decimal commas"),
        (COMMAS.replace(";", "\t"), "tabs, decimal commas"),
        (COMMAS.replace(";", "  "), "columns divided by white space, decimal commas"),
        (COMMAS.replace(";", "|").encode(), "bars, decimal commas"),
        ("﻿" + POINTS, "commas"),
        (POINTS.encode("utf-16"), "UTF-16"),
        (POINTS.encode("utf-16-le"), "UTF-16-LE"),
        (POINTS.encode("utf-16-be"), "UTF-16-BE"),
        (COMMAS.encode("utf-32"), "semicolons, UTF-32, decimal commas"),
        (POINTS.replace("\n", "\r\n"), "commas"),
        (POINTS.replace("\n", "\r"), "commas"),
        (gzip.compress(POINTS.encode(), mtime=0), "packed by gzip"),
        (gzip.compress(COMMAS.encode("utf-16"), mtime=0), "semicolons, UTF-16, packed by gzip, decimal commas"),
        (POINTS.replace("t,x\n", "t,x\ns,mm\n"), "units in row 2"),
        (POINTS.replace("t,x\n", "t,x\n[s],[mm]\n"), "units in row 2"),
        (POINTS.replace("t,x\n", "t,x\ns,-\n"), "units in row 2"),
        (POINTS.replace("t,x\n", "# made by hand\n\nt,x\n# more\n"), "commas"),
        ("% made by hand\n% 2020\n" + POINTS, "comments after %"),
        ("! made by hand\n" + POINTS, "comments after !"),
        ("// made by hand\n" + POINTS, "comments after //"),
        ("# t x\n0 1234.5\n0.5 -0.25\n1 3e-5\n1.5 12\n", "columns divided by white space, header in a comment"),
        ("# seen twice\n#t,x\n" + POINTS[4:], "header in a comment"),
        ("% t,x\n" + POINTS[4:], "header in a comment"),
        (POINTS.replace("3e-5", "3D-5"), "Fortran's exponents"),
        (POINTS.replace("3e-5", "3.0d-05"), "Fortran's exponents"),
        (COMMAS.replace("3e-5", "0,3D-4"), "semicolons, decimal commas, Fortran's exponents"),
        (POINTS.replace("1234.5", '"1,234.5"'), "commas between thousands"),
        (POINTS.replace(",", ";").replace("1234.5", "1,234.5"), "semicolons, commas between thousands"),
        (COMMAS.replace("1234,5", "1.234,5"), "semicolons, decimal commas, points between thousands"),
        (COMMAS.replace("1234,5", "1 234,5"), "semicolons, decimal commas, spaces between thousands"),
        (COMMAS.replace("1234,5", "1\u00a0234,5"), "semicolons, decimal commas, spaces between thousands"),
        (POINTS.replace("1234.5", "1'234.5"), "apostrophes between thousands"),
        (POINTS.replace("1234.5", "1\u2019234.5"), "apostrophes between thousands"),
        ('"t","x"\n"0","1234.5"\n"0.5","-0.25"\n"1","3e-5"\n"1.5","12"\n', "commas"),
        ('"t","x"\n"0","1234,5"\n"0,5","-0,25"\n"1","3e-5"\n"1,5","12"\n', "decimal commas"),
        ('"t"  "x"\n"0" 1234.5\n0.5  "-0.25"\n1 3e-5 \n1.5 12\n', "columns divided by white space"),
        (POINTS.replace("\n", ",\n"), "commas"),
        (POINTS.replace("\n", ",,\n"), "commas"),
        (POINTS.replace("\n", ",\n").replace("x,\n", "x\n"), "commas"),
        (POINTS.replace("x\n", "x,\n"), "commas"),
        (COMMAS.replace("\n", ";\n"), "semicolons, decimal commas"),
        (POINTS.replace("1,3e-5", "t,x\n1,3e-5"), "header repeated once, left out"),
        (POINTS.replace("t,x\n", "t,x\ns,m\n").replace("1,3e-5", "t,x\ns,m\n1,3e-5"), None),
        ("sep=;\n" + COMMAS, "semicolons, decimal commas"),
        ("sep=,\n" + POINTS, "commas"),
        (POINTS.replace("-0.25", "\u22120.25"), "commas"),
        (POINTS.replace("x\n", '"x\n (left)"\n'), "commas"),
        (POINTS.replace("t,x\n", '"t\n[s]","x\n\n[m]"\n'), "commas"),
        (COMMAS.replace("x", "x, left"), "semicolons, decimal commas"),
        (COMMAS.replace("t;x", "t;x,y"), "semicolons, decimal commas"),
        (COMMAS.replace("x", "Länge").encode("latin-1"), "semicolons, Latin-1, decimal commas"),
        (COMMAS.replace("x", "€").encode("cp1252"), "semicolons, Windows-1252, decimal commas"),
    ],
)
def test_a_table_in_any_dialect_gives_the_same_numbers_and_says_how_it_was_read(read, text, understood):
    table = read(text)
    name = table.names[1]
    assert of(table, x=name) == (T, X)
    if understood is not None:
        assert table.understood == understood
    assert table.plain is (table.understood == "commas")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (POINTS, {}),
        (COMMAS, {"sep": ";", "decimal": ","}),
        (COMMAS.replace("1234,5", "1.234,5"), {"sep": ";", "decimal": ",", "thousands": "."}),
        (POINTS.replace("1234.5", '"1,234.5"'), {"thousands": ","}),
        (POINTS.encode("utf-16"), {"encoding": "utf-16"}),
        (COMMAS.replace("x", "Länge").encode("latin-1"), {"sep": ";", "decimal": ",", "encoding": "latin-1"}),
        ("# note\n" + POINTS, {"comment": "#"}),
    ],
)
def test_what_pandas_has_to_be_told_is_found_out(read, tmp_path, text, options):
    table = read(text)
    frame = pandas.read_csv(tmp_path / "data.csv", **options)
    assert list(table.names) == list(frame.columns)
    for name in table.names:
        np.testing.assert_allclose(table.numbers[name], frame[name].to_numpy(float), rtol=1e-15)


@pytest.mark.parametrize(
    ("text", "options", "x"),
    [
        ("t;x\n0;1,234\n1;2,500\n", {"decimal": ","}, [1.234, 2.5]),
        ("t;x\n0;1,234\n1;2,500\n", {"thousands": ","}, [1234.0, 2500.0]),
        ("t;x\n0;1.234\n1;2,5\n", {"thousands": "."}, [1234.0, 2.5]),
        ("t;x\n0;1.234\n1;2.345\n", {"thousands": "."}, [1234.0, 2345.0]),
        ("t;x\n0;1.234\n1;2.345\n", {"decimal": "."}, [1.234, 2.345]),
        ("t;x\n0;1 234\n1;2 345\n", {"thousands": " "}, [1234.0, 2345.0]),
        ("t x\n0 1,5\n1 2,5\n", {"decimal": ",", "delimiter": "space"}, [1.5, 2.5]),
        ("t:x\n0:1\n1:2\n", {"delimiter": ":"}, [1.0, 2.0]),
        ("t\tx\n0\t1\n1\t2\n", {"delimiter": "tab"}, [1.0, 2.0]),
        ("* note\nt,x\n* note\n0,1\n1,2\n", {"comment": "*"}, [1.0, 2.0]),
        ("t,x\na,b\n0,1\n1,2\n", {"units_row": True}, [1.0, 2.0]),
        ("t,x\n0,1\n1,2\n", {"encoding": "ascii"}, [1.0, 2.0]),
        ("\N{BYTE ORDER MARK}t,x\n0,1\n1,2\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, [1.0, 2.0]),
        ("\N{BYTE ORDER MARK}t,x\n0,1\n1,2\n", {"encoding": "utf-8"}, [1.0, 2.0]),
    ],
)
def test_what_is_said_is_taken(read, text, options, x):
    assert read(text, **options).numbers["x"].tolist() == x


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "t;x\n0;1,234\n1;2,345\n",
            "row 2, column x: '1,234' may be 1.234 or 1234; say which: --decimal , or --thousands ,",
        ),
        ("t;x\n0;2,5\n1;1.234\n", r"row 3, column x: '1.234' may be 1.234 or 1234; say which: --decimal . or "),
        ('t,x\n0.5,"1,234"\n1,5\n', "row 2, column x: '1,234' may be 1.234 or 1234"),
        ("t;x;y\n0;1 000;1.234\n1;2 000;2.345\n", "row 2, column y: '1.234' may be 1.234 or 1234"),
        ("t;x;y\n0;1.234.567;1.234\n1;1.000;2.345\n", "row 2, column y: '1.234' may be 1.234 or 1234"),
        ("t;x\n0;2,5\n1;1.5\n", "row 3, column x: '1.5' has a decimal point, row 2, column x: '2,5' a decimal comma"),
        ("t;x\n0;1,234.5\n1;1.234,5\n", "a decimal point, .* a decimal comma; write all numbers alike"),
        ("t;x\n0;1 234\n1;1'234\n", "row 2, column x: '1 234' and row 3, column x: \"1'234\" have different marks"),
        ("t;x\n0;1.234\n1;2.345\n", "row 2, column x: '1.234' may be 1.234 or 1234; say which: --decimal . or "),
        ("t;x\n0;1.000\n1;2.000\n", "row 2, column x: '1.000' may be 1.000 or 1000"),
        ("t,x\n0,1\n1,1_000\n", "row 3, column x: '1_000' is not a number"),
        ("t;x\n0;1,5\n1;1.5.2\n", "row 3, column x: '1.5.2' is not a number"),
        ("t;x\n0;1,23,456\n1;2\n", "row 2, column x: '1,23,456' is not a number"),
        ("t,x\n0,1,5\n1,2,5\n", "row 2 has 3 cells, the header 2"),
        ("t,x,\n0,1,5\n1,2,\n", "column 3 of the header has no name"),
        ("t,x\n0,1,,5\n", "row 2 has 4 cells, the header 2"),
        ("t,x\n0\n", "row 2 has 1 cells, the header 2"),
        ("t,x\n0,1D\n", "row 2, column x: '1D' is not a number"),
        ("t,x [m]\ns,km\n0,1\n", "column x has the unit 'm', and 'km' below; keep one"),
        ("t,x\ns,m\n", "row 2, column t: 's' is not a number or a time"),
        ("0 1.5\n1 2.5\n", "its first row names no column of times, nor any: it has 0, 1.5; write the columns' names"),
        ("t,x\nnone,?\n0,1\n", "row 2, column x: '\\?' is not a number"),
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_one_line(read, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decimal": "."}, "row 3, column t: '0,5' has no decimal point, as the options say"),
        ({"thousands": ","}, "has no decimal point, as the options say"),
        ({"sheet": "one"}, "--sheet has no part in text; leave it out"),
        ({"variable": "x"}, "--variable has no part in text; leave it out"),
        ({"encoding": "utf-16"}, "it holds bytes that are no text in utf-16|truncated|UTF-16"),
    ],
)
def test_options_that_the_file_contradicts_are_one_line(read, options, message):
    with pytest.raises(DataError, match=message):
        read(COMMAS, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decimal": ";"}, "`decimal` must be one of '.', ','; got ';'"),
        ({"thousands": "_"}, "`thousands` must be one of"),
        ({"decimal": ",", "thousands": ","}, "`decimal` and `thousands` are both ','"),
        ({"delimiter": "ab"}, "`delimiter` must be one character, or one of comma, semicolon, tab"),
        ({"delimiter": "1"}, "`delimiter` '1' stands in numbers or names"),
        ({"delimiter": '"'}, "stands in numbers or names"),
        ({"encoding": "klingon"}, "`encoding` 'klingon' is none that Python knows"),
        ({"encoding": "hex"}, "`encoding` 'hex' is none that Python knows"),
        ({"comment": ""}, "`comment` must be 1 to 4 characters"),
        ({"comment": ";", "delimiter": ";"}, "`delimiter` and `comment` are both ';'"),
        ({"time_unit": "fortnight"}, "`time_unit` must be one of 's', 'min', 'h', 'd', 'week', 'yr'"),
        ({"dayfirst": 1}, "`dayfirst` must be True or False; got 1"),
        ({"units_row": "yes"}, "`units_row` must be True or False"),
        ({"variable": ()}, "`variable` must be names"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TableOptions(**options)


@pytest.mark.parametrize("text", ["t,x\n0,1.234\n1,2.345\n", "t x\n0 1.234\n1 2.345\n", "t;x\n0.5;1.234\n1;2.345\n"])
def test_a_point_is_a_decimal_point_where_nothing_else_is_meant(read, text):
    assert read(text).numbers["x"].tolist() == [1.234, 2.345]


def test_units_come_from_the_row_below_the_header(read):
    table = read("t,x [mm],y,z,a,b,c\ns,mm,1,(V),1/s,(°C),[-]\n0,1,2,3,4,5,6\n1,2,,4,5,6,7\n")
    assert table.units == {"t": "s", "x": "mm", "y": "", "z": "V", "a": "1/s", "b": "°C", "c": ""}
    assert table.lines.tolist() == [3, 4]
    np.testing.assert_array_equal(table.numbers["y"], [2, NAN])


def test_a_row_of_text_above_text_is_none_of_units(read):
    table = read("name,grade\na,m\nb,s\n", texts=True)
    assert table.labels("name").labels == ("a", "b")


def test_columns_of_text_are_labels_and_say_why_they_are_no_numbers(read):
    table = read("subject,dose,t,x\n01,10,0,1\n02,10.5,0,2\nB,10,1,n.d.\n", texts=True)
    assert table.labels("subject").labels == ("01", "02", "B")
    assert table.labels("subject").codes.tolist() == [0, 1, 2]
    assert table.labels("dose").labels == ("10", "10.5")
    assert table.labels("dose").codes.tolist() == [0, 1, 0]
    assert table.column("dose").tolist() == table.column("Dose").tolist() == [10, 10.5, 10]
    with pytest.raises(DataError, match="row 4, column subject: 'B' is not a number"):
        table.column("subject")
    with pytest.raises(DataError, match=r"row 4, column x: 'n\.d\.' is not a number"):
        table.column("x")
    for ask in (table.column, table.labels):
        with pytest.raises(DataError, match="it has no column z; the columns are subject, dose, t, x"):
            ask("z")


def test_a_column_of_text_may_have_the_name_of_one_of_times(read):
    table = read("day,x\nMonday,1\nTuesday,2\n", texts=True)
    assert table.labels("day").labels == ("Monday", "Tuesday")
    with pytest.raises(DataError, match="row 2, column day: 'Monday' is not a number or a time"):
        table.column("day")


def test_labels_that_look_like_marked_numbers_prove_nothing(read):
    for label in ("1.234.567", "0.5", "0,5"):
        table = read(f"id;t;x\n{label};0;1,5\nA;1;2,5\n", texts=True)
        assert table.labels("id").labels == (label, "A")
        assert table.numbers["x"].tolist() == [1.5, 2.5]
    rows = "".join(f"0.5;{i};{i},5\n" for i in range(3000))
    assert read(f"id;t;x\n{rows}A;3000;1,25\n", texts=True).numbers["x"][[1, 3000]].tolist() == [1.5, 1.25]


def test_a_surprise_far_down_the_file_is_seen(read):
    rows = "".join(f"{i};{i}\n" for i in range(5000))
    with pytest.raises(DataError, match="row 5002, column x: '1,234' may be"):
        read(f"t;x\n{rows}5000;1,234\n")
    assert read(f"t;x\n{rows}5000;1,25\n").numbers["x"][-1] == 1.25
    table = read(f"t;x\n{rows}5000;none of these\n", texts=True)
    assert table.labels("x").labels[-1] == "none of these"


def test_Latin_1_far_down_the_file_is_seen(read):
    rows = "".join(f"{i},{i},a\n" for i in range(300_000))
    table = read(f"t,x,word\n{rows}300000,1,ä\n".encode("latin-1"), texts=True)
    assert table.labels("word").labels == ("a", "ä")
    assert table.understood == "Latin-1"


@pytest.mark.parametrize("name", ["data.csv.gz", "data.tsv", "data.txt", "data.dat", "data"])
def test_what_a_file_is_called_does_not_matter(tmp_path, name):
    content = POINTS.replace(",", "\t").encode()
    (tmp_path / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith("gz") else content)
    found = read_data([tmp_path / name])
    np.testing.assert_array_equal(found.y[0, :, 0], X)
    assert found.attrs["understood"] == ("tabs, packed by gzip" if name.endswith("gz") else "tabs")


def test_a_header_is_read_without_the_rows(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("t [s];Länge\n0;1\n", encoding="utf-16")
    assert read_header(path) == ("t", "Länge")


def test_packed_text_is_bounded_and_checked(tmp_path, monkeypatch):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(b"t,x\n" + b"0,1\n" * 1000, mtime=0))
    monkeypatch.setattr("physode.datasets.tables.sources.LARGEST", 2000)
    with pytest.raises(DataError, match="what is packed in it has more than 2000 bytes"):
        read_table(path)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="what is packed in it is damaged or cut off"):
        read_table(path)
    path.write_bytes(gzip.compress(gzip.compress(b"t,x\n0,1\n"), mtime=0))
    with pytest.raises(DataError, match="what is packed in it is no text; unpack it"):
        read_table(path)


def test_old_workbooks_and_other_archives_are_named(tmp_path):
    path = Path(tmp_path / "data.xls")
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000))
    with pytest.raises(DataError, match=r"it is a workbook of the old format \.xls"):
        read_table(path)


def test_trajectories_say_how_their_table_was_read(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(COMMAS)
    found = read_csv(path)
    assert found.attrs["understood"] == "semicolons, decimal commas"
    np.testing.assert_array_equal(found.y[0, :, 0], X)
    path.write_text(POINTS)
    assert "understood" not in read_csv(path).attrs
