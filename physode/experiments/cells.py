"""Studies of many cells: each outcome is kept as soon as it is there, so that an interrupted study goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from physode.datasets.atomic_write import write_text
from physode.datasets.provenance import provenance
from physode.errors import ConfigError
from physode.experiments.cell import Cell, Outcome
from physode.experiments.schedulers import in_processes, in_turn, on_cluster
from physode.json_values import read_json
from physode.training import discard

__all__ = ["Cell", "CellProgress", "Outcome", "forget_cells", "run_cells"]

CellProgress = Callable[[int, int, str], object]
"""Told how many cells are done, of how many, and the name of the last."""

_log = logging.getLogger(__name__)
_LARGEST = 64 * 2**20  # bytes of a cell's file


def run_cells(
    cells: Sequence[Cell],
    *,
    folder: Path,
    jobs: int = 1,
    scheduler: str | None = None,
    force: bool = False,
    progress: CellProgress | None = None,
) -> dict[str, Outcome]:
    """Compute the cells of a study that are not there yet, and return all outcomes by name, in the order of `cells`.

    Each outcome is written to ``folder/cells/NAME.json`` at once. A later call takes it from there if it was made by
    the same function with the same arguments and version of physode; failed cells are tried again. What a cell has kept
    in a folder of its own to go on from, its argument ``run``, is removed when its result is kept, never before.

    Parameters
    ----------
    cells
        The study, with a name of its own for each cell.
    folder
        The study's folder, made where it is missing.
    jobs
        How many cells are computed at a time, each on one thread: 1 in this process, more in processes of their own.
    scheduler
        Address of a Dask scheduler that the cells are sent to instead.
    force
        Whether to forget what was kept, and start anew.
    progress
        Told of kept cells at the start, and of every cell that ends.

    Raises
    ------
    ValueError
        If two cells have one name, or `jobs` is below 1.
    ConfigError
        If `scheduler` is given together with `jobs`, does not answer, or Dask is not installed.
    """
    _check(cells, jobs, scheduler)
    home = folder / "cells"
    home.mkdir(parents=True, exist_ok=True)
    if force:
        forget_cells(cells, folder=folder)
    found = {cell.name: outcome for cell in cells if (outcome := _kept(home / cell.file, cell)) is not None}
    missing = [cell for cell in cells if cell.name not in found]
    for cell in cells:
        if cell.name in found:
            _forget_run(cell)  # killed between the two
    if progress is not None:
        progress(len(found), len(cells), "")
    with closing(_outcomes(missing, jobs, scheduler)) as outcomes:
        for cell, outcome in outcomes:
            _keep(home / cell.file, cell, outcome)
            if outcome.failure is None:
                _forget_run(cell)
            _log.info("cell %s %s", cell.name, outcome.failure or "done")
            found[cell.name] = outcome
            if progress is not None:
                progress(len(found), len(cells), cell.name if outcome.failure is None else f"{cell.name} failed")
    return {cell.name: found[cell.name] for cell in cells}


def forget_cells(cells: Sequence[Cell], *, folder: Path) -> None:
    """Remove the files of cells that were kept in a study's folder, and what they have kept to go on from."""
    for cell in cells:
        (folder / "cells" / cell.file).unlink(missing_ok=True)
        _forget_run(cell)


def _forget_run(cell: Cell) -> None:
    if "run" in cell.also:
        discard(Path(cell.also["run"]))


def _check(cells: Sequence[Cell], jobs: int, scheduler: str | None) -> None:
    files = [cell.file for cell in cells]
    twice = sorted({file for file in files if files.count(file) > 1})
    if twice:
        raise ValueError(f"`cells` must have different names; {twice[0]} would be the file of two")
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1, got {jobs}")
    if scheduler is not None and jobs > 1:
        raise ConfigError(f"`jobs` {jobs} has no part beside `scheduler`, whose cluster has its own workers; drop one")


def _outcomes(cells: Sequence[Cell], jobs: int, scheduler: str | None) -> Any:
    if not cells or (scheduler is None and jobs == 1):
        return in_turn(cells)
    return in_processes(cells, jobs=jobs) if scheduler is None else on_cluster(cells, address=scheduler)


def _keep(path: Path, cell: Cell, outcome: Outcome) -> None:
    record = {
        "cell": cell.name,
        "function": cell.function,
        "arguments": dict(cell.arguments),
        "fingerprint": cell.fingerprint,
        **vars(outcome),
        "made": provenance(),
    }
    write_text(path, json.dumps(record, indent=1) + "\n", overwrite=True)


def _kept(path: Path, cell: Cell) -> Outcome | None:
    """Return what a cell's file holds, if it is whole, of this cell, and no failure."""
    try:
        if not path.exists():
            return None
        record = read_json(path, largest=_LARGEST)
        if record["fingerprint"] != cell.fingerprint or record["failure"] is not None:
            return None
        return Outcome(result=record["result"], seconds=float(record["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _log.warning("%s is damaged (%r): the cell is computed again", path, error)
        return None
