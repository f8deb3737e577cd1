"""Files of tables by their first bytes; those of text unpacked, decoded, and divided into rows."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TextIO, cast

from physode.datasets.csv_rows import Dialect, rows_of
from physode.datasets.files import check_file
from physode.datasets.tables.dialect import sniff
from physode.datasets.tables.options import TableOptions
from physode.errors import DataError

LARGEST = 1_000_000_000
"""Bytes of a file, and of what is packed in it."""

Kind = Literal["CSV", "Excel", "MATLAB"]

_HEAD, _BLOCK = 4096, 1 << 20
_GZIP, _ZIP, _OLE = b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MATLAB_HDF5 = b"MATLAB 7.3 MAT-file"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


def kind_of_table(path: Path) -> Kind:
    """Return what a file is, if it is a table: text, packed or not, where nothing says otherwise.

    Raises
    ------
    DataError
        If it is a workbook of Excel before 2007.
    """
    head = _first(path)
    if head.startswith(_OLE):
        raise DataError("it is a workbook of the old format .xls; save it as .xlsx or CSV")
    if head.startswith(_ZIP):
        return "Excel"
    return "MATLAB" if is_matlab(path) else "CSV"


def is_excel(path: Path) -> bool:
    """Whether a file is a zip archive, as workbooks are."""
    return _first(path).startswith(_ZIP)


def is_matlab(path: Path) -> bool:
    """Whether a file is one of MATLAB, of version 5 (saved as -v6 or -v7) or 7.3."""
    head = _first(path)
    return head[124:128] in (b"\x00\x01IM", b"\x01\x00MI") or head.startswith(_MATLAB_HDF5)


def is_matlab_hdf5(path: Path) -> bool:
    """Whether a file of MATLAB is HDF5, as those of version 7.3 are."""
    return _first(path).startswith(_MATLAB_HDF5)


def _first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(128)


@dataclass(frozen=True)
class TextFile:
    """A file of text.

    Attributes
    ----------
    path
        The file.
    packed
        Whether it is packed by gzip.
    encoding
        As Python calls it.
    label
        What users call the encoding.
    """

    path: Path
    packed: bool
    encoding: str
    label: str

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """Open it to be read as text.

        Raises
        ------
        DataError
            If what is packed is damaged or too large, or bytes are no text.
        """
        with _reading(self.path, self.packed) as raw:
            try:
                yield io.TextIOWrapper(raw, encoding=self.encoding)
            except UnicodeError:
                raise DataError(
                    f"it holds bytes that are no text in {self.label}; save it as CSV in UTF-8, or say --encoding"
                ) from None


def text_file(path: Path, encoding: str | None = None) -> TextFile:
    """Look at a file of text: whether it is packed, and its encoding, where that is not known.

    Without a byte order mark it is UTF-8 if all bytes are, UTF-16 if every second one is 0, else Windows' Latin-1.

    Raises
    ------
    DataError
        If it is missing, too large, or no text.
    """
    check_file(path, largest=LARGEST)
    packed = _first(path).startswith(_GZIP)
    if encoding is not None:
        return TextFile(path, packed, _with_mark(encoding), encoding)
    with _reading(path, packed) as raw:
        head = raw.read(_HEAD)
        if packed and head.startswith((_GZIP, _ZIP, _OLE)):
            raise DataError("what is packed in it is no text; unpack it")
        name = _marked(head) or _of_zeros(head)
        name, label = (name, name.upper().removesuffix("-SIG")) if name else _of_all(head, raw)
    return TextFile(path, packed, name, label)


def _with_mark(encoding: str) -> str:
    """A byte order mark is no part of the first name."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _marked(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _of_zeros(head: bytes) -> str | None:
    """UTF-16 without a mark: every second byte of figures and of most letters is 0."""
    even, odd = head[0::2], head[1::2]
    for zeros, others, name in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if len(zeros) > 1 and zeros.count(0) > 0.8 * len(zeros) and 0 not in others:
            return name
    return None


def _of_all(head: bytes, raw: BinaryIO) -> tuple[str, str]:
    """UTF-8 if every byte is; else the code page that has letters for most of the others."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    high: set[int] = set()
    utf8, block = True, head
    while block:
        if not block.isascii() or decoder.getstate()[0]:
            high.update(set(block))
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                utf8 = False
                decoder.reset()
        block = raw.read(_BLOCK)
    if utf8 and not decoder.getstate()[0]:
        return "utf-8", "UTF-8"
    return "cp1252", "Windows-1252" if high & set(range(0x80, 0xA0)) else "Latin-1"


@contextmanager
def _reading(path: Path, packed: bool) -> Iterator[BinaryIO]:
    if not packed:
        with path.open("rb") as raw:
            yield raw
        return
    try:
        with gzip.open(path, "rb") as whole:
            yield cast(BinaryIO, io.BufferedReader(_Bounded(cast(BinaryIO, whole)), _BLOCK))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"what is packed in it is damaged or cut off: {error}; make it again") from None


class _Bounded(io.RawIOBase):
    """Bytes that are unpacked, no more than a table may have."""

    def __init__(self, whole: BinaryIO) -> None:
        self._whole = whole
        self._left = LARGEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._whole.read(min(len(buffer), _BLOCK))
        buffer[: len(block)] = block
        self._left -= len(block)
        if self._left < 0:
            raise DataError(f"what is packed in it has more than {LARGEST} bytes; store its numbers as HDF5")
        return len(block)


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
    def rows(self) -> Iterator[Iterator[tuple[int, list[str]]]]:
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
