"""The dialect of a table of text, found out from its first lines: comments, header, what divides columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from physode.datasets.csv_rows import DELIMITERS, Dialect, delimiters_in, header_text, lines_of, splitter, whole_line
from physode.datasets.tables.dates import date_of
from physode.datasets.tables.elapsed import elapsed_of
from physode.datasets.tables.notation import POINTS, marks_of
from physode.datasets.tables.options import TableOptions
from physode.errors import DataError

_LINES, _LETTERS, _MOST = 25, 200_000, 10_000  # of a sample; lines with its comments
_COMMENTS = ("%", "!", "//")  # beside #, which always is one
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_WORDS = {",": "", ";": "semicolons", "\t": "tabs", "|": "bars", None: "columns divided by white space"}

Lines = Sequence[tuple[int, str]]


@dataclass(frozen=True)
class Sniffed:
    """A dialect, and what of it is worth saying."""

    dialect: Dialect
    words: tuple[str, ...]


def sniff(file: TextIO, options: TableOptions) -> Sniffed:
    """Find the dialect of a table from its first lines.

    What divides columns is what the header has most of, outside of quotation marks and brackets, if it divides the rows
    below alike; else what does, and leaves the most numbers.

    Raises
    ------
    DataError
        If a line is too long or no text.
    """
    lines = _sample(file)
    first, delimiter = 1, options.delimiter
    if lines and (separator := _SEPARATOR.fullmatch(lines[0][1].strip())):
        first = lines[0][0] + 1
        delimiter = delimiter or separator[1]
        lines = lines[1:]
    comments = (options.comment,) if options.comment else ("#", *_comments(lines))
    body = _whole_lines([each for each in lines if not each[1].lstrip().startswith(comments)])
    header = _header_in_comment(lines, comments, body, delimiter)
    head, rows = (header, body) if header else (body[0] if body else None, body[1:])
    found = None if delimiter in (" ", None) else delimiter
    if delimiter is None and head is not None:
        found = _delimiter(head[1], rows)
    words = [_WORDS.get(found, f"{found!r} between columns")]
    others = [text.lstrip() for line, text in lines if header is None or line != header[0]]
    words += [f"comments after {mark}" for mark in comments if mark != "#" and any(t.startswith(mark) for t in others)]
    words += ["header in a comment"] if header else []
    return Sniffed(Dialect(found, comments, header, first), tuple(word for word in words if word))


def _sample(file: TextIO) -> list[tuple[int, str]]:
    """Return the first lines: what may be comments, and some lines below."""
    lines: list[tuple[int, str]] = []
    count = letters = 0
    for line, text in lines_of(file, (), checked=False):
        lines.append((line, text))
        if not text.lstrip().startswith(("#", *_COMMENTS)):
            count += 1
            letters += len(text)
        if count == _LINES or len(lines) == _MOST or (count > 2 and letters > _LETTERS):
            break
    return lines


def _whole_lines(lines: Lines) -> list[tuple[int, str]]:
    """Join lines in which a cell in quotation marks goes on; where white space divides columns, none does."""
    rest = iter(lines)
    return [(line, whole_line(text, rest, _before_quote(text))) for line, text in rest]


def _before_quote(text: str) -> str | None:
    """Return what may divide the columns of a line with quotation marks; None for white space."""
    usual = "," if text.lstrip().startswith('"') else None
    return next((mark for mark in DELIMITERS if mark in text), usual)


def is_value(cell: str) -> bool:
    """Whether a cell holds a number, in whatever notation, a date or an elapsed time."""
    known = POINTS.number(cell) is not None or marks_of(cell) is not None
    return known or date_of(cell) is not None or elapsed_of(cell, "hh:mm") is not None


def _comments(lines: Lines) -> list[str]:
    """Return what comments begin with, beside #; a first line that is a header with such a name is none."""
    found = []
    for mark in _COMMENTS:
        marked = [text.lstrip() for _, text in lines if text.lstrip().startswith(mark)]
        if not marked:
            continue
        others = [text for _, text in lines if not text.lstrip().startswith((mark, "#"))]
        name = not marked[0].removeprefix(mark)[:1].isspace()
        if name and len(marked) == 1 and others and lines[0][1].lstrip() == marked[0] and _alike(marked[0], others[0]):
            continue
        found.append(mark)
    return found


def _alike(header: str, row: str) -> bool:
    return any(_count(header, each) == _count(row, each) > 1 for each in delimiters_in(header))


def _count(text: str, delimiter: str | None) -> int:
    """How many cells a line has, without empty ones at its end."""
    if '"' not in text:
        if delimiter is None:
            return len(text.split())
        return text.rstrip(delimiter + " ").count(delimiter) + 1
    with suppress(DataError):
        cells = splitter(delimiter)(text, 0)
        while cells and not cells[-1].strip():
            cells.pop()
        return len(cells)
    return 0


def _header_in_comment(
    lines: Lines, comments: tuple[str, ...], body: Lines, delimiter: str | None
) -> tuple[int, str] | None:
    """Return the comment above rows of numbers that names as many columns as they have."""
    if not body:
        return None
    line, row = body[0]
    above = [each for each in lines if each[0] < line]
    if not above:
        return None
    number, text = above[-1]
    mark = next(mark for mark in comments if text.lstrip().startswith(mark))
    text = text.lstrip().removeprefix(mark).lstrip("#%! ").strip()
    candidates = delimiters_in(text) if delimiter is None else [delimiter]
    for each in candidates:
        divider = None if each == " " else each
        with suppress(DataError):
            names = splitter(divider)(header_text(text, divider), number)
            cells = splitter(divider)(row, line)
            same = len(names) == len(cells) and all(map(str.strip, names))
            if same and all(map(is_value, cells)) and not any(map(is_value, names)):
                return number, text
    return None


def _delimiter(header: str, rows: Lines) -> str | None:
    candidates = delimiters_in(header)
    usual = candidates[0]
    texts = [text for _, text in rows]
    if len(candidates) <= 2 and _divides(header, texts, usual):
        return usual
    fitting = [each for each in candidates if _divides(header, texts, each) and _count(header, each) > 1]
    if len(fitting) < 2:
        return fitting[0] if fitting else usual
    values = {each: _values(texts, each) for each in fitting}
    return max(fitting, key=lambda each: values[each])  # of equals the first, which is the most frequent


def _divides(header: str, rows: Sequence[str], delimiter: str | None) -> bool:
    """Whether rows have as many cells as the header, or fewer where the last ones are empty."""
    count = _count(header_text(header, delimiter), delimiter)
    counts = [_count(row, delimiter) for row in rows]
    return not counts or max(counts) == count


def _values(rows: Sequence[str], delimiter: str | None) -> float:
    """Return the share of cells that hold values."""
    split = splitter(delimiter)
    cells = [cell for row in rows[:5] for cell in split(row, 0)[:200]]
    return sum(map(is_value, cells)) / max(1, len(cells))
