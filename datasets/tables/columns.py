"""Columns of a table, filled by blocks of rows: numbers, labels, and times of all kinds."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physode.datasets.files import shown
from physode.datasets.tables.dates import DateColumn, date_of
from physode.datasets.tables.elapsed import ElapsedColumn, elapsed_of, is_pair
from physode.datasets.tables.notation import FILLED, MISSING, POINTS, Cell, Notation, marks_of
from physode.datasets.trajectories import Array
from physode.errors import DataError

LONGEST_LABEL = 100
"""Letters of a name or label."""

_FORTRAN = frozenset("dDqQ")  # in a number they begin an exponent

Cells = Sequence[str | float]
"""Cells of one column; workbooks have numbers among them."""


class NotNumberError(DataError):
    """A cell holds text where a number is expected."""


class MarkedError(Exception):
    """A cell holds a number that is not written as the others were taken to be: the table's notation must be found."""


def number_of(cell: str, *, row: int, column: str) -> float:
    """Return the number in a cell, NaN where it is missing.

    Raises
    ------
    DataError
        If it is no number, or infinite.
    """
    value = POINTS.number(cell)
    if value is None:
        raise not_a_number(Cell(row, column, cell))
    return _finite(value, Cell(row, column, cell))


def not_a_number(cell: Cell) -> NotNumberError:
    """Return the error of a cell that holds no number."""
    if date_of(cell.text) is not None:
        return NotNumberError(f"{cell} is a date, the column none of times; call it date or time, or remove it")
    return NotNumberError(f"{cell} is not a number; write 0.5, or leave the cell empty where a value is missing")


def _finite(value: float, cell: Cell) -> float:
    if math.isinf(value):
        raise DataError(f"{cell} is infinite; empty the cell")
    return value


class NumberColumn:
    """Collects the numbers of a column.

    Parameters
    ----------
    name
        Of the column.
    notation
        How its numbers are written; None where that is not known: then a decimal point is expected, and another
        notation raises `MarkedError`.
    """

    def __init__(self, name: str, notation: Notation | None = None) -> None:
        self.name = name
        self._notation = notation or POINTS
        self._settled = notation is not None
        self._blocks: list[Array] = []
        self.plain = (
            notation is None or notation == POINTS
        )  # whether it takes a decimal point, and no marks of thousands
        self.fortran = False

    def put(self, values: Array) -> None:
        """Take numbers of some rows."""
        self._blocks.append(values)

    def add(self, cells: Cells, lines: Sequence[int]) -> None:
        """Take the numbers in cells of some rows.

        Raises
        ------
        DataError
            If one is no number, or infinite.
        MarkedError
            If one is a number of another notation, and the column's is not known.
        """
        values = floats(self._pointed(cells))
        if values is None:
            values = np.array([self._number(*pair) for pair in zip(cells, lines, strict=True)])
        infinite = np.isinf(values)
        if infinite.any():
            row = int(np.argmax(infinite))
            _finite(float(values[row]), Cell(lines[row], self.name, str(cells[row])))
        self._blocks.append(values)

    def _pointed(self, cells: Cells) -> Cells:
        """Return cells with a decimal point, if all of them are text and without other marks; none else."""
        if self.plain:
            return cells
        if self._notation.thousands is not None or not all(isinstance(cell, str) for cell in cells):
            return ()
        text = "\0".join(cells)  # type: ignore[arg-type]
        return () if "." in text else text.replace(self._notation.decimal, ".").split("\0")

    def _number(self, cell: str | float, line: int) -> float:
        if not isinstance(cell, str):
            return cell
        if cell in FILLED:
            return math.nan
        value = self._notation.number(cell)
        if value is not None:
            self.fortran = self.fortran or not _FORTRAN.isdisjoint(cell)
            return value
        if not self._settled and marks_of(cell) is not None:
            raise MarkedError
        raise not_a_number(Cell(line, self.name, cell))

    @property
    def values(self) -> Array:
        """The numbers, float64, (R,)."""
        if len(self._blocks) == 1:
            return self._blocks[0]
        return np.concatenate(self._blocks) if self._blocks else np.empty(0)


def floats(cells: Cells) -> Array | None:
    """Return the numbers in cells with decimal points, NaN where one is missing; None if there are others, or none."""
    try:
        values = array("d", map(float, cells))
    except ValueError:
        try:
            values = array("d", map(float, [FILLED.get(cell, cell) for cell in cells]))
        except ValueError:
            return None
    try:
        text = "".join(cells)  # type: ignore[arg-type]
    except TypeError:
        text = "".join(cell for cell in cells if isinstance(cell, str))
    if not values or "_" in text:  # Python reads 1_000 as 1000
        return None
    return np.frombuffer(values)


class TextColumn:
    """Collects the labels of a column; of `remarks`, their first letters only."""

    def __init__(self, name: str, *, remarks: bool = False) -> None:
        self.name = name
        self._remarks = remarks
        self.labels: dict[str, int] = {}
        self._codes = array("q")

    plain = fortran = False

    def add(self, cells: Cells, lines: Sequence[int]) -> None:
        """Take the labels in cells of some rows.

        Raises
        ------
        DataError
            If one is too long.
        """
        labels = self.labels
        for cell, line in zip(cells, lines, strict=True):
            label = cell.strip() if isinstance(cell, str) else label_of(cell)
            if self._remarks:
                label = label[:LONGEST_LABEL]
            code = labels.get(label)
            if code is None:
                if len(label) > LONGEST_LABEL:
                    raise DataError(f"row {line}: {shown(label)!r} is a label of {len(label)} letters; shorten it")
                code = labels[label] = len(labels)
            self._codes.append(code)

    @property
    def codes(self) -> Array:
        """Indices of the rows' labels, (R,)."""
        return np.array(self._codes, dtype=np.int64)


