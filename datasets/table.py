"""Tables: rows of cells under a header, read into columns of numbers, times and words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physode.datasets.files import check_file, naming, shown
from physode.datasets.tables.clock import UNIT_WORDS, clock_of, in_unit, unit_in_name, unit_of
from physode.datasets.tables.columns import (
    LONGEST_LABEL,
    TextColumn,
    TimeColumn,
    Words,
    label_of,
    number_of,
)
from physode.datasets.tables.excel import sheet_source
from physode.datasets.tables.frames import FrameSource, is_frame
from physode.datasets.tables.heading import Heading, Source, heading_of, named
from physode.datasets.tables.notation import notation_words
from physode.datasets.tables.options import TIME_UNITS, TableOptions, flag_of
from physode.datasets.tables.reading import Filled, Wanted, read_columns
from physode.datasets.tables.sources import Kind, is_matlab, kind_of_table, text_source
from physode.datasets.trajectories import Array
from physode.errors import DataError

__all__ = [
    "LONGEST_LABEL", "TIMES", "WORDS", "Table", "TableOptions", "Words", "number_of", "quoted", "read_header",
    "read_table",
]  # fmt: skip

WORDS = frozenset({"body", "trajectory", "unit", "units"})
"""Columns of text in tables of trajectories."""

TIMES = ("time", "times", "t", "year", "years", "yr", "date", "datetime", "timestamp", "jd", "mjd", "day", "days")
"""Names by which a column of times is known."""

IN_MEMORY = "the table"
"""What messages call a DataFrame."""

# What may be said of each kind of file.
_TIME_OPTIONS, _ROLE_OPTIONS = ("dayfirst", "time_unit"), ("columns", "static")
_MEANT: dict[str, tuple[str, ...]] = {
    "CSV": ("delimiter", "decimal", "thousands", "encoding", "comment", "units_row", *_TIME_OPTIONS, *_ROLE_OPTIONS),
    "Excel": ("sheet", "decimal", "thousands", "units_row", *_TIME_OPTIONS, *_ROLE_OPTIONS),
    "MATLAB": ("variable", "time_unit", *_ROLE_OPTIONS),
    "DataFrame": ("decimal", "thousands", "units_row", *_TIME_OPTIONS, *_ROLE_OPTIONS),
}


@dataclass(frozen=True)
class Table:
    """The R rows of a file, column by column.

    Attributes
    ----------
    lines
        Number of each row's line in the file, from 1, (R,). Errors call it the row.
    numbers
        Columns of numbers by name, float64, (R,); NaN where a cell is empty, ``nan``, ``NA`` or ``-``. Dates are
        numbers since `origin`, elapsed times numbers since 0, both in the column's unit.
    words
        Columns of text by name, in small letters if they were asked for by it.
    units
        What stands in brackets behind each name, or below it; ``""`` where nothing does. Of dates and elapsed times it
        is that of the numbers: ``s``, ``min``, ``h``, ``d``, ``week`` or ``yr`` (365.25 days).
    origin
        Where dates are counted from, the earliest of the file, with a zone where they have one; None without dates.
    understood
        How the file was read, in one line.
    plain
        Whether that goes without saying: commas, decimal points, UTF-8.
    refused
        Why a column of `words` that was not asked for is none of numbers, by name.
    dated
        Which columns of `numbers` hold dates.
    """

    lines: Array
    numbers: dict[str, Array]
    words: dict[str, Words]
    units: dict[str, str]
    origin: datetime | None = None
    understood: str = ""
    plain: bool = True
    refused: Mapping[str, str] = field(default_factory=dict)
    dated: frozenset[str] = frozenset()

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

    def column(self, name: str) -> Array:
        """Return a column of numbers, (R,); letter case does not matter in its name.

        Raises
        ------
        DataError
            If there is none of that name, or it holds text; the message names the first cell that is no number.
        """
        name = self._key(name)
        if name in self.numbers:
            return self.numbers[name]
        if name in self.words:
            raise DataError(self.refused.get(name, f"column {shown(name)} holds text, where numbers are needed"))
        raise self._absent(name)

    def labels(self, name: str) -> Words:
        """Return a column as labels; of numbers, whole ones have no point, and missing ones are empty.

        Letter case does not matter in its name.

        Raises
        ------
        DataError
            If there is no column of that name.
        """
        name = self._key(name)
        if name in self.words:
            return self.words[name]
        if name not in self.numbers:
            raise self._absent(name)
        return _labelled(self.numbers[name])

    def _key(self, name: str) -> str:
        if name in self.units:
            return name
        return next((each for each in self.units if each.casefold() == name.casefold()), name)

    def _absent(self, name: str) -> DataError:
        return DataError(f"it has no column {shown(name)}; the columns are {quoted(self.names)}")

    @property
    def attributes(self) -> dict[str, str]:
        """What data made of it say: ``understood``, unless plain, and ``time_origin`` of dates, ISO 8601."""
        said = {} if self.plain else {"understood": self.understood}
        return said | ({} if self.origin is None else {"time_origin": self.origin.isoformat()})


def read_table(
    path: str | os.PathLike[str] | Any,
    *,
    words: frozenset[str] = WORDS,
    times: frozenset[str] = frozenset(TIMES),
    options: TableOptions | None = None,
    texts: bool = False,
    only: frozenset[str] | None = None,
) -> Table:
    """Read a table: text, packed by gzip or not, a workbook (.xlsx), a MATLAB file, or a DataFrame.

    The first row names the columns. A name may be followed by a unit in brackets, ``x [AU]`` or ``x (AU)``; or units
    stand in the row below. ``docs/data.md`` says what is found out of itself, and what has to be said by `options`.

    Parameters
    ----------
    path
        The file; or columns that are in memory, a pandas DataFrame or a mapping of names to columns.
    words
        Names of columns that hold text, in small letters; all others hold numbers.
    times
        Names of columns, in small letters, that may hold dates and elapsed times in place of numbers.
    options
        What is known of how the table is written.
    texts
        Whether columns that are not in `words` may hold text, too.
    only
        Names of the columns that are read, in small letters, where not all are; others need no name.

    Raises
    ------
    DataError
        If the file is missing, too large, damaged or of no such kind; if columns have no name or the same, if a row has
        another number of cells, if a cell is no finite number or time; if numbers or dates can be read in two ways, or
        an option has no part in such a file. The message names the file, and where in it.
    ConfigError
        If a package is missing that reads it.
    """
    options = options or TableOptions()
    with naming(label_of_source(path)):
        kind = _checked_kind(path, options)
        wanted = Wanted(words, times, texts, only)
        if kind == "MATLAB":
            return _of_matlab(Path(path), wanted, options)
        source = _source(path, kind, options, unnamed=only is not None)
        heading = heading_of(source, words, options.units_row, unnamed=only is not None)
        return _table(source, heading, read_columns(source, heading, wanted, options), options)


def label_of_source(source: Any) -> Path:
    """Return what messages call a table."""
    return Path(IN_MEMORY if is_frame(source) else source)


def read_header(
    path: str | os.PathLike[str] | Any,
    *,
    words: frozenset[str] = WORDS,
    options: TableOptions | None = None,
    unnamed: bool = False,
) -> tuple[str, ...]:
    """Read the names of a table's columns, and no more; without those that have none, if that is allowed.

    Raises
    ------
    DataError
        As of `read_table`, as far as the first row shows it.
    """
    options = options or TableOptions()
    kind = _checked_kind(path, options)
    if kind == "MATLAB":
        from physode.datasets.tables.matlab import read_matlab  # SciPy's reader takes its time to load

        return tuple(named(list(read_matlab(Path(path), options.variable).columns), words))
    source = _source(path, kind, options, unnamed=unnamed)
    with source.rows() as rows:
        names = named([str(cell) for cell in next(rows, (0, []))[1]], words, unnamed=unnamed)
    return tuple(name for name in names if not name.startswith("("))


def _source(path: Any, kind: Kind | None, options: TableOptions, *, unnamed: bool) -> Source:
    if kind is None:
        return FrameSource.of(path)
    if kind == "Excel":
        return sheet_source(Path(path), options.sheet, unnamed=unnamed)
    return text_source(Path(path), options)


def meant(source: Path | Any, options: TableOptions) -> TableOptions:
    """Return those options that have a part in a file: none where it is no table, and `static` columns that it has."""
    try:
        packed = not is_frame(source) and (source.is_dir() or (h5py.is_hdf5(source) and not is_matlab(source)))
        kind = "DataFrame" if is_frame(source) else kind_of_table(source)
        known = () if packed else _MEANT[kind]
        said = {name: value for name, value in options.given.items() if name in known}
        if "static" in said:
            plain = TableOptions(**{name: value for name, value in said.items() if name not in _ROLE_OPTIONS})
            names = {name.casefold() for name in read_header(source, options=plain, unnamed=True)}
            said["static"] = tuple(name for name in said["static"] if name.casefold() in names) or None
    except (DataError, OSError):  # its readers say how
        return TableOptions()
    return TableOptions(**said)


def quoted(names: Sequence[str]) -> str:
    """Return names as a list for a message, at most ten of them."""
    return ", ".join(shown(name) for name in names[:10]) + (", ..." if len(names) > 10 else "")


def _checked_kind(source: Any, options: TableOptions) -> Kind | None:
    """Return what a file is; None of columns in memory."""
    kind = None
    if not is_frame(source):
        check_file(Path(source))
        kind = kind_of_table(Path(source))
    idle = next((name for name in options.given if name not in _MEANT[kind or "DataFrame"]), None)
    if idle is not None:
        what = "a DataFrame" if kind is None else "text" if kind == "CSV" else f"a file of {kind}"
        raise DataError(f"{flag_of(idle)} has no part in {what}; leave it out")
    return kind


def _labelled(values: Array) -> Words:
    distinct, first, codes = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Words(rank[codes.reshape(-1)], tuple(label_of(float(value)) for value in distinct[order]))


def _table(source: Source, heading: Heading, filled: Filled, options: TableOptions) -> Table:
    clock = clock_of(filled.columns, options.dayfirst)
    numbers: dict[str, Array] = {}
    labels: dict[str, Words] = {}
    units = {name: unit for name, unit in heading.units.items() if name in filled.columns}
    fortran = False
    for name, column in filled.columns.items():
        if isinstance(column, TextColumn):
            labels[name] = Words(column.codes, tuple(column.labels))
        elif name in clock.seconds:
            units[name] = unit_of(units[name], options)
            numbers[name] = clock.seconds[name] / TIME_UNITS[units[name]]
        elif isinstance(column, TimeColumn):
            numbers[name], units[name] = in_unit(column.values, _unit(name, units), options)
        else:
            numbers[name] = column.values
        fortran = fortran or column.fortran
    words = [*source.words, *notation_words(filled.notations)]
    if fortran:
        words.append("Fortran's exponents")
    if heading.units_line:
        words.append(f"units in row {heading.units_line[0]}")
    if filled.repeats:
        words.append(f"header repeated {'once' if filled.repeats == 1 else f'{filled.repeats} times'}, left out")
    words += [f"{shown(name)} from {about}, in {UNIT_WORDS[units[name]]})" for name, about in clock.about.items()]
    return Table(
        filled.lines, numbers, labels, units, clock.origin, ", ".join(words) or "commas", not words, filled.refused,
        clock.dated,
    )  # fmt: skip


def _unit(time: str, units: Mapping[str, str]) -> str:
    """Return the unit of a column of times; a name such as minutes, which is none that all times have, declares it."""
    return units[time] or ("" if time.casefold() in TIMES else unit_in_name(time))


def _of_matlab(path: Path, wanted: Wanted, options: TableOptions) -> Table:
    from physode.datasets.tables.matlab import read_matlab  # SciPy's reader takes its time to load

    found = read_matlab(path, options.variable)
    units = named(list(found.columns), wanted.words)
    numbers: dict[str, Array] = {}
    labels: dict[str, Words] = {}
    for name, values in zip(list(units), found.columns.values(), strict=True):
        infinite = np.isinf(values)
        if not wanted.asks(name):
            del units[name]
            continue
        if infinite.any():
            raise DataError(f"row {np.argmax(infinite) + 1}, column {shown(name)}: a value is infinite; make it NaN")
        if name in wanted.words:
            labels[name] = _labelled(values)
        elif name.casefold() in wanted.times:
            numbers[name], units[name] = in_unit(values, _unit(name, units), options)
        else:
            numbers[name] = values
    lines = np.arange(1, len(next(iter(found.columns.values()))) + 1)
    return Table(lines, numbers, labels, units, understood=", ".join(found.words), plain=False)
