"""Elapsed times such as 01:30:00, as seconds."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

import numpy as np

from physode.datasets.tables.dates import is_number
from physode.datasets.tables.notation import MISSING, Cell
from physode.datasets.trajectories import Array
from physode.errors import DataError

_FRACTION = r"(?:[.,](?P<fraction>\d{1,9}))?"
# The sign of days is theirs alone, as Python and pandas write them: -1 days +23:00:00 is one hour before 0.
_HOURS = re.compile(
    r"(?P<days>-?\d+)\s*days?,?(?:\s+\+?(?P<h>\d{1,2}):(?P<m>[0-5]\d):(?P<s>[0-5]\d)" + _FRACTION + r")?"
    r"|(?P<sign>[+-]?)(?P<hours>\d{1,7}):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)"
    + _FRACTION.replace("fraction", "part"),
    re.ASCII,
)
_PAIR = re.compile(r"(?P<sign>[+-]?)(?P<first>\d{1,7}):(?P<second>[0-5]\d)" + _FRACTION, re.ASCII)
_PAIRS = {"hh:mm": 60, "h:mm": 60, "mm:ss": 1, "m:ss": 1}
"""Seconds in the second number of a pair, by the unit in the header."""


def elapsed_of(text: str, unit: str = "") -> float | None:
    """Return the seconds that a cell holds; None if it holds no elapsed time.

    Parameters
    ----------
    text
        ``hh:mm:ss`` with fractions of seconds, any number of hours, and perhaps days before; or a pair.
    unit
        What a pair is: ``hh:mm`` or ``mm:ss``.
    """
    text = text.strip()
    pair = _PAIR.fullmatch(text)
    if pair:
        second = _PAIRS.get(unit.casefold().strip())
        if second is None or (pair["fraction"] and second > 1):
            return None
        size = (60 * int(pair["first"]) + int(pair["second"])) * second + _fraction(pair["fraction"])
        return -size if pair["sign"] == "-" else size
    match = _HOURS.fullmatch(text)
    if match is None:
        return None
    if match["days"] is not None:
        clock = 3600 * int(match["h"] or 0) + 60 * int(match["m"] or 0) + int(match["s"] or 0)
        return 86_400 * int(match["days"]) + clock + _fraction(match["fraction"])
    size = 3600 * int(match["hours"]) + 60 * int(match["minutes"]) + int(match["seconds"]) + _fraction(match["part"])
    return -size if match["sign"] == "-" else size


def _fraction(figures: str | None) -> float:
    return int(figures) / 10 ** len(figures) if figures else 0.0


def is_pair(text: str) -> bool:
    """Whether a cell holds two numbers with a colon between, which may be hours or minutes."""
    return _PAIR.fullmatch(text.strip()) is not None


class ElapsedColumn:
    """Collects the elapsed times of a column, in seconds; NaN where one is missing."""

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit
        self._values = array("d")

    def add(self, cells: Sequence[str | float], lines: Sequence[int]) -> None:
        """Take the times of some rows.

        Raises
        ------
        DataError
            If a cell holds none.
        """
        for cell, line in zip(cells, lines, strict=True):
            text = str(cell)
            seconds = elapsed_of(text, self.unit)
            if seconds is None and text.strip().casefold() not in MISSING:
                what = "a number, others are elapsed times" if is_number(text) else "no elapsed time"
                raise DataError(f"{Cell(line, self.name, text)} is {what}; write all of them as 01:30:00")
            self._values.append(np.nan if seconds is None else seconds)

    @property
    def seconds(self) -> Array:
        """The times, (R,)."""
        return np.array(self._values)
