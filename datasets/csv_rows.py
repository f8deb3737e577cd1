"""Lines of text divided into cells."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TextIO

from physode.errors import DataError

_LONGEST = 1_000_000  # characters of a line

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Where white space divides columns, none may stand before a unit. It is looked at from its beginning only.
_BEFORE_UNIT = re.compile(r"(?<!\s)\s+(?=[\[(])")
_CLOSING = {'"': '"', "[": "]", "(": ")"}


def rows_of(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's line, from 1, and its cells; the first row shows what divides them.

    Raises
    ------
    DataError
        If a line is too long, no text, or has an open quotation mark.
    """
    split: Callable[[str, int], list[str]] | None = None
    for line, text in _lines(file):
        if split is None:
            divider = _divider(text)
            text = text if divider else _BEFORE_UNIT.sub("", text)
            split = _splitter(divider)
        yield line, split(text, line)


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while text := file.readline(_LONGEST + 1):
        number += 1
        if len(text) > _LONGEST:
            raise DataError(f"row {number} has more than {_LONGEST} characters; this is no table of text")
        text = text.rstrip("\n")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        if _CONTROL.search(text):
            raise DataError(f"row {number} holds bytes that are no text; save the file as CSV in UTF-8")
        yield number, text


def _divider(header: str) -> str | None:
    """Return the character that divides the columns, or None for white space."""
    found = Counter(letter for letter in _outside(header) if letter in ",;\t")
    return found.most_common(1)[0][0] if found else None


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


def _splitter(divider: str | None) -> Callable[[str, int], list[str]]:
    def split(text: str, line: int) -> list[str]:
        if divider is None:
            return text.split()
        if '"' not in text:
            return text.split(divider)
        try:
            return next(csv.reader([text], delimiter=divider, skipinitialspace=True, strict=True))
        except csv.Error as error:
            raise DataError(f"row {line} cannot be divided into cells: {error}; close every quotation mark") from error

    return split
