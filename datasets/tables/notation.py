"""How numbers are written: their decimal sign and thousands marks, known, proven by other numbers, or asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from physode.datasets.files import shown
from physode.datasets.tables.options import TableOptions
from physode.errors import DataError

MISSING = frozenset({"", "nan", "na", "-", "n/a", "#n/a", "null", "none"})
"""Cells without a value, in small letters."""

FILLED: dict[str | float, str] = {
    spelling: "nan" for word in MISSING for spelling in (word, word.upper(), word.capitalize()) if word != "nan"
}
"""What Python reads in place of cells without a value, in their usual spellings."""

# One mark, which is a decimal sign or, before three digits, perhaps one of thousands; D and Q are Fortran's exponents.
_SINGLE = re.compile(r"[+-]?(\d*)([.,])(\d*)([eEdDqQ][+-]?\d+)?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}([.,' ])\d{3}(?:\1\d{3})*(?:([.,])\d*)?", re.ASCII)
_EXPONENT = re.compile(r"([+-]?\d*[.,]?\d*)[dDqQ]([+-]?\d+)", re.ASCII)
_ALIKE = str.maketrans({
    "\N{MINUS SIGN}": "-",
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
    "\N{THIN SPACE}": " ",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
})  # fmt: skip

_ONLY = {sign: re.compile(rf"[\d{re.escape(sign)}eE+\0-]*", re.ASCII) for sign in ".,"}

SIGNS = {".": "decimal point", ",": "decimal comma"}
_MARKS = {",": "commas", ".": "points", " ": "spaces", "'": "apostrophes"}


@dataclass(frozen=True)
class Marks:
    """What the marks in a number say.

    Attributes
    ----------
    decimal
        The decimal sign that it proves, if any.
    thousands
        The mark of thousands that it proves, if any.
    open
        The one mark in it that may be either, if there is one.
    """

    decimal: str | None = None
    thousands: str | None = None
    open: str | None = None


def marks_of(text: str) -> Marks | None:
    """Return what the marks in a cell say; None if it is no number with marks in any notation."""
    text = text.strip().translate(_ALIKE)
    single = _SINGLE.fullmatch(text)
    if single:
        before, mark, after, exponent = single.groups()
        if not before and not after:
            return None
        if exponent is None and len(after) == 3 and 1 <= len(before) <= 3 and before[0] != "0":
            return Marks(open=mark)
        return Marks(decimal=mark)
    grouped = _GROUPED.fullmatch(text)
    if not grouped or grouped[1] == grouped[2]:
        return None
    mark, decimal = grouped.groups()
    if decimal is None and mark in SIGNS:
        decimal = "," if mark == "." else "."  # two groups or more: the other sign is left for decimals
    return Marks(decimal=decimal, thousands=mark)


@dataclass(frozen=True)
class Notation:
    """How the numbers of a column are written.

    Attributes
    ----------
    decimal
        The decimal sign.
    thousands
        The mark of thousands; None where there is none.
    """

    decimal: str = "."
    thousands: str | None = None

    def number(self, text: str) -> float | None:
        """Return the number in a cell, NaN where it is missing, None if it is none in this notation."""
        text = text.strip().translate(_ALIKE)
        if text.casefold() in MISSING:
            return math.nan
        if self.thousands is not None and self.thousands in text:
            grouped = _GROUPED.fullmatch(text)
            if not grouped or grouped[1] != self.thousands or grouped[2] not in (None, self.decimal):
                return None
            text = text.replace(self.thousands, "")
        if self.decimal != ".":
            if "." in text:
                return None
            text = text.replace(self.decimal, ".")
        fortran = _EXPONENT.fullmatch(text)
        if fortran:
            text = f"{fortran[1]}e{fortran[2]}"
        if "_" in text:  # Python reads 1_000 as 1000
            return None
        try:
            return float(text)
        except ValueError:
            return None


POINTS = Notation()


@dataclass(frozen=True)
class Cell:
    """A cell that proves something: its line in the file, its column's name and its text."""

    line: int
    column: str
    text: str

    def __str__(self) -> str:
        return f"row {self.line}, column {shown(self.column)}: {shown(self.text.strip())!r}"


