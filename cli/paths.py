"""Files and folders named on a command line: whether they are there is asked before the long imports.

What is not there is a failure (1), in the library's own words, not a usage error (2).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from physode.datasets.files import check_run_folder
from physode.errors import DataError

__all__ = ["FITTED", "PATH", "SOURCE", "Run", "Source", "check_run", "check_source", "folder_name"]

PATH = click.Path(path_type=Path)
"""A file or folder to write."""


class Source(click.Path):
    """A file or folder to read: asked for at once, with the library's answer, but without its long imports."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, found to be there."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        check_source(path)
        return path


class Run(click.Path):
    """The folder of a run, likewise; `example` is one that the command would take."""

    def __init__(self, example: str) -> None:
        super().__init__(path_type=Path)
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, found to be there."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        check_run(path, example=self.example)
        return path


SOURCE = Source()
"""A file or folder to read."""

FITTED = Run("runs/threebody-physical")
"""The folder of a run of a fit."""


def check_source(path: Path) -> None:
    """Raise ``DataError`` if there is nothing to read: for commands that have usage to refuse before."""
    if _missing(path):
        raise DataError(f"{path} does not exist")


def check_run(path: Path, *, example: str) -> None:
    """Raise ``ConfigError`` if there is no folder of a run, likewise."""
    if _missing(path):
        check_run_folder(path, example=example)


def _missing(path: Path) -> bool:
    """Whether nothing has this name; what else may be wrong with it is the library's to find."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def folder_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check the name of a folder: one, not a path."""
    if value is not None and (Path(value).name != value or value in ("", ".", "..")):
        raise click.BadParameter(
            f"{value!r} is not the name of a folder; --out says where it is.", ctx=ctx, param=param
        )
    return value
