"""Lines of text divided into cells."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TextIO

from physode.errors import DataError

_LONGEST = 1_000_000  # characters of a line

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Where white space divides columns, none may stand before a unit. It is looked at from its beginning only.
_BEFORE_UNIT = re.compile(r"(?<!\s)\s+(?=[\[(])")
_CLOSING = {'"': '"', "[": "]", "(": ")"}
DELIMITERS = ",;\t|"
"""What may divide columns, beside white space."""
_MOST_LINES = 20  # of a cell in quotation marks


@dataclass(frozen=True)
class Dialect:
    """How lines of text make rows of cells.

    Attributes
    ----------
    delimiter
        The character that divides columns, or None for white space.
    comments
        What comments begin with.
    header
        The header where it stands in a comment: its line and its text.
    first
        The line from which on the table is read; ``sep=;`` may stand above.
    """

    delimiter: str | None = ","
    comments: tuple[str, ...] = ("#",)
    header: tuple[int, str] | None = None
    first: int = 1


def rows_of(file: TextIO, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's line, from 1, and its cells; the first row is the header.

    Raises
    ------
    DataError
        If a line is too long, no text, or has an open quotation mark.
    """
    split = splitter(dialect.delimiter)
    lines = lines_of(file, dialect.comments, first=dialect.first)
    head = next(lines, None) if dialect.header is None else dialect.header
    if head is None:
        return
    line, text = head
    text = whole_line(text, lines, dialect.delimiter)
    names = split(header_text(text, dialect.delimiter), line)
    yield line, [" ".join(cell.split()) for cell in names] if "\n" in text else names
    for line, text in lines:
        if '"' in text:
            text = whole_line(text, lines, dialect.delimiter)
        yield line, split(text, line)


def header_text(text: str, delimiter: str | None) -> str:
    """Return a header as it is divided: where white space does that, none stands before a unit."""
    return text if delimiter else _BEFORE_UNIT.sub("", text)


def whole_line(text: str, lines: Iterator[tuple[int, str]], delimiter: str | None) -> str:
    """Return a line with those that a cell in quotation marks goes on in, which are taken from the lines behind it."""
    if delimiter is None or text.count('"') % 2 == 0:
        return text
    joined = [text]
    for _, more in islice(lines, _MOST_LINES):
        joined.append(more)
        if more.count('"') % 2:
            break
    return "\n".join(joined)


def lines_of(
    file: TextIO, comments: tuple[str, ...], *, first: int = 1, checked: bool = True
) -> Iterator[tuple[int, str]]:
    """Yield the number of each line, from 1, and its text, without blank lines and comments.

    Parameters
    ----------
    first
        The first line to be yielded.
    checked
        Whether every letter must be text.

    Raises
    ------
    DataError
        If a line is too long or no text.
    """
    number = 0
    while text := file.readline(_LONGEST + 1):
        number += 1
        if len(text) > _LONGEST:
            raise DataError(f"row {number} has more than {_LONGEST} characters; this is no table of text")
        text = text.rstrip("\n")
        if number == 1:
            text = text.removeprefix("\N{BYTE ORDER MARK}")
        if number < first or not text.strip() or text.lstrip().startswith(comments):
            continue
        if checked and _CONTROL.search(text):
            raise DataError(f"row {number} holds bytes that are no text; save the file as CSV in UTF-8")
        yield number, text


def delimiters_in(header: str) -> list[str | None]:
    """Return the characters that may divide the columns, the most frequent first; white space, None, is the last."""
    if any(opening in header for opening in _CLOSING):
        counts = Counter(letter for letter in _outside(header) if letter in DELIMITERS)
    else:
        places = sorted((header.find(letter), letter) for letter in DELIMITERS if letter in header)
        counts = Counter({letter: header.count(letter) for _, letter in places})
    return [*(letter for letter, _ in counts.most_common()), None]  # of equals the first one in the header


def _outside(header: str) -> Iterator[str]:
    """Yield the letters that stand in no quotation marks or brackets; each letter is looked at once."""
    last = {closing: header.rfind(closing) for closing in _CLOSING.values()}
    place = 0
    while place < len(header):
        letter = header[place]
        closing = _CLOSING.get(letter)
        if closing is not None and last[closing] > place:
            place = header.index(closing, place + 1)
        else:
            yield letter
        place += 1


def splitter(delimiter: str | None) -> Callable[[str, int], list[str]]:
    """Return what divides a line, given with its number, into cells."""

    def split(text: str, line: int) -> list[str]:
        if '"' not in text:
            return text.split(delimiter)
        if delimiter is None:
            text = text.replace("\t", " ").strip()
        try:
            return next(csv.reader([text], delimiter=delimiter or " ", skipinitialspace=True, strict=True))
        except csv.Error as error:
            raise DataError(f"row {line} cannot be divided into cells: {error}; close every quotation mark") from error

    return split
