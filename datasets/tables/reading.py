"""The rows of a table, read into columns by blocks."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from physode.datasets.tables.columns import (
    MarkedError,
    NotNumberError,
    NumberColumn,
    TextColumn,
    TimeColumn,
    floats,
    not_a_number,
)
from physode.datasets.tables.heading import Cells, Heading, Source
from physode.datasets.tables.notation import Evidence, Notation
from physode.datasets.tables.options import TableOptions
from physode.datasets.trajectories import Array
from physode.errors import DataError

_CELLS, _ROWS = 1 << 19, 1 << 10  # of a block

Column = NumberColumn | TextColumn | TimeColumn
Block = tuple[list[Cells], "array[int]"]


@dataclass(frozen=True)
class Wanted:
    """What columns may hold.

    Attributes
    ----------
    words
        Names of columns of text, in small letters.
    times
        Names of columns that may hold dates and elapsed times, in small letters.
    texts
        Whether other columns may hold text, too.
    only
        Names of the columns that are read, in small letters; None for all.
    """

    words: frozenset[str]
    times: frozenset[str]
    texts: bool
    only: frozenset[str] | None = None

    def asks(self, name: str) -> bool:
        """Whether a column is read."""
        return self.only is None or name.casefold() in self.only


@dataclass
class Filled:
    """The columns of a table.

    Attributes
    ----------
    lines
        Each row's line, (R,).
    columns
        By name.
    notations
        How the numbers of each column are written; none where nothing but decimal points was met.
    refused
        Why a column of text is none of numbers, by name.
    repeats
        How often the header stands among the rows.
    """

    lines: Array
    columns: dict[str, Column]
    notations: Mapping[str, Notation] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    repeats: int = 0


def read_columns(source: Source, heading: Heading, wanted: Wanted, options: TableOptions) -> Filled:
    """Read all rows of a table.

    Numbers are read with a decimal point. If one has other marks, or the options say so, all numbers are looked at for
    what their marks prove, and read once more. Where other marks than commas divide columns, one must prove it.

    Raises
    ------
    DataError
        If there are no rows, one has another number of cells, or a cell is not what its column holds; if the numbers'
        marks contradict each other or leave open what they mean.
    """
    notations: Mapping[str, Notation] = {}
    if options.decimal == "," or options.thousands:
        notations = _notations(source, heading, wanted, options)
    try:
        filled = _fill(source, heading, wanted, notations)
        if not (source.pointed or options.decimal or notations) and _may_be_thousands(filled):
            _notations(source, heading, wanted, options)
    except MarkedError:
        notations = _notations(source, heading, wanted, options)
        filled = _fill(source, heading, wanted, notations)
    if filled.refused:
        texts: dict[str, Column] = {name: TextColumn(name, remarks=True) for name in filled.refused}
        _fill_columns(source, heading, texts, texts=False)
        filled.columns |= texts
    return filled


def _notations(source: Source, heading: Heading, wanted: Wanted, options: TableOptions) -> Mapping[str, Notation]:
    evidence = Evidence(texts=dict.fromkeys(name for name in heading.names if name in wanted.words))
    for rows, lines in _blocks(source, heading, _Count()):
        for name, cells in zip(heading.names, zip(*rows, strict=True), strict=True):
            if wanted.asks(name):
                evidence.add(name, cells, lines)
    for name, cell in evidence.texts.items():
        if cell is not None and not wanted.texts and name.casefold() not in wanted.times:
            raise not_a_number(cell)
    return evidence.notations(list(filter(wanted.asks, heading.names)), options, pointed=source.pointed)


def _may_be_thousands(filled: Filled) -> bool:
    """Whether every number is whole, or may have a mark of thousands for its point: 1.234, but not 0.5."""
    for column in filled.columns.values():
        if not isinstance(column, TextColumn) and column.plain and column.name not in filled.refused:
            values = column.values
            size = np.abs(values[values != np.floor(values)])
            size = size[~np.isnan(size)]
            if not ((size >= 1) & (size < 1000) & (np.round(size, 3) == size)).all():
                return False
    return True


def _fill(source: Source, heading: Heading, wanted: Wanted, notations: Mapping[str, Notation]) -> Filled:
    columns: dict[str, Column] = {}
    for name, unit in heading.units.items():
        notation = notations.get(name)
        if not wanted.asks(name):
            continue
        if name in wanted.words:
            columns[name] = TextColumn(name)
        elif name.casefold() in wanted.times:
            columns[name] = TimeColumn(name, unit, notation)
        else:
            columns[name] = NumberColumn(name, notation)
    filled = _fill_columns(source, heading, columns, texts=wanted.texts)
    filled.notations = notations
    return filled


@dataclass
class _Count:
    repeats: int = 0


def _fill_columns(source: Source, heading: Heading, columns: dict[str, Column], *, texts: bool) -> Filled:
    """Put all rows into columns; those that are not given are passed over."""
    lines = array("q")
    refused: dict[str, str] = {}
    count = _Count()
    places = [(place, columns[name]) for place, name in enumerate(heading.names) if name in columns]
    times = [(place, column) for place, column in places if isinstance(column, TimeColumn)]
    others = len(places) == len(heading.names) and all(
        each.plain for _, each in places if not isinstance(each, TimeColumn)
    )
    for rows, numbers in _blocks(source, heading, count):
        lines.extend(numbers)
        if others and _settled(times, rows, numbers):
            values = _floats(rows)
            if values is not None:
                for (_, column), each in zip(places, values, strict=True):
                    assert not isinstance(column, TextColumn)
                    column.put(each)
                continue
        cells = list(zip(*rows, strict=True))
        for place, column in places:
            if column.name not in refused:
                try:
                    column.add(cells[place], numbers)
                except NotNumberError as error:
                    if not texts:
                        raise
                    refused[column.name] = str(error)
    if not lines:
        raise DataError("it has no rows below its header")
    return Filled(np.array(lines, dtype=np.int64), columns, refused=refused, repeats=count.repeats)


def _settled(times: list[tuple[int, TimeColumn]], rows: list[Cells], lines: array[int]) -> bool:
    """Whether all columns of times hold plain numbers, by their first values."""
    try:
        for place, column in times:
            column.settle([row[place] for row in rows], lines)
    except NotNumberError:
        return False
    return all(column.plain for _, column in times)


def _floats(rows: list[Cells]) -> Array | None:
    """Return a block of numbers with decimal points, (C, R); None if a cell holds anything else."""
    values = floats(list(chain.from_iterable(rows)))
    if values is None or np.isinf(values).any():
        return None
    return np.ascontiguousarray(values.reshape(len(rows), -1).T)


def _blocks(source: Source, heading: Heading, count: _Count) -> Iterator[Block]:
    """Yield rows, as wide as the header, with their lines; without the row of units and repeated headers."""
    most = min(_ROWS, max(1, _CELLS // len(heading.names)))
    with source.rows() as rows:
        next(rows, None)
        data = _data(rows, heading, count)
        while block := list(islice(data, most)):
            yield [cells for _, cells in block], array("q", [line for line, _ in block])


def _data(rows: Iterator[tuple[int, Cells]], heading: Heading, count: _Count) -> Iterator[tuple[int, Cells]]:
    width, first = len(heading.names), heading.cells[0]
    units_line, units = heading.units_line or (0, ())
    repeated = False
    for line, row in rows:
        cells = row if len(row) == width else heading.fitted(row, line)
        if line == units_line or (repeated and tuple(cells) == units[:width]):
            repeated = False
            continue
        repeated = cells[0] == first and heading.repeated(cells)
        if repeated:
            count.repeats += 1
            continue
        yield line, cells
