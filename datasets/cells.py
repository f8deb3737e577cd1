"""Cells of text as numbers and labels, collected into columns."""

from __future__ import annotations

import math
from array import array

from physode.datasets.files import shown
from physode.errors import DataError

__all__ = ["LONGEST_LABEL", "NumberColumn", "TextColumn", "number_of"]

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
