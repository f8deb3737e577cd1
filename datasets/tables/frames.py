"""Tables that are in memory: pandas DataFrames, and mappings of names to columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from physode.datasets.tables.excel import cell_of
from physode.errors import DataError

__all__ = ["FrameSource", "is_frame"]

_TIMES = "mM"  # kinds of NumPy arrays that hold durations and dates


def is_frame(data: object) -> bool:
    """Whether something is columns under names: a DataFrame, or a mapping."""
    return isinstance(data, Mapping) or (hasattr(data, "columns") and hasattr(data, "__getitem__"))


@dataclass(frozen=True, eq=False)
class FrameSource:
    """Columns in memory as rows of cells, which are read as those of a workbook are.

    Attributes
    ----------
    names
        Of the C columns.
    columns
        Their cells: numbers, and the rest as text; C lists of equal length.
    """

    names: tuple[str, ...]
    columns: tuple[list[str | float], ...]

    words = ()
    pointed = True

    @classmethod
    def of(cls, data: Any) -> FrameSource:
        """Take the columns of a DataFrame or a mapping; levels of an index that have names, or are times, among them.

        Raises
        ------
        DataError
            If there are no columns or rows, columns have names of several levels or lengths of their own.
        """
        index = getattr(data, "index", None)
        if index is not None and hasattr(index, "names"):
            if getattr(getattr(index, "dtype", None), "kind", "") in _TIMES and index.name is None:
                data = data.rename_axis("time").reset_index()  # dates that nobody named
            elif any(name is not None for name in index.names):
                data = data.reset_index()
        names = list(data) if isinstance(data, Mapping) else list(data.columns)
        if not names:
            raise DataError("it has no columns; give one of times and one of values")
        layered = next((name for name in names if isinstance(name, tuple)), None)
        if layered is not None:
            raise DataError(f"its columns have names of several levels, {layered!r}; give each one name")
        columns = tuple(_cells(str(name), data[name]) for name in names)
        lengths = {len(cells) for cells in columns}
        if len(lengths) > 1:
            raise DataError(f"its columns have {min(lengths)} to {max(lengths)} rows; give all the same")
        return cls(tuple(map(str, names)), columns)

    @contextmanager
    def rows(self) -> Iterator[Iterator[tuple[int, list[str | float]]]]:
        """Open it as numbered rows of cells: 0 is that of the names, 1 the first below."""
        yield self._rows()

    def _rows(self) -> Iterator[tuple[int, list[str | float]]]:
        yield 0, list(self.names)
        for number, cells in enumerate(zip(*self.columns, strict=True), 1):
            yield number, list(cells)


def _cells(name: str, column: Any) -> list[str | float]:
    if hasattr(column, "detach"):
        column = column.detach().cpu()
    values = np.asarray(column)
    if values.ndim != 1:
        raise DataError(f"its column {name!r} has the shape {values.shape}; give one value a row")
    if values.dtype.kind in "fiu":
        numbers: list[str | float] = values.astype(np.float64).tolist()
        return numbers
    if values.dtype.kind in _TIMES:
        unset = np.isnat(values)
        values = values.astype(f"{values.dtype.kind}8[us]").astype(object)
        values[unset] = None
    return [_cell(value) for value in values.tolist()]


def _cell(value: Any) -> str | float:
    """Return a value as the number, or the text, that a table of text would have."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, np.generic):
        value = value.item()
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime(warn=False)
    if isinstance(value, timedelta):
        return _elapsed(value)
    return cell_of(value)


def _elapsed(value: timedelta) -> str:
    """Return a duration as hours, minutes and seconds, whichever sign it has."""
    seconds, fraction = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"
