"""The times of a table on one clock, in the unit that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from physode.datasets.files import shown
from physode.datasets.tables.columns import TimeColumn
from physode.datasets.tables.dates import Calendar, DateColumn, calendar_of
from physode.datasets.tables.elapsed import ElapsedColumn
from physode.datasets.tables.options import TIME_UNITS, TableOptions
from physode.datasets.trajectories import Array
from physode.errors import DataError

_UNIT_NAMES = {
    "s": ("s", "sec", "second", "seconds"),
    "min": ("min", "minute", "minutes"),
    "h": ("h", "hr", "hour", "hours"),
    "d": ("d", "day", "days"),
    "week": ("w", "week", "weeks"),
    "yr": ("yr", "year", "years"),
}
UNIT_WORDS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "week": "weeks", "yr": "years"}
_UNITS = {name: unit for unit, names in _UNIT_NAMES.items() for name in names}


@dataclass(frozen=True)
class Clock:
    """Columns of dates and elapsed times in seconds, what was understood of them, where dates are counted from, and
    which columns hold dates.
    """

    seconds: dict[str, Array]
    about: dict[str, str]
    origin: datetime | None
    dated: frozenset[str]


def clock_of(columns: Mapping[str, object], dayfirst: bool | None) -> Clock:
    """Bring the dates and elapsed times of a table's columns to seconds.

    Raises
    ------
    DataError
        If there are both, and as of `calendar_of`.
    """
    inner = {name: column.inner for name, column in columns.items() if isinstance(column, TimeColumn)}
    dates = [column for column in inner.values() if isinstance(column, DateColumn)]
    elapsed = [column for column in inner.values() if isinstance(column, ElapsedColumn)]
    seconds = {column.name: column.seconds for column in elapsed}
    about = {column.name: "elapsed times (hh:mm:ss" for column in elapsed}
    if dates and elapsed:
        raise DataError(
            f"column {shown(dates[0].name)} holds dates, column {shown(elapsed[0].name)} times of day or "
            "elapsed times; join them as 2025-03-31 12:00, or remove one"
        )
    calendar: Calendar | None = calendar_of(dates, dayfirst) if dates else None
    if calendar is not None:
        seconds |= calendar.seconds
        about |= {column.name: calendar.about for column in dates}
    dated = frozenset(column.name for column in dates)
    return Clock(seconds, about, None if calendar is None else calendar.origin, dated)


def unit_of(label: str, options: TableOptions) -> str:
    """Return the unit that dates and elapsed times come in: as the options, or else the header, say."""
    return options.time_unit or _UNITS.get(label.casefold(), "s")


def unit_in_name(name: str) -> str:
    """Return the unit of which a name is the word, ``min`` of ``minutes``; empty where it is none."""
    return _UNITS.get(name.casefold(), "")


def in_unit(values: Array, label: str, options: TableOptions) -> tuple[Array, str]:
    """Return times that are numbers in the unit that is asked for, and the unit's label."""
    asked = options.time_unit
    if asked is None:
        return values, label
    own = _UNITS.get(label.casefold())
    if label and own is None:
        raise DataError(f"times in {shown(label)!r} cannot be brought to {asked}; use {', '.join(TIME_UNITS)}")
    return (values if own in (None, asked) else values * TIME_UNITS[own] / TIME_UNITS[asked]), asked
