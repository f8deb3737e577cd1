"""Tables: rows of cells under a header, read into columns of numbers and of words."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from physode.datasets.csv_rows import rows_of
from physode.datasets.files import check_file, shown
from physode.datasets.trajectories import Array
from physode.errors import DataError

WORDS = frozenset({"body", "trajectory", "unit", "units"})
"""Columns of text in tables of trajectories."""

_LARGEST = 1_000_000_000  # bytes of a file

_NAME_AND_UNIT = re.compile(r"(?P<name>[^\[(]*)[\[(](?P<unit>[^\])]*)[\])]\s*")


@dataclass(frozen=True)
class Words:
    """A column of text: `labels` in the order in which they first appear, and the index of each row's, (R,)."""

    codes: Array
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The R rows of a file, column by column.

    Attributes
    ----------
    lines
        Number of each row's line in the file, from 1, (R,). Errors call it the row.
    numbers
        Columns of numbers by name, float64, (R,); NaN where a cell is empty, ``nan``, ``NA`` or ``-``.
    words
        Columns of text by name, in small letters.
    units
        What stands in brackets behind each name, ``""`` where nothing does.
    """

    lines: Array
    numbers: dict[str, Array]
    words: dict[str, Words]
    units: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in the file's order."""
        return tuple(self.units)

    def take(self, rows: Array) -> Table:
        """Return some of the rows."""
        return replace(
            self,
            lines=self.lines[rows],
            numbers={name: values[rows] for name, values in self.numbers.items()},
            words={name: Words(words.codes[rows], words.labels) for name, words in self.words.items()},
        )


def read_table(path: Path, *, words: frozenset[str] = WORDS) -> Table:
    """Read a file whose first row names its columns.

    Columns are divided by commas, semicolons, tabs or white space. Lines that are blank or begin with ``#`` are left
    out. A name may be followed by a unit in brackets, ``x [AU]`` or ``x (AU)``.

    Parameters
    ----------
    path
        The file.
    words
        Names of columns that hold text, in small letters; all others hold numbers.

    Raises
    ------
    DataError
        If the file is missing, too large or no text, if columns have no name or the same, if a row has another number
        of cells, or if a cell is not a finite number.
    """
    with _rows(path) as rows:
        return _read(rows, words)


def read_header(path: Path, *, words: frozenset[str] = WORDS) -> tuple[str, ...]:
    """Read the names of a table's columns, and no more.

    Raises
    ------
    DataError
        As of `read_table`, as far as the first row shows it.
    """
    with _rows(path) as rows:
        return tuple(_named(next(rows, (0, []))[1], words))


def quoted(names: Sequence[str]) -> str:
    """Return names as a list for a message, at most ten of them."""
    return ", ".join(shown(name) for name in names[:10]) + (", ..." if len(names) > 10 else "")


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Open a file as numbered rows of cells, which is all that a table is made of: other formats of tables go here."""
    check_file(path, largest=_LARGEST)
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield rows_of(file)
    except UnicodeDecodeError:
        raise DataError("it holds bytes that are no text; save it as CSV in UTF-8") from None


def _read(rows: Iterator[tuple[int, list[str]]], words: frozenset[str]) -> Table:
    _, header = next(rows, (0, []))
    units = _named(header, words)
    names = list(units)
    columns = [TextColumn() if name in words else NumberColumn(name) for name in names]
    lines = array("q")
    for line, cells in rows:
        if len(cells) != len(names):
            raise DataError(f"row {line} has {len(cells)} cells, the header {len(names)}; give both the same")
        lines.append(line)
        for column, cell in zip(columns, cells, strict=True):
            column.add(cell, line)
    if not lines:
        raise DataError("it has no rows below its header")
    return Table(
        lines=np.array(lines, dtype=np.int64),
        numbers={column.name: np.array(column.values) for column in columns if isinstance(column, NumberColumn)},
        words={
            name: Words(np.array(column.codes, dtype=np.int64), tuple(column.labels))
            for name, column in zip(names, columns, strict=True)
            if isinstance(column, TextColumn)
        },
        units=units,
    )


def _named(header: Sequence[str], words: frozenset[str]) -> dict[str, str]:
    """Return each column's unit by its name."""
    if not header:
        raise DataError("it has no rows, only comments or blank lines")
    units: dict[str, str] = {}
    known: set[str] = set()
    for i, cell in enumerate(header, 1):
        match = _NAME_AND_UNIT.fullmatch(cell)
        name, unit = (match["name"].strip(), match["unit"].strip()) if match else (cell.strip(), "")
        if not name:
            raise DataError(f"column {i} of the header has no name; name it, or remove the column")
        if len(cell) > LONGEST_LABEL:
            raise DataError(f"column {i} of the header has a name of {len(cell)} letters; shorten it")
        folded = name.casefold()
        if folded in known:
            raise DataError(f"the header names {shown(name)} twice; give each column a name of its own")
        known.add(folded)
        units[folded if folded in words else name] = unit
    return units


LONGEST_LABEL = 100
"""Letters of a name or label."""

_MISSING = frozenset({"", "nan", "na", "-"})


def number_of(cell: str, *, row: int, column: str) -> float:
    """Return the number in a cell, NaN where it is missing.

    Raises
    ------
    DataError
        If it is no number, or infinite.
    """
    text = cell.strip()
    if text.casefold() in _MISSING:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None or "_" in text:  # Python reads 1_000 as 1000
        raise DataError(
            f"row {row}, column {shown(column)}: {shown(text)!r} is not a number; "
            "write 0.5, or leave the cell empty where a value is missing"
        )
    if math.isinf(value):
        raise DataError(f"row {row}, column {shown(column)}: {shown(text)!r} is infinite; empty the cell")
    return value


class NumberColumn:
    """Collects the numbers of a column."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values = array("d")

    def add(self, cell: str, line: int) -> None:
        """Take the number in a row's cell."""
        self.values.append(number_of(cell, row=line, column=self.name))


class TextColumn:
    """Collects the labels of a column."""

    def __init__(self) -> None:
        self.labels: dict[str, int] = {}
        self.codes = array("q")

    def add(self, cell: str, line: int) -> None:
        """Take the label in a row's cell."""
        if len(cell) > LONGEST_LABEL:
            raise DataError(f"row {line}: {shown(cell)!r} is a label of {len(cell)} letters; shorten it")
        self.codes.append(self.labels.setdefault(cell.strip(), len(self.labels)))
