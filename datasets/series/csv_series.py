"""Series in a table of text, one row a value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from physode.datasets.files import naming, shown
from physode.datasets.series.arrays import Values, gather
from physode.datasets.series.series import IrregularSeries, add_notes
from physode.datasets.table import Table, TableOptions, quoted, read_table
from physode.datasets.trajectories import Array
from physode.errors import DataError

LABELS = frozenset({"series", "channel"})
"""The columns that hold names."""

COLUMNS = ("series", "time", "channel", "value")
"""All columns of such a table."""


def read_long_csv(path: Path, options: TableOptions | None = None) -> IrregularSeries:
    """Read a table with the columns ``series, time, channel, value`` in any order.

    Series and channels are numbered as they first appear. Rows of a series need not stand together, but the times of
    each of its channels must rise from row to row.

    Raises
    ------
    DataError
        If columns are missing or unknown, a name or time is missing, a row stands twice or too early, and as of
        `read_table` and `IrregularSeries`; the message names the file, and the rows that are to blame.
    """
    with naming(path):
        table = _with_columns(read_table(path, words=LABELS, options=options))
        series, channels = (table.words[name] for name in ("series", "channel"))
        values = Values(series.codes, table.numbers["time"], channels.codes, table.numbers["value"])
        _check_rows(table, values)
        t, y = gather(values, names=series.labels, channels=len(channels.labels))
        unit = {name.casefold(): unit for name, unit in table.units.items()}
        found = IrregularSeries(
            t=t,
            y=y,
            channels=channels.labels,
            units=(unit["value"],) * len(channels.labels),
            names=series.labels,
            attrs={
                "name": path.stem,
                "source": path.name,
                **({"time_unit": unit["time"]} if unit["time"] else {}),
                **table.attributes,
            },
        )
    add_notes(found, _missing(table, values))
    return found


def _with_columns(table: Table) -> Table:
    """Return the table with its columns of numbers in small letters."""
    found = {name.casefold(): name for name in table.names}
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise DataError(
            f"it has no column {missing[0]}; series are read from the columns {', '.join(COLUMNS)}, "
            f"it has {quoted(table.names)}"
        )
    unknown = [name for key, name in found.items() if key not in COLUMNS]
    if unknown:
        raise DataError(f"column {quoted(unknown[:1])} is none that a table of series may have; remove it")
    return replace(table, numbers={name: table.numbers[found[name]] for name in ("time", "value")})


def _check_rows(table: Table, values: Values) -> None:
    untimed = np.isnan(values.time)
    if untimed.any():
        raise DataError(f"row {table.lines[untimed][0]} has no time; fill it in")
    for name, words in table.words.items():
        if "" in words.labels:
            row = table.lines[words.codes == words.labels.index("")][0]
            raise DataError(f"row {row} names no {name}; fill it in")
    group = values.series * len(table.words["channel"].labels) + values.channel
    _check_different(table, values, group)
    order = np.argsort(group, kind="stable")
    early = np.flatnonzero((np.diff(group[order]) == 0) & (np.diff(values.time[order]) < 0))
    if early.size:
        place = early[np.argmin(order[early + 1])]
        before, row = order[place], order[place + 1]
        raise DataError(
            f"{_row(table, values, row)} stands after time {values.time[before]:.10g} (row {table.lines[before]}); "
            "sort the rows by time"
        )


def _check_different(table: Table, values: Values, group: Array) -> None:
    order = np.lexsort((values.time, group))
    same = np.flatnonzero((np.diff(group[order]) == 0) & (np.diff(values.time[order]) == 0))
    if same.size:
        place = same[np.argmin(order[same + 1])]
        first, row = order[place], order[place + 1]
        raise DataError(
            f"{_row(table, values, row)} stands in row {table.lines[first]} already; keep one, or take their mean"
        )


def _row(table: Table, values: Values, row: int) -> str:
    series, channel = (table.words[name] for name in ("series", "channel"))
    return (
        f"row {table.lines[row]}: series {shown(series.labels[values.series[row]])}, "
        f"channel {shown(channel.labels[values.channel[row]])}, time {values.time[row]:.10g}"
    )


def _missing(table: Table, values: Values) -> list[str]:
    empty = np.isnan(values.value)
    if not empty.any():
        return []
    first = table.lines[empty][0]
    return [f"rows without a value: {empty.sum()} of {len(empty)}, row {first} the first; their times are kept"]
