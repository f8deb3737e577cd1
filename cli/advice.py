"""What a file is, where a command was given the wrong kind, and what may be done with it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from physode.datasets import TableOptions

__all__ = ["advising", "next_commands"]

Kind = Literal["images", "series", "trajectories", "table"]

_COMMANDS: dict[Kind, str] = {
    "images": "holds images; train a classifier of them with: physode train {path}",
    "series": "holds series; train a model of them with: physode train timeseries {path}",
    "trajectories": "holds trajectories; fit an equation to them with: physode fit {path}, or train a model of series "
    "with: physode train timeseries {path}",
    "table": "is a table; fit an equation to it with: physode fit {path}, or train a model of series with: physode "
    "train timeseries {path}",
}


@contextmanager
def advising(source: Path, *, takes: tuple[Kind, ...], options: TableOptions | None = None) -> Iterator[None]:
    """Say what a file is that cannot be read as a command `takes` it, and which command takes it.

    With `options`, of a table that cannot be read as trajectories, also what its columns may be.

    Raises
    ------
    DataError
        In place of a `DataError` of the block, where the file is of another kind.
    """
    from physode.datasets.summary import asked_of
    from physode.errors import DataError

    try:
        yield
    except DataError as error:
        kind = _kind_of(source)
        if kind == "table" and options is not None and (asked := asked_of([source], options, error)) is not None:
            raise asked from error
        if kind is None or kind in takes:
            raise
        raise DataError(f"{source} {_COMMANDS[kind].format(path=shlex.quote(str(source)))}") from error


def _kind_of(source: Path) -> Kind | None:
    """Return what a file or folder is; None where it is nothing that is known, or damaged."""
    from physode.datasets.images import holds_images
    from physode.datasets.images.outline import outline_images
    from physode.datasets.series import holds_series, kind_of_series
    from physode.errors import DataError

    try:
        if not source.exists():
            return None
        if (source.is_file() and holds_images(source)) or outline_images(source) is not None:
            return "images"
        kind = kind_of_series(source)
        if kind == "csv":
            return "series" if holds_series(source) else "table"
        return "trajectories" if kind == "trajectories" else "series"
    except DataError:
        return None


def next_commands(summary: dict[str, Any], paths: tuple[Path, ...], options: TableOptions) -> str:
    """Return what to go on with, from a summary of the library."""
    from physode.datasets.tables.options import flags_of

    words = " ".join([*(shlex.quote(str(path)) for path in paths), *flags_of(options)])
    if "classes" in summary:
        if summary["format"] == "Galaxy Zoo":
            return f"physode prepare {words}"
        return f"physode train {words}" if len(summary["classes"]) > 1 else f"physode predict RUN {words}"
    if "series" in summary:
        return f"physode train timeseries {words}"
    fit = f"physode fit {words}"
    return f"{fit}, physode train timeseries {words}" if summary["trajectories"] > 1 and len(paths) == 1 else fit
