"""The rows of a table as observations of some components, with what must hold row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physode.datasets.table import TIMES, Table, Words, quoted
from physode.datasets.trajectories import Array
from physode.errors import DataError


@dataclass(frozen=True)
class Observations:
    """What R rows say of D components.

    Attributes
    ----------
    lines
        Each row's line in the file, (R,).
    t
        Times, (R,).
    y
        Values, (R, D); NaN where missing.
    sigma
        Standard deviations, (R, D), or None.
    """

    lines: Array
    t: Array
    y: Array
    sigma: Array | None


def time_column(table: Table) -> str:
    """Return the name of the column of times: the first one with a name in `TIMES`."""
    for name in table.numbers:
        if name.casefold() in TIMES:
            return name
    raise DataError(f"its first row names no column of times; call one of them time; the row has {quoted(table.names)}")


def prune(table: Table, time: str, columns: Sequence[str]) -> tuple[Table, list[str]]:
    """Drop rows that are empty throughout; return the others, and notes of all rows without a value in `columns`."""
    empty = np.logical_and.reduce([np.isnan(table.numbers[name]) for name in columns])
    if empty.all():
        raise DataError(f"it holds no value in the columns {quoted(columns)}")
    untimed = np.isnan(table.numbers[time])
    if (untimed & ~empty).any():
        raise DataError(f"row {table.lines[untimed & ~empty][0]} has values but no {time}; fill it in")
    if not empty.any():
        return table, []
    count, first = int(empty.sum()), table.lines[empty][0]
    rows = "1 row holds no number (row" if count == 1 else f"{count} rows hold no number (first: row"
    return table.take(~untimed), [f"{rows} {first}); treated as missing"]


def observe(
    table: Table, time: str, columns: Sequence[str | None], sigmas: Sequence[str | None], scales: Sequence[float]
) -> Observations:
    """Take D components out of a table.

    Parameters
    ----------
    columns, sigmas
        The column of each component's values and of their standard deviations; None where there is none.
    scales
        What the standard deviations are multiplied by, so that they have their values' unit.

    Raises
    ------
    DataError
        If a standard deviation is not above 0, or missing where there is a value.
    """
    absent = np.full(len(table.lines), np.nan)
    y = np.stack([absent if name is None else table.numbers[name] for name in columns], axis=-1)
    sigma = None
    if any(name is not None for name in sigmas):
        for values, name in zip(y.T, sigmas, strict=True):
            if name is not None:
                _check_deviations(table, name, ~np.isnan(values))
        pairs = zip(sigmas, scales, strict=True)
        sigma = np.stack([absent if name is None else table.numbers[name] * scale for name, scale in pairs], axis=-1)
    return Observations(table.lines, table.numbers[time], y, sigma)


def groups(*words: Words) -> list[tuple[tuple[int, ...], Array]]:
    """Return each combination of labels that occurs, as their indices, with its rows in the file's order."""
    sizes = [len(each.labels) for each in words]
    keys = np.ravel_multi_index([each.codes for each in words], sizes)
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    rows = np.split(order, starts[1:])
    return [
        (tuple(int(index) for index in np.unravel_index(key, sizes)), each)
        for key, each in zip(found, rows, strict=True)
    ]


def labels_of(table: Table, name: str) -> Words:
    """Return a column of text, each cell of which must be filled; without the column, one empty label for all rows."""
    if name not in table.words:
        return Words(np.zeros(len(table.lines), dtype=np.int64), ("",))
    words = table.words[name]
    used, codes = np.unique(words.codes, return_inverse=True)
    labels = tuple(words.labels[code] for code in used)
    if "" in labels:
        row = int(np.argmax(codes == labels.index("")))
        raise DataError(f"row {table.lines[row]}: column {name} is empty; fill it in, or remove the row")
    return Words(codes, labels)


def _check_deviations(table: Table, name: str, known: Array) -> None:
    values = table.numbers[name]
    for wrong, what in (
        (values <= 0, "is not above 0"),
        (np.isnan(values) & known, "is missing beside a value"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            got = "" if np.isnan(values[row]) else f" {values[row]:g}"
            raise DataError(f"row {table.lines[row]}: the standard deviation{got} in column {name} {what}; correct it")
