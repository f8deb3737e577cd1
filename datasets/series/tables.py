"""Series in a table: one row a value (long), or one row a time and one column a channel (wide)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from physode.datasets.files import naming, shown
from physode.datasets.series.arrays import Values, check_size, gather
from physode.datasets.series.layout import (
    Layout,
    UnclearError,
    columns_option,
    guessed,
    layout_of,
    same_throughout,
)
from physode.datasets.series.series import IrregularSeries, add_notes
from physode.datasets.table import (
    IN_MEMORY,
    Table,
    TableOptions,
    Words,
    label_of_source,
    quoted,
    read_header,
    read_table,
)
from physode.datasets.trajectories import Array
from physode.errors import DataError

__all__ = ["read_table_of_series", "suggestion"]


def read_table_of_series(source: Any, options: TableOptions | None = None) -> IrregularSeries:
    """Read series of a table, long or wide.

    Columns are what `options.columns` says, or else what they are called: ``series``, ``trajectory`` or ``experiment``
    label series, and without such a column all rows are of one; ``channel`` or ``observable`` label channels, whose
    values stand in ``value``. Without labels of channels each further column of numbers is one.

    Series and channels are numbered as they first appear. Rows of a series need not stand together, but the times of
    each of its channels must rise from row to row.

    Parameters
    ----------
    source
        A file; or columns in memory, a DataFrame or a mapping.
    options
        What is known of how it is written.

    Raises
    ------
    DataError
        If it is not clear which columns are what; if a name or time is missing, a row stands twice or too early; and as
        of `read_table` and `IrregularSeries`. The message names the file, and the rows that are to blame.
    """
    options = options or TableOptions()
    path = label_of_source(source)
    with naming(path):
        try:
            layout = layout_of(read_header(source, options=options, unnamed=True), options)
            table = read_table(
                source,
                words=layout.labels,
                times=frozenset({layout.time.casefold()}),
                options=options,
                texts=True,
                only=layout.read,
            )
            layout = _of_numbers(table, layout)
            rows = _rows(table, layout, path)
            _check_rows(rows, layout, asked=options.columns is not None)
            made, notes = _made(rows, layout, path)
        except UnclearError as error:
            option = suggestion(source, options)
            advice = f"such as {option}" if option else f"by --columns {error.role}=NAME"
            raise DataError(f"{error}; say what the columns are, {advice}") from error
    add_notes(made, [*_left_out(layout), *notes])
    return made


def suggestion(source: Any, options: TableOptions) -> str | None:
    """Return the option that would make series of a table, as far as its columns tell; None if they do not."""
    try:
        names = frozenset(name.casefold() for name in read_header(source, options=options, unnamed=True))
        return guessed(read_table(source, words=frozenset(), times=names, options=options, texts=True, only=names))
    except DataError:
        return None


def _of_numbers(table: Table, layout: Layout) -> Layout:
    """Return what columns are when it is known which of them hold numbers.

    Raises
    ------
    DataError
        If times or values are none.
    """
    table.column(layout.time)
    if layout.channel is not None or layout.chosen:
        for name in layout.values:
            table.column(name)
        return layout
    numbers = [name for name in layout.values if name in table.numbers and not np.isnan(table.numbers[name]).all()]
    if not numbers:
        raise UnclearError(f"no column beside {quoted([layout.time])} holds numbers", role="value")
    others = [name for name in layout.values if name not in numbers]
    return replace(layout, values=tuple(numbers), others=(*layout.others, *others))


def _left_out(layout: Layout) -> list[str]:
    """Return what is said of columns that are no channels."""
    notes = []
    if layout.others:
        notes.append(
            f"columns left out: {quoted(layout.others)}; --static keeps what is the same throughout each series"
        )
    if layout.statics:
        one = len(layout.statics) == 1
        verb = "does not change: it is no channel, but" if one else "do not change: they are no channels, but"
        notes.append(f"{', '.join(layout.statics)} {verb} `statics`; no model takes these")
    return notes


def _check_labels(table: Table, layout: Layout) -> None:
    """Ask whether a column of text labels series, where none is known to."""
    for name in layout.others:
        labels = table.words.get(name)
        if labels is not None and 2 <= len(labels.labels) <= len(table.lines) / 2 and "" not in labels.labels:
            one = columns_option(time=layout.time)
            raise UnclearError(f"column {shown(name)} may label series ({one} if all rows are of one)", role="series")


@dataclass(frozen=True)
class _Rows:
    """The R rows of a table, each of one series at one time: with a value of one channel, or one of each.

    Attributes
    ----------
    table
        The rows.
    series, time
        (R,).
    channel
        Of long tables.
    values
        (R, 1) of long tables, (R, C) of wide ones.
    """

    table: Table
    series: Words
    time: Array
    channel: Words | None
    values: Array

    @property
    def groups(self) -> Array:
        """Rows with one number, (R,), are of one series, and of one channel in long tables; their times must rise."""
        if self.channel is None:
            return self.series.codes
        codes: Array = self.series.codes * len(self.channel.labels) + self.channel.codes
        return codes

    def called(self, row: int) -> str:
        """Return what a message calls a row."""
        channel = ""
        if self.channel is not None:
            channel = f"channel {shown(self.channel.labels[self.channel.codes[row]])}, "
        label = shown(self.series.labels[self.series.codes[row]])
        return f"row {self.table.lines[row]}: series {label}, {channel}time {self.time[row]:.10g}"

    def gathered(self) -> tuple[Array, Array]:
        """Return times, (N, K), and values, (N, K, C), as :func:`gather` does."""
        names, codes = self.series.labels, self.series.codes
        if self.channel is not None:
            values = Values(codes, self.time, self.channel.codes, self.values[:, 0])
            return gather(values, names=names, channels=len(self.channel.labels))
        count = self.values.shape[1]
        check_size(np.bincount(codes), names, count)
        rows = np.arange(len(codes))
        t, row = gather(Values(codes, self.time, np.zeros_like(rows), rows), names=names, channels=1)
        y = np.full((*t.shape, count), np.nan)
        seen = ~np.isnan(t)
        y[seen] = self.values[row[seen, 0].astype(np.int64)]
        return t, y


def _rows(table: Table, layout: Layout, path: Path) -> _Rows:
    """Take the rows out of a table, without those that are empty."""
    values = np.stack([table.column(name) for name in layout.values], axis=-1)
    untimed = np.isnan(table.column(layout.time))
    empty = untimed & np.logical_and.reduce(np.isnan(values), axis=1)
    if layout.channel is None and empty.any() and not empty.all():
        table, values = table.take(~empty), values[~empty]
    if layout.series is None:
        series = Words(np.zeros(len(table.lines), dtype=np.int64), (path.name.partition(".")[0] or path.name,))
    else:
        series = _used(table.labels(layout.series))
    channel = None if layout.channel is None else table.labels(layout.channel)
    return _Rows(table, series, table.column(layout.time), channel, values)


def _used(words: Words) -> Words:
    """Return labels without those that no row has."""
    used, codes = np.unique(words.codes, return_inverse=True)
    return Words(codes.reshape(-1), tuple(words.labels[code] for code in used))


def _check_rows(rows: _Rows, layout: Layout, *, asked: bool) -> None:
    """Raise an error of rows that cannot be; unless what the columns are was said, ask where they may be others."""
    table, time = rows.table, rows.time
    untimed = np.isnan(time)
    if untimed.any():
        raise DataError(f"row {table.lines[untimed][0]} has no time; fill it in")
    for name, words in {"series": rows.series, "channel": rows.channel}.items():
        if words is not None and "" in words.labels:
            nameless = table.lines[words.codes == words.labels.index("")]
            if nameless.size:
                raise DataError(f"row {nameless[0]} names no {name}; fill it in")
    _check_different(rows, layout)
    if layout.series is None and not asked:
        _check_labels(table, layout)
    order = np.argsort(rows.groups, kind="stable")
    early = np.flatnonzero((np.diff(rows.groups[order]) == 0) & (np.diff(time[order]) < 0))
    if early.size:
        place = early[np.argmin(order[early + 1])]
        before, row = order[place], order[place + 1]
        if layout.series is None and not asked:
            raise UnclearError(
                f"time {time[row]:.10g} (row {table.lines[row]}) stands after {time[before]:.10g}: sort the rows, "
                "unless they are of several series",
                role="series",
            )
        raise DataError(
            f"{rows.called(row)} stands after time {time[before]:.10g} (row {table.lines[before]}); "
            "sort the rows by time"
        )


def _check_different(rows: _Rows, layout: Layout) -> None:
    groups, time, lines = rows.groups, rows.time, rows.table.lines
    order = np.lexsort((time, groups))
    same = np.flatnonzero((np.diff(groups[order]) == 0) & (np.diff(time[order]) == 0))
    if not same.size:
        return
    place = same[np.argmin(order[same + 1])]
    first, row = order[place], order[place + 1]
    if layout.series is None:
        raise UnclearError(
            f"time {time[row]:.10g} stands in rows {lines[first]} and {lines[row]}, which may be of several series",
            role="series",
        )
    label = next((name for name in layout.others if name in rows.table.words and _divides(rows, name)), None)
    if layout.channel is None and label is not None:
        raise UnclearError(
            f"{rows.called(row)} stands in row {lines[first]} already, and column {shown(label)} may label channels",
            role="channel",
        )
    raise DataError(f"{rows.called(row)} stands in row {lines[first]} already; keep one, or take their mean")


def _divides(rows: _Rows, name: str) -> bool:
    """Whether no two rows of one series and time have the same label in a column."""
    codes = np.stack([rows.series.codes, rows.time, rows.table.labels(name).codes])
    return bool(np.unique(codes, axis=1).shape[1] == codes.shape[1])


def _made(rows: _Rows, layout: Layout, path: Path) -> tuple[IrregularSeries, list[str]]:
    """Return series of rows, and notes of them."""
    table, series = rows.table, rows.series
    channels = layout.values if rows.channel is None else rows.channel.labels
    units = [table.units[name] for name in layout.values]
    t, y = rows.gathered()
    time_unit = table.units[layout.time]
    statics = {name: _static(table, name, series) for name in layout.statics}
    made = IrregularSeries(
        t=t,
        y=y,
        channels=tuple(channels),
        units=tuple(units) if rows.channel is None else tuple(units * len(channels)),
        names=series.labels,
        attrs={
            "name": "table" if path == Path(IN_MEMORY) else path.stem,
            "source": path.name,
            **({"time_unit": time_unit} if time_unit else {}),
            **table.attributes,
            **({"statics": statics} if statics else {}),
        },
    )
    return made, [*_missing(rows), *_constant(rows, layout)]


def _static(table: Table, name: str, series: Words) -> list[float | str | None]:
    """Return what a column says of each series, None where it is empty.

    Raises
    ------
    DataError
        If it says two things of one.
    """
    said = table.labels(name)
    filled = np.array([label != "" for label in said.labels], dtype=np.bool_)
    known = np.flatnonzero(filled[said.codes])
    some, first = np.unique(series.codes[known], return_index=True)
    rows = np.full(len(series.labels), -1)
    rows[some] = known[first]
    others = known[said.codes[known] != said.codes[rows[series.codes[known]]]]
    if others.size:
        row, before = others[0], rows[series.codes[others[0]]]
        raise DataError(
            f"row {table.lines[row]}: {shown(name)} is {shown(said.labels[said.codes[row]])}, of series "
            f"{shown(series.labels[series.codes[row]])} it was {shown(said.labels[said.codes[before]])} in row "
            f"{table.lines[before]}; --static is for what does not change"
        )
    if name in table.numbers:
        return [float(table.numbers[name][row]) if row >= 0 else None for row in rows]
    return [said.labels[said.codes[row]] if row >= 0 else None for row in rows]


def _missing(rows: _Rows) -> list[str]:
    empty: Array = np.logical_and.reduce(np.isnan(rows.values), axis=1)
    if not empty.any():
        return []
    first = rows.table.lines[empty][0]
    return [f"rows without a value: {empty.sum()} of {len(empty)}, row {first} the first; their times are kept"]


def _constant(rows: _Rows, layout: Layout) -> list[str]:
    """Return what is said of channels that nobody chose, and that seem to be static."""
    if rows.channel is not None or layout.chosen or len(rows.series.labels) == 1:
        return []
    same = [
        name
        for name, values in zip(layout.values, rows.values.T, strict=True)
        if same_throughout(values, rows.series.codes) and np.nanmin(values) < np.nanmax(values)
    ]
    again = len(rows.time) > len(rows.series.labels) and len(same) < len(layout.values)
    if not same or not again:
        return []
    return [
        f"channels that are the same throughout each series: {quoted(same)}; --static {','.join(same)} keeps them apart"
    ]
