"""Tables of text as a source of rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from physode.datasets.csv_rows import Dialect, rows_of
from physode.datasets.tables.dialect import sniff
from physode.datasets.tables.options import TableOptions
from physode.datasets.tables.sources import TextFile, text_file

Row = tuple[int, list[str]]


@dataclass(frozen=True)
class TextSource:
    """A table of text, whose dialect is known.

    Attributes
    ----------
    file
        The file.
    dialect
        How its lines make rows.
    words
        What is worth saying of it; nothing of commas and UTF-8.
    """

    file: TextFile
    dialect: Dialect
    words: tuple[str, ...]

    @property
    def pointed(self) -> bool:
        """Whether 1.234 has a decimal point: beside commas between columns, and in what programs write."""
        return self.dialect.delimiter in (",", None)

    @contextmanager
    def rows(self) -> Iterator[Iterator[Row]]:
        """Open it as numbered rows of cells, the first of which is the header.

        Raises
        ------
        DataError
            If bytes or lines are no text, or a cell does not end.
        """
        with self.file.open() as text:
            yield rows_of(text, self.dialect)


def text_source(path: Path, options: TableOptions) -> TextSource:
    """Look at a table of text.

    Raises
    ------
    DataError
        If it is missing, too large, or no text.
    """
    file = text_file(path, options.encoding)
    with file.open() as text:
        sniffed = sniff(text, options)
    words = [*sniffed.words]
    if file.label.casefold() not in ("utf-8", "utf8"):
        words.append(file.label)
    if file.packed:
        words.append("packed by gzip")
    return TextSource(file, sniffed.dialect, tuple(words))
