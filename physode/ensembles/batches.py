"""Rows of a sweep computed batch by batch: each batch a cell of its own, solved as one; one table of all rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physode.errors import ConfigError
from physode.sweeps.cells import Cell
from physode.sweeps.schedulers import run_cells
from physode.sweeps.sweep import claimed, status_of
from physode.sweeps.table import Table, check_table

__all__ = ["BATCH", "Computed", "Workers", "table_of"]

BATCH = 500
"""Rows of a batch."""

Progress = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Workers:
    """Where batches are computed and kept; as the arguments of :func:`physode.sweep` and :func:`physode.fit_ensemble`.

    Raises
    ------
    ConfigError
        If `batch` is below 1.
    DataError
        If `out` is there, and not to be replaced.
    """

    batch: int = BATCH
    jobs: int = 1
    scheduler: str | None = None
    folder: str | os.PathLike[str] | None = None
    out: str | os.PathLike[str] | None = None
    force: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"`batch` must be at least 1, got {self.batch}")
        if self.jobs < 1:
            raise ConfigError(f"`jobs` must be at least 1, got {self.jobs}")
        if self.out is not None:
            check_table(self.out, overwrite=self.force)

    @property
    def away(self) -> bool:
        """Whether batches go to other processes."""
        return self.jobs > 1 or self.scheduler is not None


@dataclass(frozen=True)
class Computed:
    """All rows of a sweep as a table, and those of their results that are not for it."""

    table: Table
    hidden: tuple[Mapping[str, Any], ...]


def table_of(
    rows: Sequence[Mapping[str, Any]],
    what: str,
    cell_of: Callable[[str, slice], Cell],
    workers: Workers,
    *,
    hidden: Sequence[str] = (),
) -> Computed:
    """Compute all rows, and return them with what came of each; the table is written where it is to be.

    Parameters
    ----------
    rows
        What each row begins with.
    what
        What a row is, in the plural: part of the cells' names.
    cell_of
        The cell of some rows, by its name; it returns as many results as it has rows, each by name.
    workers
        Where it is computed.
    hidden
        Names of results that are not for the table.
    """
    slices = [slice(i, min(i + workers.batch, len(rows))) for i in range(0, len(rows), workers.batch)]
    cells = [cell_of(f"{what} {part.start + 1} to {part.stop}", part) for part in slices]
    home = None if workers.folder is None else Path(workers.folder)

    def tell(done: int, count: int, name: str) -> None:
        if workers.progress is not None:
            workers.progress(min(done * workers.batch, len(rows)), len(rows), name)

    with nullcontext() if home is None else claimed(home):
        outcomes = run_cells(
            cells, folder=home, jobs=workers.jobs, scheduler=workers.scheduler, force=workers.force, progress=tell
        )
    complete: list[dict[str, Any]] = []
    for cell, part in zip(cells, slices, strict=True):
        outcome = outcomes[cell.name]
        if outcome.failure is None:
            results = outcome.result
        else:
            status, reason = status_of(outcome)
            results = [{"status": status, "reason": reason}] * (part.stop - part.start)
        complete += [{**row, **result} for row, result in zip(rows[part], results, strict=True)]
    aside = tuple({name: row.get(name) for name in hidden} for row in complete)
    table = Table.of({name: value for name, value in row.items() if name not in hidden} for row in complete)
    if workers.out is not None:
        table.write(workers.out, overwrite=workers.force)
    return Computed(table, aside)
