"""Results as tables on a terminal, or as JSON; text of others is freed of what a terminal would obey."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import click

from physode.json_values import dumps

# Where nobody looks at columns: wide enough that no cell of a table in a file or a pipe is broken into lines.
_WIDTH_OF_A_FILE = 400


def show_json(value: Any) -> None:
    """Print JSON; what JSON cannot say as a number (NaN, infinities) becomes null, arrays become lists."""
    click.echo(dumps(value, indent=2))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; columns in which every cell is a number stand to the right."""
    from rich.box import SIMPLE
    from rich.table import Table

    cells = [list(row) for row in rows]
    table = Table(title=cell(title), title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for i, name in enumerate(columns):
        numbers = all(isinstance(row[i], int | float) or row[i] is None for row in cells)
        table.add_column(cell(name), justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(cell, row))
    _print(table)


def show_pairs(title: str, pairs: Mapping[str, Any]) -> None:
    """Print names beside their values."""
    from rich.table import Table

    table = Table(
        title=cell(title), title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(cell(name), cell(value))
    _print(table)
    click.echo()


def cell(value: Any) -> str:
    """A value as the text of one cell, free of what a terminal would obey."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case str():
            return visible(value)
        case Mapping():
            return ", ".join(f"{cell(name)} {cell(item)}" for name, item in value.items())
        case list() | tuple():
            return ", ".join(map(cell, value))
        case _:
            return cell(str(value))


def precise(value: float | None) -> str | None:
    """A number with the digits that fits reach."""
    return None if value is None else f"{value:.10g}"


def shorten(text: str, *, length: int = 300) -> str:
    """The beginning of a long text."""
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def _print(table: Any) -> None:
    from rich.console import Console

    width = None if is_terminal(sys.stdout) else _WIDTH_OF_A_FILE
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    console.print(table)


def visible(text: str) -> str:
    r"""Return a text with what cannot be printed, escape sequences above all, written out: ``\x1b[31m``."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; one that was closed before Python began is None."""
    return stream is not None and not stream.closed and stream.isatty()