def label_of(number: float) -> str:
    """Return a number as a label: whole ones without a point, missing ones empty."""
    return "" if math.isnan(number) else f"{number:.15g}"


class TimeColumn:
    """Collects the times of a column: numbers, dates or elapsed times, as its first value has it.

    Parameters
    ----------
    name
        Of the column.
    unit
        What its header says of its unit.
    notation
        As of `NumberColumn`.
    """

    def __init__(self, name: str, unit: str, notation: Notation | None = None) -> None:
        self.name = name
        self.inner: NumberColumn | DateColumn | ElapsedColumn | None = None
        self._unit = unit
        self._notation = notation
        self._empty: tuple[list[str | float], list[int]] = ([], [])
        self._first: Cell | None = None

    @property
    def plain(self) -> bool:
        """Whether it takes numbers with a decimal point and without marks of thousands."""
        return isinstance(self.inner, NumberColumn) and self.inner.plain

    @property
    def fortran(self) -> bool:
        """Whether numbers with Fortran's exponents were met."""
        return isinstance(self.inner, NumberColumn) and self.inner.fortran

    def put(self, values: Array) -> None:
        """Take numbers of some rows."""
        assert isinstance(self.inner, NumberColumn)
        self.inner.put(values)

    def add(self, cells: Cells, lines: Sequence[int]) -> None:
        """Take the times in cells of some rows.

        Raises
        ------
        DataError
            If one is no time, or of another kind than the first.
        MarkedError
            As of `NumberColumn`.
        """
        self.settle(cells, lines)
        if self.inner is None:
            self._empty[0].extend(cells)
            self._empty[1].extend(lines)
            return
        try:
            self.inner.add(cells, lines)
        except NotNumberError as error:
            self._check_mixed(cells, lines)
            raise error

    def settle(self, cells: Cells, lines: Sequence[int]) -> None:
        """Find out from the first value, where that was not met yet, what kind of times they are."""
        place = next((i for i, cell in enumerate(cells) if not _missing(cell)), None) if self.inner is None else None
        if place is not None:
            self._first = Cell(lines[place], self.name, str(cells[place]))
            self.inner = self._kind(cells[place], self._first)
            if self._empty[1]:
                self.inner.add(*self._empty)

    def _kind(self, cell: str | float, place: Cell) -> NumberColumn | DateColumn | ElapsedColumn:
        if isinstance(cell, str):
            if date_of(cell) is not None:
                return DateColumn(self.name)
            if elapsed_of(cell, self._unit) is not None:
                return ElapsedColumn(self.name, self._unit)
            if is_pair(cell):
                raise DataError(
                    f"{place} may be hours and minutes, or minutes and seconds; write 01:30:00, or name the column "
                    f"{shown(self.name)} [hh:mm] or [mm:ss]"
                )
            if POINTS.number(cell) is None and marks_of(cell) is None:
                raise NotNumberError(f"{place} is not a number or a time; write 0.5, 2025-03-31 12:00 or 01:30:00")
        return NumberColumn(self.name, self._notation)

    def _check_mixed(self, cells: Cells, lines: Sequence[int]) -> None:
        for cell, line in zip(cells, lines, strict=True):
            if isinstance(cell, str) and (date_of(cell) or elapsed_of(cell, self._unit) is not None):
                raise DataError(
                    f"{Cell(line, self.name, cell)} is a date or an elapsed time, {self._first} is a number; "
                    "give one kind throughout"
                )

    @property
    def values(self) -> Array:
        """Numbers that were given as such, (R,); NaN throughout where nothing was given.

        Raises
        ------
        DataError
            If they are dates without anything between year, month and day.
        """
        if not isinstance(self.inner, NumberColumn):
            return np.full(len(self._empty[1]), np.nan)
        values = self.inner.values
        if looks_like_dates(values):
            first = values[~np.isnan(values)][0]
            date = f"{first:.0f}"
            raise DataError(
                f"column {shown(self.name)} holds {date}, which may be a number or the date {date[:4]}-{date[4:6]}-"
                f"{date[6:]}; write dates with hyphens"
            )
        return values


def looks_like_dates(values: Array) -> bool:
    """Whether all numbers are dates of 1900 to 2099 without anything between year, month and day."""
    known = values[~np.isnan(values)]
    year, month, day = known // 10_000, known // 100 % 100, known % 100
    inside = (known == np.floor(known)) & (year >= 1900) & (year < 2100)
    return bool(known.size and (inside & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _missing(cell: str | float) -> bool:
    return cell.strip().casefold() in MISSING if isinstance(cell, str) else math.isnan(cell)


@dataclass(frozen=True)
class Words:
    """A column of text: `labels` in the order in which they first appear, and the index of each row's, (R,)."""

    codes: Array
    labels: tuple[str, ...]