@dataclass
class Evidence:
    """What the numbers of a table prove of its notation, gathered cell by cell."""

    decimals: dict[str, dict[str, Cell]] = field(default_factory=dict)
    thousands: dict[str, dict[str, Cell]] = field(default_factory=dict)
    open: dict[tuple[str, str], Cell] = field(default_factory=dict)
    texts: dict[str, Cell | None] = field(default_factory=dict)

    def add(self, name: str, cells: Sequence[str | float], lines: Sequence[int]) -> None:
        """Take cells of one column; a column that holds text says nothing of numbers."""
        if name in self.texts or self._goes_without_saying(name, cells):
            return
        for text, line in zip(cells, lines, strict=True):
            if not isinstance(text, str) or text.isdecimal():
                continue
            marks = marks_of(text)
            if marks is None:
                if POINTS.number(text) is None:
                    self._forget(name, Cell(line, name, text))
                    return
                continue
            cell = Cell(line, name, text)
            if marks.decimal:
                self.decimals.setdefault(name, {}).setdefault(marks.decimal, cell)
            if marks.thousands:
                self.thousands.setdefault(name, {}).setdefault(marks.thousands, cell)
            if marks.open:
                self.open.setdefault((name, marks.open), cell)

    def _goes_without_saying(self, name: str, cells: Sequence[str | float]) -> bool:
        """Whether cells have no marks but their column's decimal sign, which is proven: they prove nothing new."""
        signs = list(self.decimals.get(name, ()))
        if len(signs) != 1:
            return False
        try:
            text = "\0".join(cells)  # type: ignore[arg-type]
        except TypeError:  # numbers of a workbook
            return False
        return _ONLY[signs[0]].fullmatch(text) is not None

    def _forget(self, name: str, cell: Cell) -> None:
        self.texts[name] = cell
        self.thousands.pop(name, None)
        self.decimals.pop(name, None)
        self.open = {key: cell for key, cell in self.open.items() if key[0] != name}

    def notations(self, names: Sequence[str], options: TableOptions, *, pointed: bool) -> dict[str, Notation]:
        """Return the notation of each column.

        Parameters
        ----------
        names
            The columns.
        options
            What is said of them.
        pointed
            Whether a number such as 1.234 has a decimal point where no other number says anything.

        Raises
        ------
        DataError
            If numbers contradict each other or the options, or can be read in two ways.
        """
        decimal = self._decimal(options, pointed)
        return {name: Notation(decimal, self._thousands(name, decimal, options)) for name in names}

    def _decimal(self, options: TableOptions, pointed: bool) -> str:
        said = options.decimal or {",": ".", ".": ","}.get(options.thousands or "")
        proven: dict[str, Cell] = {}
        for signs in self.decimals.values():
            proven = signs | proven
        if said is None and len(proven) == 2:
            point, comma = proven["."], proven[","]
            raise DataError(f"{point} has a decimal point, {comma} a decimal comma; write all numbers alike")
        if said is not None:
            other = next((cell for sign, cell in proven.items() if sign != said), None)
            if other is not None:
                raise DataError(f"{other} has no {SIGNS[said]}, as the options say; correct one of them")
            return said
        if proven:
            return next(iter(proven))
        marked = any(self.thousands.values()) or not pointed
        unclear = next((cell for (_, mark), cell in self.open.items() if mark == "," or marked), None)
        if unclear is not None:
            raise _ambiguous(unclear)
        return "."

    def _thousands(self, name: str, decimal: str, options: TableOptions) -> str | None:
        own = self.thousands.get(name, {})
        if options.thousands is None and len(own) > 1:
            first, second = list(own.values())[:2]
            raise DataError(f"{first} and {second} have different marks of thousands; write all numbers alike")
        mark = options.thousands or next(iter(own), None)
        wrong = next((cell for each, cell in own.items() if each in (decimal,) or each != mark), None)
        if wrong is not None:
            raise DataError(f"{wrong} has marks of thousands that do not go with a {SIGNS[decimal]}; correct it")
        for (column, sign), cell in self.open.items():
            if column == name and sign not in (decimal, mark):
                raise _ambiguous(cell)
        return mark


def _ambiguous(cell: Cell) -> DataError:
    """Return the error that asks how a number such as 1,234 is to be read."""
    text = cell.text.strip()
    mark = "," if "," in text else "."
    readings = f"{shown(text.replace(mark, '.'))} or {shown(text.replace(mark, ''))}"
    return DataError(f"{cell} may be {readings}; say which: --decimal {mark} or --thousands {mark}")


def notation_words(notations: Mapping[str, Notation]) -> list[str]:
    """Return what is worth saying of the notations of a table's columns."""
    words = []
    if any(each.decimal == "," for each in notations.values()):
        words.append("decimal commas")
    marks = dict.fromkeys(each.thousands for each in notations.values() if each.thousands)
    return words + [f"{_MARKS[mark]} between thousands" for mark in marks]
