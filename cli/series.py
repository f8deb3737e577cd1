"""Irregular series on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.progress import progress_bar
from physode.cli.show import cell, shorten

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries

__all__ = ["read_shown", "say"]


def read_shown(source: Path) -> IrregularSeries:
    """Read series, with a bar where somebody looks."""
    from physode.datasets.series import read_series

    with progress_bar(f"reading {source.name}") as progress:
        return read_series(source, progress=progress)


def say(note: Any) -> None:
    """Say on stderr what is worth knowing of series."""
    click.echo(f"Note: {shorten(cell(str(note)))}", err=True)
