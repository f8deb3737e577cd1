"""Which columns of a table of series are what: said, known by their usual names, or asked for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from physode.datasets.files import shown
from physode.datasets.table import TIMES, Table, TableOptions, quoted
from physode.datasets.tables.clock import unit_in_name
from physode.datasets.trajectories import Array
from physode.errors import DataError

__all__ = ["CHANNELS", "SERIES", "Layout", "UnclearError", "columns_option", "guessed", "is_deviation", "layout_of"]

SERIES = ("series", "trajectory", "experiment")
"""Names by which a column of labels of series is known."""

CHANNELS = ("channel", "observable")
"""Names by which a column of labels of channels is known."""

_VALUE = "value"
_MOST_GUESSED = 12  # columns that may be labels


class UnclearError(DataError):
    """What a table's columns are is not clear: an option has to say it, at least of one `role`."""

    def __init__(self, message: str, *, role: str) -> None:
        super().__init__(message)
        self.role = role


@dataclass(frozen=True)
class Layout:
    """What the columns of a table of series are, by their names.

    Attributes
    ----------
    time
        Times.
    series
        Labels of series; None where all rows are of one.
    channel
        Labels of channels, where a row is one value (long); None where a row is one time (wide).
    values
        The values of all channels (long), or one column a channel (wide).
    chosen
        Whether it was said which columns are channels: else those that hold no number are none.
    statics
        What is said of each series, once and for all.
    others
        The rest, which is left out.
    """

    time: str
    series: str | None
    channel: str | None
    values: tuple[str, ...]
    chosen: bool
    statics: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def labels(self) -> frozenset[str]:
        """The columns of labels, in small letters."""
        return frozenset(name.casefold() for name in (self.series, self.channel) if name is not None)

    @property
    def read(self) -> frozenset[str]:
        """All columns that have a part, in small letters."""
        return self.labels | {name.casefold() for name in (self.time, *self.values, *self.statics)}


def layout_of(names: Sequence[str], options: TableOptions) -> Layout:
    """Find out what columns are: as the options say, else by their usual names.

    Parameters
    ----------
    names
        The columns.
    options
        Whose `columns` and `static` say what some of them are.

    Raises
    ------
    DataError
        If there is no column of a name that is said.
    UnclearError
        If none is known to hold times, or several are; or labels of channels stand there without values.
    """
    said = {role: _present(names, columns, role) for role, columns in (options.columns or {}).items()}
    statics = _present(names, options.static or (), "static")
    free = [name for name in names if name not in {*statics, *(name for each in said.values() for name in each)}]
    (time,) = said.get("time") or (_only_time(names, free),)
    (series,) = said.get("series") or (_usual(free, SERIES),)
    chosen = "value" in said
    channel = None
    if len(said.get("value", ())) < 2:
        (channel,) = said.get("channel") or (_usual(free, CHANNELS),)
    rest = [name for name in free if name not in (time, series, channel)]
    values = said.get("value", ())
    if channel is not None and not chosen:
        usual = _usual(rest, (_VALUE,))
        if usual is None:
            raise UnclearError(
                f"it has no column {_VALUE} beside the labels of channels in {shown(channel)}", role=_VALUE
            )
        values = (usual,)
    elif not chosen:
        values = tuple(name for name in rest if not is_deviation(name, rest))
        if not values:
            raise UnclearError(f"it has no column of values beside {quoted([time])}", role=_VALUE)
    others = tuple(name for name in rest if name not in values)
    return Layout(time, series, channel, values, chosen, statics, others)


def _present(names: Sequence[str], asked: Sequence[str], role: str) -> tuple[str, ...]:
    by_letters = {name.casefold(): name for name in names}
    absent = [name for name in asked if name.casefold() not in by_letters]
    if absent:
        option = "--static" if role == "static" else f"--columns {role}="
        raise DataError(f"it has no column {shown(absent[0])}, as {option} says; the columns are {quoted(names)}")
    return tuple(by_letters[name.casefold()] for name in asked)


def _usual(names: Sequence[str], known: Sequence[str]) -> str | None:
    by_letters = {name.casefold(): name for name in reversed(names)}
    return next((by_letters[name] for name in known if name in by_letters), None)


