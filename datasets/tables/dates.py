"""Dates, and times of dates, as seconds since the earliest of a table."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import numpy as np

from physode.datasets.files import shown
from physode.datasets.tables.notation import MISSING, Cell
from physode.datasets.trajectories import Array
from physode.errors import DataError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = (
    r"(?:[Tt ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp][Mm])?\s*(?P<zone>[Zz]|UTC|GMT|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?"
)
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})([-/.])(?P<second_>\d{1,2})\2(?P<first_>\d{1,2})" + _CLOCK, re.ASCII)
_YEAR_LAST = re.compile(r"(?P<first_>\d{1,2})([-/.])(?P<second_>\d{1,2})\2(?P<year>\d{4})" + _CLOCK, re.ASCII)
_NAMED = re.compile(
    rf"(?P<first_>\d{{1,2}})([- ])(?P<month>{'|'.join(_MONTHS)})[a-z]*\2(?P<year>\d{{4}})" + _CLOCK,
    re.ASCII | re.IGNORECASE,
)
_NO_ZONE = -(1 << 40)
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Date:
    """A date as it is written; of 03/04/2025 day and month are not known yet.

    Attributes
    ----------
    form
        How it is written: year first, year last, or with the month's name.
    numbers
        Year, the number before the other (the day, of 31/12), that other, the second of the day, nanoseconds, and the
        zone in seconds.
    """

    form: str
    numbers: tuple[int, int, int, int, int, int]


def date_of(text: str) -> Date | None:
    """Return the date, with or without a time, that a cell holds; None if it holds none."""
    text = text.strip()
    for form, pattern in (("year first", _YEAR_FIRST), ("year last", _YEAR_LAST), ("named", _NAMED)):
        match = pattern.fullmatch(text)
        if match:
            parts = match.groupdict()
            second = _second_of_day(parts)
            month = parts.get("second_") or _MONTHS.index(parts["month"].casefold()) + 1
            if second is None or parts["year"] == "0000":
                return None
            nanoseconds = int((parts["fraction"] or "").ljust(9, "0"))
            zone = _zone(parts["zone"])
            return Date(form, (int(parts["year"]), int(parts["first_"]), int(month), second, nanoseconds, zone))
    return None


def _second_of_day(parts: dict[str, str]) -> int | None:
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    if parts["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (parts["half"].casefold() == "pm")
    return 3600 * hour + 60 * minute + second if hour < 24 and minute < 60 and second < 60 else None


def _zone(text: str | None) -> int:
    if text is None:
        return _NO_ZONE
    if text[0] not in "+-":
        return 0
    figures = text[1:].replace(":", "").ljust(4, "0")
    return int(f"{text[0]}1") * (3600 * int(figures[:2]) + 60 * int(figures[2:]))


class DateColumn:
    """Collects the dates of a column."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.form = ""
        self.clock = False
        self._numbers = array("q")
        self._lines = array("q")
        self._rows = 0
        self._places = array("q")
        self._first: Cell | None = None

    def add(self, cells: Sequence[str | float], lines: Sequence[int]) -> None:
        """Take the dates of some rows.

        Raises
        ------
        DataError
            If a cell holds none, or one that is written in another way than those above.
        """
        for cell, line in zip(cells, lines, strict=True):
            text = str(cell)
            date = date_of(text)
            if date is not None:
                self._take(date, Cell(line, self.name, text))
            elif text.strip().casefold() not in MISSING:
                raise self._refused(Cell(line, self.name, text))
            self._rows += 1

    def _take(self, date: Date, cell: Cell) -> None:
        if self._first is None:
            self._first, self.form = cell, date.form
        elif date.form != self.form:
            raise DataError(f"{cell} is written otherwise than {self._first}; write all dates alike")
        self._numbers.extend(date.numbers)
        self._lines.append(cell.line)
        self._places.append(self._rows)

    def _refused(self, cell: Cell) -> DataError:
        if self._first is not None and is_number(cell.text):
            return DataError(f"{cell} is a number, {self._first} is a date; give dates or numbers throughout")
        return DataError(f"{cell} is no date; write it as {shown(self._first.text.strip()) if self._first else ''}")

    @property
    def dates(self) -> Array:
        """Numbers of the dates that there are, (R, 6), see `Date`."""
        return np.array(self._numbers, dtype=np.int64).reshape(-1, 6)

    def cell(self, row: int) -> Cell:
        """Say which date it is, the `row`-th of those that there are."""
        year, first, second = (int(number) for number in self.dates[row, :3])
        text = f"{first:02}/{second:02}/{year:04}" if self.form == "year last" else f"{year:04}-{second:02}-{first:02}"
        return Cell(self._lines[row], self.name, text)

    def spread(self, values: Array) -> Array:
        """Put values of the dates that there are into all rows, NaN elsewhere."""
        full = np.full(self._rows, np.nan)
        full[np.array(self._places, dtype=np.int64)] = values
        return full


