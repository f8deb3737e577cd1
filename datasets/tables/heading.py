"""The header of a table, and the row of units below it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from physode.datasets.files import shown
from physode.datasets.tables.columns import LONGEST_LABEL
from physode.datasets.tables.dialect import is_value
from physode.datasets.tables.notation import MISSING
from physode.errors import DataError

_NAME_AND_UNIT = re.compile(r"(?P<name>[^\[(]*)[\[(](?P<unit>[^\])]*)[\])]\s*")
_UNIT = re.compile(r"(?:1 ?/ ?)?[^\W\d_][^\[\]();,\"]{0,29}|[%°‰][^\W\d_]{0,3}")
_BLANK_UNITS = frozenset({"", "-", "1", "\N{EN DASH}"})
_LOOKED = 20  # rows below what may be units

Cells = Sequence[str | float]


class Source(Protocol):
    """Where rows come from, again and again."""

    @property
    def words(self) -> tuple[str, ...]:
        """What is worth saying of how they are written."""

    @property
    def pointed(self) -> bool:
        """Whether 1.234 can only have a decimal point, where no other number says otherwise."""

    def rows(self) -> AbstractContextManager[Iterator[tuple[int, Cells]]]:
        """Open it as numbered rows of cells, the first of which is the header."""


@dataclass(frozen=True)
class Heading:
    """What stands above the rows of a table.

    Attributes
    ----------
    cells
        The header's cells; those at its end may have no name.
    units
        Each column's unit by its name, in the file's order.
    units_line
        The line of the row of units, where there is one, and its cells.
    """

    cells: tuple[str, ...]
    units: dict[str, str]
    units_line: tuple[int, tuple[str | float, ...]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self.units)

    def fitted(self, cells: Cells, line: int) -> Cells:
        """Return a row without empty cells behind the last column.

        Raises
        ------
        DataError
            If it has another number of cells.
        """
        width = len(self.units)
        more = [i for i, cell in enumerate(cells[width:], width) if not isinstance(cell, str) or cell.strip()]
        if more and len(cells) <= len(self.cells):
            raise DataError(f"column {more[0] + 1} of the header has no name; name it, or remove the column")
        if more or len(cells) < width:
            raise DataError(f"row {line} has {len(cells)} cells, the header {width}; give both the same")
        return cells[:width]

    def repeated(self, cells: Cells) -> bool:
        """Whether a row is the header again."""
        return all(
            isinstance(cell, str) and " ".join(cell.split()) == name.strip()
            for cell, name in zip(cells, self.cells, strict=False)
        )


def heading_of(source: Source, words: frozenset[str], units_row: bool | None, *, unnamed: bool = False) -> Heading:
    """Read what stands above the rows.

    Parameters
    ----------
    words
        Names of columns that hold text, in small letters; they are no units.
    units_row
        Whether units stand below the header; None where that has to be found out: they do if cells that look like units
        stand above numbers.
    unnamed
        As of `named`.

    Raises
    ------
    DataError
        If the first row has no names, or columns have none, the same or one that is too long, or two units.
    """
    with source.rows() as rows:
        _, header = next(rows, (0, []))
        cells = tuple(str(cell) for cell in header)
        heading = Heading(cells, named(cells, words, unnamed=unnamed))
        if all(map(is_value, heading.names)):
            raise DataError(
                f"its first row names no column of times, nor any: it has {shown(', '.join(cells))}; "
                "write the columns' names above, such as time,x"
            )
        if units_row is False:
            return heading
        line, second = next(rows, (0, []))
        texts = [place for place, name in enumerate(heading.names) if name not in words]
        if not second or not (units_row or _look_like_units(second, texts)):
            return heading
        below = [each for _, each in islice(rows, _LOOKED) if each != second and not heading.repeated(each)]
    if not (units_row or _stand_above_values(second, texts, below)):
        return heading
    return replace(heading, units=_with_units(heading, second), units_line=(line, tuple(second)))


def named(header: Sequence[str], words: frozenset[str], *, unnamed: bool = False) -> dict[str, str]:
    """Return each column's unit by its name; cells at the end may be empty.

    Parameters
    ----------
    header
        The cells.
    words
        As of `heading_of`.
    unnamed
        Whether other columns may have no name, too, as pandas writes those of row numbers: they are called ``(1)``,
        which no column can be called.

    Raises
    ------
    DataError
        As `heading_of`.
    """
    if not header:
        raise DataError("it has no rows, only comments or blank lines")
    count = len(header)
    while count > 1 and not header[count - 1].strip():
        count -= 1
    units: dict[str, str] = {}
    known: set[str] = set()
    for i, cell in enumerate(header[:count], 1):
        match = _NAME_AND_UNIT.fullmatch(cell)
        name, unit = (match["name"].strip(), match["unit"].strip()) if match else (cell.strip(), "")
        if not name and unnamed:
            units[f"({i})"] = ""
            continue
        if not name:
            raise DataError(f"column {i} of the header has no name; name it, or remove the column")
        if len(cell) > LONGEST_LABEL:
            raise DataError(f"column {i} of the header has a name of {len(cell)} letters; shorten it")
        folded = name.casefold()
        if folded in known:
            raise DataError(f"the header names {shown(name)} twice; give each column a name of its own")
        known.add(folded)
        units[folded if folded in words else name] = unit
    return units


def _bare(cell: str) -> str:
    """Return what stands in a cell, without brackets around it."""
    text = cell.strip()
    return text[1:-1].strip() if (text[:1], text[-1:]) in (("[", "]"), ("(", ")")) else text


def _look_like_units(row: Cells, places: Sequence[int]) -> bool:
    """Whether a row holds units, at least one, and nothing else; the first number settles it."""
    some = False
    for place in places:
        cell = row[place] if place < len(row) else ""
        text = _bare(cell) if isinstance(cell, str) else "0"
        if text in _BLANK_UNITS:
            continue
        if text.casefold() in MISSING or is_value(text) or not _UNIT.fullmatch(text):
            return False
        some = True
    return some


def _stand_above_values(row: Cells, places: Sequence[int], below: Sequence[Cells]) -> bool:
    """Whether below units stand values, at least one, and no text."""
    some = False
    for place in places:
        unit = row[place] if place < len(row) else ""
        if not isinstance(unit, str) or _bare(unit) in _BLANK_UNITS:
            continue
        for cell in (cells[place] for cells in below if place < len(cells)):
            if isinstance(cell, str) and not is_value(cell):
                return False
            some = some or not isinstance(cell, str) or cell.strip().casefold() not in MISSING
    return some


def _with_units(heading: Heading, row: Cells) -> dict[str, str]:
    units = dict(heading.units)
    for name, cell in zip(heading.names, row, strict=False):
        text = _bare(str(cell))
        unit = "" if text in _BLANK_UNITS else text
        if unit and units[name] not in ("", unit):
            raise DataError(f"column {shown(name)} has the unit {units[name]!r}, and {unit!r} below; keep one")
        units[name] = units[name] or unit
    return units