def _only_time(names: Sequence[str], free: Sequence[str]) -> str:
    times = [name for name in free if name.casefold() in TIMES]
    if len(times) > 1:
        raise UnclearError(f"its columns {' and '.join(map(shown, times))} may both be times", role="time")
    if not times:
        raise UnclearError(f"none of its columns {quoted(names)} is known to hold times", role="time")
    return times[0]


def is_deviation(name: str, names: Sequence[str]) -> bool:
    """Whether a column holds standard deviations, those of another or all of them: series have no place for these."""
    of = name.casefold().removesuffix("_sigma")
    return name.casefold() == "sigma" or (of != name.casefold() and of in {each.casefold() for each in names})


def columns_option(**columns: str | None) -> str:
    """Return the option that says what columns are, as it is typed."""
    return "--columns " + shlex.quote(",".join(f"{role}={name}" for role, name in columns.items() if name is not None))


def guessed(table: Table) -> str | None:
    """Return the option that would make sense of a table, going by what its columns hold; None if none does.

    A long table has two columns of labels with which each time stands once, and one column of values that changes
    within series; a wide one has one such column of labels, and others of values.

    Parameters
    ----------
    table
        Read with ``texts=True``, any of its columns as times.
    """
    for time in _may_be_times(table):
        labels = [name for name in table.names if name != time and _may_label(table, name)][:_MOST_GUESSED]
        texts = [name for name in labels if name in table.words]
        for some in (texts, labels):
            option = _guessed_long(table, time, some) or _guessed_wide(table, time, some)
            if option is not None:
                return option
    return None


def _guessed_long(table: Table, time: str, labels: Sequence[str]) -> str | None:
    place = {name: i for i, name in enumerate(labels)}
    pairs = sorted(permutations(labels, 2), key=lambda pair: place[pair[0]] > place[pair[1]])
    for series, channel in pairs:  # in the order of the columns first: who is observed stands before what of them
        codes = table.labels(series).codes
        others = [name for name in table.numbers if name not in (time, series, channel)]
        values = [name for name in others if not same_throughout(table.numbers[name], codes)]
        if len(values) == 1 and _rises(table, time, (series, channel)) and not _once(table, (series, time)):
            return columns_option(series=series, time=time, channel=channel, value=values[0])
    return None


def _guessed_wide(table: Table, time: str, labels: Sequence[str]) -> str | None:
    for series in labels:
        if _rises(table, time, (series,)) and any(name not in (time, series) for name in table.numbers):
            return columns_option(series=series, time=time)
    return None


def _may_be_times(table: Table) -> list[str]:
    def rank(name: str) -> tuple[int, float]:
        known = (name in table.dated, name.casefold() in TIMES, bool(unit_in_name(name)), _speaks_of_time(name))
        rising = float((np.diff(table.numbers[name]) > 0).mean()) if len(table.lines) > 1 else 0.0
        return known.index(True) if True in known else len(known), -rising

    return sorted((name for name in table.numbers if np.isfinite(table.numbers[name]).all()), key=rank)


def _speaks_of_time(name: str) -> bool:
    return any(word in name.casefold() for word in ("time", "date", "when", "hour", "minute", "second", "day"))


def _may_label(table: Table, name: str) -> bool:
    """Whether a column holds text, or whole numbers, with at least two labels, each met twice on average."""
    if name in table.numbers and not (table.numbers[name] == np.floor(table.numbers[name])).all():
        return False
    labels = table.labels(name)
    return "" not in labels.labels and 2 <= len(labels.labels) <= len(table.lines) / 2


def _rises(table: Table, time: str, labels: Sequence[str]) -> bool:
    """Whether times rise from row to row in all rows that have the same labels."""
    codes = [table.labels(name).codes for name in labels]
    order = np.lexsort((np.arange(len(table.lines)), *codes))
    same = np.logical_and.reduce([np.diff(each[order]) == 0 for each in codes])
    return bool((np.diff(table.numbers[time][order])[same] > 0).all())


def _once(table: Table, names: Sequence[str]) -> bool:
    """Whether no two rows have the same in these columns."""
    codes = np.stack([table.labels(name).codes for name in names])
    return bool(len(np.unique(codes, axis=1).T) == len(table.lines))


def same_throughout(values: Array, series: Array) -> bool:
    """Whether values, (R,), are the same in all rows of each series, (R,) as places, as far as they are known."""
    known = ~np.isnan(values)
    count = int(series.max()) + 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, series[known], values[known])
    np.maximum.at(high, series[known], values[known])
    return bool((low >= high).all())
