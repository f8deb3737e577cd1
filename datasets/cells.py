"""Numbers in cells of text."""

from __future__ import annotations

import math

from physode.datasets.files import shown
from physode.errors import DataError

__all__ = ["number_of"]

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
