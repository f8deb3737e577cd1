"""A table that is written in any dialect reads back the same numbers, or asks; it is never wrong in silence."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physode.datasets.table import TableOptions, read_table
from physode.errors import DataError

ASKING = ("say which", "write all numbers alike", "correct one of them", "correct it")


@dataclass(frozen=True)
class Dialect:
    """How a table is written."""

    delimiter: str
    decimal: str
    thousands: str
    quoted: bool
    encoding: str
    exponent: str
    trailing: str
    comment: bool
    units: bool
    repeated: bool
    packed: bool

    def number(self, value: float, digits: int) -> str:
        """Write a number with so many decimals, or with an exponent."""
        if np.isnan(value):
            return ""
        grouped = f"{value:,.{digits}f}".replace(",", "\0")
        text = grouped if digits < 9 else repr(value).replace("e", self.exponent)
        return text.replace(".", self.decimal).replace("\0", self.thousands)

    def cell(self, text: str) -> str:
        """Quote a cell where it has to be."""
        return f'"{text}"' if self.quoted or self.delimiter in text else text

    def write(self, names, rows) -> bytes:
        """Write a table of cells."""
        lines = [self.delimiter.join(map(self.cell, row)) + self.trailing for row in (names, *rows)]
        if self.units:
            lines.insert(1, self.delimiter.join(["s"] + ["mm"] * (len(names) - 1)) + self.trailing)
        if self.repeated:
            lines.insert(3, lines[0])
        if self.comment:
            lines[:0] = ["# a, comment; 1,5"]
        content = ("\n".join(lines) + "\n").encode(self.encoding)
        return gzip.compress(content) if self.packed else content


@st.composite
def dialects(draw):
    decimal = draw(st.sampled_from(".,"))
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    mark = "," if decimal == "." else "." if delimiter != "," else ""  # nobody has 1.234 for 1234 beside commas
    return Dialect(
        delimiter=delimiter,
        decimal=decimal,
        thousands=draw(st.sampled_from(["", "", mark, " ", "\N{NO-BREAK SPACE}", "'"])),
        quoted=draw(st.booleans()),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])),
        exponent=draw(st.sampled_from("eEdD")),
        trailing=draw(st.sampled_from(["", delimiter])),
        comment=draw(st.booleans()),
        units=draw(st.booleans()),
        repeated=draw(st.booleans()),
        packed=draw(st.booleans()),
    )


_NUMBERS = st.one_of(
    st.floats(-1e7, 1e7).map(lambda value: round(value, 3)),
    st.integers(-5_000_000, 5_000_000).map(float),
    st.sampled_from([0.0, 1.234, 1234.0, 1234.5, 0.123, 12.0, np.nan]),
)


@pytest.fixture(scope="module")
def spare(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "data.csv"


@given(dialects(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_table_in_a_random_dialect_is_right_or_asks(spare, dialect, data):
    width = data.draw(st.integers(1, 3))
    digits = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 6, 17]), min_size=width, max_size=width))
    rows = data.draw(st.lists(st.lists(_NUMBERS, min_size=width, max_size=width), min_size=2, max_size=6))
    texts = [[str(k), *(dialect.number(*pair) for pair in zip(row, digits, strict=True))] for k, row in enumerate(rows)]
    written = [
        [
            float("nan") if not text else round(value, n) if n < 17 else value
            for value, n, text in zip(row, digits, cells[1:], strict=True)
        ]
        for row, cells in zip(rows, texts, strict=True)
    ]
    spare.write_bytes(dialect.write(["t", *(f"x{i}" for i in range(width))], texts))
    plain = dialect.decimal == "." and not dialect.thousands
    table, message = attempt(spare)
    if table is None:
        assert any(each in message for each in ASKING), message
        assert not plain or dialect.delimiter != ","
    else:
        _assert_same(table, written)
    if table is None or not plain:
        said = {"decimal": dialect.decimal, "thousands": dialect.thousands.replace("\N{NO-BREAK SPACE}", " ") or None}
        table, message = attempt(spare, options=TableOptions(**said))
        assert table is not None, message
        _assert_same(table, written)


def attempt(path, **arguments):
    """Return the table, or None and what is said of it."""
    try:
        return read_table(path, **arguments), ""
    except DataError as error:
        return None, str(error)


def _assert_same(table, written):
    values = np.stack([table.numbers[name] for name in table.names if name != "t"], axis=-1)
    np.testing.assert_allclose(values, written, rtol=1e-15, atol=0)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_table_or_one_line(spare, content):
    spare.write_bytes(b"t,x\n" + content)
    table, message = attempt(spare, texts=True)
    assert "\n" not in message
    assert table is None or len(table.lines) > 0


@given(st.text("0123456789.,;'- \t\"eD:/%#|\n", max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_figures_and_marks_are_a_table_or_one_line(spare, content):
    spare.write_text("t;x\n0;1\n" + content)
    table, message = attempt(spare)
    assert "\n" not in message
    assert table is None or all(len(values) == len(table.lines) for values in table.numbers.values())
