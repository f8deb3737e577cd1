"""Workbooks of Excel: the rows of a sheet, read by openpyxl, their sizes bounded; formulas give their stored values."""

from __future__ import annotations

import re
import shlex
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from physode.datasets.files import check_file, shown
from physode.datasets.tables import sources
from physode.datasets.tables.columns import label_of
from physode.errors import DataError
from physode.optional_imports import needs

_MOST_PARTS, _MOST_ROWS, _LOOKED = 10_000, 1_048_576, 100
_BLOCK = 1 << 20
_FORMULA = re.compile(rb"<(?:\w+:)?f[ >/]")
_DOCTYPE = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, ParseError, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError,
    RuntimeError, ArithmeticError,
)  # fmt: skip
"""The types through which zipfile, the parser and openpyxl report what they make of damaged bytes."""

Row = tuple[int, list[str | float]]


@dataclass(frozen=True)
class SheetSource:
    """A sheet of a workbook.

    Attributes
    ----------
    path
        The file.
    sheet
        The sheet's name.
    words
        What is worth saying of it.
    formulas
        Whether some cells hold formulas.
    unnamed
        Whether columns before the first that has a name are passed over.
    """

    path: Path
    sheet: str
    words: tuple[str, ...]
    formulas: bool
    unnamed: bool = False
    pointed = False  # numbers that are typed as text

    @contextmanager
    def rows(self) -> Iterator[Iterator[Row]]:
        """Open the sheet as numbered rows, from 1, of cells: numbers, and the rest as text; the first is the header.

        Raises
        ------
        DataError
            If the file is damaged, a row has a value beside the header, or a formula has no value.
        """
        with _opened(self.path) as book:
            if not self.formulas:
                yield _below_header(_rows(book[self.sheet]), unnamed=self.unnamed)
                return
            with _opened(self.path, values=False) as written:
                rows = _with_values(_rows(book[self.sheet]), _rows(written[self.sheet]))
                yield _below_header(rows, unnamed=self.unnamed)


def sheet_source(path: Path, sheet: str | None, *, unnamed: bool = False) -> SheetSource:
    """Look at a workbook, and choose its sheet: the one that is named, or the only one that is not empty.

    Raises
    ------
    DataError
        If it is too large, no workbook or damaged, or if it has no such sheet, or several and none is named.
    ConfigError
        If openpyxl is not installed.
    """
    check_file(path, largest=sources.LARGEST)
    needs("openpyxl", extra="excel", purpose="reading a workbook")
    formulas = _check_parts(path)
    with _opened(path) as book:
        names = [each.title for each in book.worksheets]
        if sheet is not None:
            if sheet not in names:
                raise DataError(f"it has no sheet {shown(sheet)!r}; its sheets are {', '.join(map(shown, names[:20]))}")
            return SheetSource(path, sheet, (f"sheet {shown(sheet)}",), formulas, unnamed)
        filled = [each.title for each in book.worksheets if each.sheet_state == "visible" and not _empty(each)]
    if not filled:
        raise DataError("no sheet of it holds anything in its first rows; put the table there")
    if len(filled) > 1:
        listed, first = ", ".join(map(shown, filled[:20])), shlex.quote(shown(filled[0]))
        raise DataError(f"it has the sheets {listed}; say which: --sheet {first}")
    return SheetSource(path, filled[0], (f"sheet {shown(filled[0])}",), formulas, unnamed)


def _check_parts(path: Path) -> bool:
    """Refuse archives that are no workbook or unpack to too much; return whether there are formulas."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            names = {part.filename for part in parts}
            if "xl/workbook.xml" not in names:
                what = "a spreadsheet of another kind" if "mimetype" in names else "a zip archive and no workbook"
                raise DataError(f"it is {what}; save the table as .xlsx or CSV")
            if len(parts) > _MOST_PARTS or sum(part.file_size for part in parts) > sources.LARGEST:
                raise DataError(
                    f"it unpacks to more than {sources.LARGEST} bytes, or has too many parts; save it as CSV"
                )
            formulas = [_look_at(archive, part) for part in parts if part.filename.endswith((".xml", ".rels"))]
            return any(formulas)
    except _DAMAGED as error:
        raise _damaged(error) from error


def _look_at(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Refuse XML that declares entities; return whether a sheet has formulas. Every byte's checksum is found right."""
    found = False
    with archive.open(part) as file:
        last = b""
        while block := file.read(_BLOCK):
            if _DOCTYPE.search(last + block):
                raise DataError("its XML declares entities, as no workbook does; save it anew")
            found = found or bool(_SHEET.fullmatch(part.filename) and _FORMULA.search(last + block))
            last = block[-20:]
    return found


def _damaged(error: Exception) -> DataError:
    return error if isinstance(error, DataError) else DataError(f"it is damaged or no workbook: {error}; save it anew")


@contextmanager
def _opened(path: Path, *, values: bool = True) -> Iterator[Any]:
    openpyxl = needs("openpyxl", extra="excel", purpose="reading a workbook")
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that hold no numbers, such as styles and validations
            book = openpyxl.load_workbook(file, read_only=True, data_only=values, keep_links=False)
            yield book
            book.close()
    except _DAMAGED as error:
        raise _damaged(error) from error


def _rows(sheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield each row's number and values, as many as it has: what a sheet declares of its size is not believed."""
    sheet.reset_dimensions()
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if number > _MOST_ROWS:
            raise DataError(f"a sheet has at most {_MOST_ROWS} rows, this one goes on; save it anew")
        yield number, row


def _empty(sheet: Any) -> bool:
    return not any(any(value is not None for value in row) for _, row in islice(_rows(sheet), _LOOKED))


def _with_values(
    rows: Iterator[tuple[int, tuple[Any, ...]]], written: Iterator[tuple[int, tuple[Any, ...]]]
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield rows, and refuse formulas whose values were never stored."""
    for (number, row), (_, formulas) in zip(rows, written, strict=True):
        for value, formula in zip(row, formulas, strict=True):
            if value is None and formula is not None:
                raise DataError(
                    f"row {number} has the formula {shown(str(formula))} without its value; open the workbook in a "
                    "spreadsheet program and save it there"
                )
        yield number, row


def _below_header(rows: Iterator[tuple[int, tuple[Any, ...]]], *, unnamed: bool) -> Iterator[Row]:
    """Yield rows from the header on, from its first column on, each at least as wide; empty rows are left out."""
    start, width = -1, 0
    for number, values in rows:
        if all(value is None for value in values):
            continue
        cells = [cell_of(value) for value in values]
        if start < 0:
            start = next(i for i, cell in enumerate(cells) if cell != "")
            header = [label_of(cell) if isinstance(cell, float) else cell for cell in cells[start:]]
            width = len(header)
            yield number, list(header)
            continue
        if not unnamed and any(cell != "" for cell in cells[:start]):
            raise DataError(f"row {number} has a value in a column without a name; name it, or remove the value")
        cells = cells[start:]
        yield number, cells + [""] * (width - len(cells))


def cell_of(value: Any) -> str | float:
    """Return a value as the number, or the text, that a table of text would have."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case int() | float():
            return float(value)
        case datetime():
            return value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case _:
            return " ".join(str(value).split())