def is_number(text: str) -> bool:
    """Whether a cell holds a plain number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Calendar:
    """The dates of a table on one clock.

    Attributes
    ----------
    origin
        The earliest, with a zone where they have one: their own, or UTC where they have several.
    seconds
        Of each column, since the origin, (R,); NaN where one is missing.
    about
        What was understood: ``dates (2020-03-01 to 2020-06-30``, without the bracket behind.
    """

    origin: datetime
    seconds: dict[str, Array]
    about: str


def calendar_of(columns: Sequence[DateColumn], dayfirst: bool | None) -> Calendar:
    """Put the dates of a table's columns on one clock.

    Parameters
    ----------
    columns
        At least one, with at least one date.
    dayfirst
        Whether 03/04/2025 is the third of April; None where it has to be found out.

    Raises
    ------
    DataError
        If that cannot be found out, if a date does not exist, or if some have a zone and others not.
    """
    first = _day_first(columns, dayfirst)
    zones = _zones(columns)
    seconds = [_seconds(column, first) for column in columns]
    earliest = min((int(whole[k]), int(column.dates[k, 4])) for column, whole in zip(columns, seconds, strict=True)
                   for k in [int(np.lexsort((column.dates[:, 4], whole))[0])])  # fmt: skip
    latest = max(int(whole.max()) for whole in seconds)
    second, nanosecond = earliest[0], earliest[1] // 1000 * 1000
    zone = None if zones == {_NO_ZONE} else timezone(timedelta(seconds=zones.pop())) if len(zones) == 1 else UTC
    values = {
        column.name: column.spread((whole - second) + (column.dates[:, 4] - nanosecond) / 1e9)
        for column, whole in zip(columns, seconds, strict=True)
    }
    clock = zone is not None or any((whole % 86_400).any() for whole in seconds)
    ends = [_moment(end, zone) for end in (second, latest)]
    words = " to ".join(end.isoformat() if clock else f"{end:%Y-%m-%d}" for end in ends)
    order = "" if first is None else ", day first" if first else ", month first"
    utc = ", zones differ, all in UTC" if len(zones) > 1 else ""
    origin = _moment(second, zone) + timedelta(microseconds=nanosecond // 1000)
    return Calendar(origin, values, f"dates ({words}{order}{utc}")


def _moment(second: int, zone: timezone | None) -> datetime:
    naive = _EPOCH + timedelta(seconds=second)
    try:
        return naive if zone is None else naive.replace(tzinfo=UTC).astimezone(zone)
    except OverflowError:
        raise DataError("its dates, brought to UTC, lie outside of the years 1 to 9999; correct them") from None


def _day_first(columns: Sequence[DateColumn], dayfirst: bool | None) -> bool | None:
    """Return whether days stand first in dates whose year stands last; None where there are none."""
    proofs: dict[bool, Cell] = {}
    unclear: Cell | None = None
    written = [column for column in columns if column.form == "year last"]
    for column in written:
        first, second = column.dates[:, 1], column.dates[:, 2]
        for day_is_first, large in ((True, first > 12), (False, second > 12)):
            if large.any():
                proofs.setdefault(day_is_first, column.cell(int(np.argmax(large))))
        if unclear is None and (first != second).any():
            unclear = column.cell(int(np.argmax(first != second)))
    if not written:
        return None
    if len(proofs) == 2:
        raise DataError(f"{proofs[True]} has the day first, {proofs[False]} the month; write all dates alike")
    if dayfirst is not None:
        wrong = proofs.get(not dayfirst)
        if wrong is not None:
            order = "day" if dayfirst else "month"
            raise DataError(f"{wrong} has no {order} first, as the options say; correct one of them")
        return dayfirst
    if not proofs and unclear is not None:
        raise DataError(
            f"{unclear} may have the day or the month first; say which: --dayfirst or --monthfirst, or write "
            "dates as 2025-03-31"
        )
    return next(iter(proofs), True)


def _seconds(column: DateColumn, day_first: bool | None) -> Array:
    """Return whole seconds since 1970 of the dates that there are, in UTC where they have a zone."""
    year, first, second, clock, _, zone = column.dates.T
    day, month = (second, first) if column.form == "year last" and day_first is False else (first, second)
    wrong = (month < 1) | (month > 12)
    months = ((year - 1970) * 12 + np.where(wrong, 1, month) - 1).astype("datetime64[M]")
    start, end = (each.astype("datetime64[D]").astype(np.int64) for each in (months, months + 1))
    wrong |= (day < 1) | (day > end - start)
    if wrong.any():
        raise DataError(f"{column.cell(int(np.argmax(wrong)))} is no date of the calendar; correct it")
    seconds: Array = (start + day - 1) * 86_400 + clock - np.where(zone == _NO_ZONE, 0, zone)
    return seconds


def _zones(columns: Sequence[DateColumn]) -> set[int]:
    """Return the zones of all dates; none of them, or all, must have one."""
    bare: Cell | None = None
    aware: Cell | None = None
    zones: set[int] = set()
    for column in columns:
        without = column.dates[:, 5] == _NO_ZONE
        zones.update(int(zone) for zone in np.unique(column.dates[:, 5]))
        bare = bare or (column.cell(int(np.argmax(without))) if without.any() else None)
        aware = aware or (column.cell(int(np.argmin(without))) if not without.all() else None)
    if bare and aware:
        raise DataError(f"{aware} has a time zone, {bare} has none; give all of them one, or none")
    return zones
