"""Results as tables on a terminal, or as JSON; text of others is freed of what a terminal would obey."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from physode.json_values import dumps
from physode.progress import is_terminal, visible
from physode.summary import decimals, rounded

if TYPE_CHECKING:
    from rich.console import Console

# Where nobody looks at columns: wide enough that no cell of a table in a file or a pipe is broken into lines.
_WIDTH_OF_A_FILE = 400
_PIECE = 24  # characters of a text's line that read well
_BETWEEN = 3  # spaces from column to column
_EDGES = 2  # spaces of a table's own


def show_json(value: Any) -> None:
    """Print JSON; what JSON cannot say as a number (NaN, infinities) becomes null, arrays become lists."""
    click.echo(dumps(value, indent=2))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; columns in which every cell is a number stand to the right.

    No number is broken into lines: where a terminal is too narrow for all columns, the further ones stand in a table
    below, behind the first column again.
    """
    from rich.box import SIMPLE
    from rich.table import Table

    cells = [list(row) for row in rows]
    texts = [[cell(value) for value in row] for row in cells]
    numeric = [all(isinstance(row[i], int | float) or row[i] is None for row in cells) for i in range(len(columns))]
    whole = [numeric[i] or all(_is_number(row[i]) for row in texts) for i in range(len(columns))]
    needed = [_needed(name, [row[i] for row in texts], whole[i]) for i, name in enumerate(columns)]
    console = _console()
    for number, block in enumerate(_blocks(needed, console.width - _EDGES)):
        heading = cell(title) if number == 0 else None
        table = Table(title=heading, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
        for i in block:
            justify: Any = "right" if numeric[i] else "left"
            width = needed[i] if whole[i] else None
            table.add_column(cell(columns[i]), justify=justify, overflow="fold", min_width=width)
        for row in texts:
            table.add_row(*(row[i] for i in block))
        console.print(table)


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
    _console().print(table)
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


def precise(value: float | None, error: float | None = None) -> str | None:
    """A number with the digits that its standard error leaves, or, where that is not known, with those that fits reach.

    Numbers of two columns are told apart wherever they differ by a hundredth of the error.
    """
    return f"{value:.10g}" if value is not None and decimals(error) is None else rounded(value, error)


def shorten(text: str, *, length: int = 300) -> str:
    """The beginning of a long text."""
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True


def _needed(name: str, texts: Sequence[str], whole: bool) -> int:
    """Return the width that a column needs: of its longest number, or of a readable piece of text."""
    longest = max(map(len, texts), default=0)
    head = max(map(len, cell(name).split()), default=0)
    return max(head, longest if whole else min(longest, _PIECE))


def _blocks(needed: Sequence[int], width: int) -> list[list[int]]:
    """Return which columns stand in which table, for tables no wider than the terminal; the first is in each."""
    blocks, room = [[0]], width - needed[0]
    for i, column in enumerate(needed[1:], start=1):
        if column + _BETWEEN > room and len(blocks[-1]) > 1:
            blocks.append([0])
            room = width - needed[0]
        blocks[-1].append(i)
        room -= column + _BETWEEN
    return blocks


def _console() -> Console:
    from rich.console import Console

    width = None if is_terminal(sys.stdout) else _WIDTH_OF_A_FILE
    return Console(width=width, markup=False, highlight=False, emoji=False)
