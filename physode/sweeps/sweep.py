"""Any function over many cases: in turn, in processes or on a cluster, kept case by case, in one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from physode.datasets.locks import claimed_folder
from physode.errors import ConfigError
from physode.json_values import plain
from physode.sweeps.axes import cases_of
from physode.sweeps.cells import Cell, Outcome
from physode.sweeps.functions import digest_of, on_its_way, received
from physode.sweeps.schedulers import CellProgress, run_cells
from physode.sweeps.table import DONE, FAILED, LOST, Table, check_table

__all__ = ["call_once", "status_of", "sweep"]


def sweep(
    f: Callable[..., Any],
    over: Any,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: CellProgress | None = None,
) -> Table:
    """Call a function for many cases, and return a table of what came of each.

    A case that raises, or whose process dies, loses itself alone: its row says so.

    Parameters
    ----------
    f
        Called with a case's values by keyword; returns numbers, text or truth values by name, or one alone, which is
        called ``value``.
    over
        Values by name, of which all combinations are taken: lists, arrays, ranges, or grid expressions such as
        ``"0.5:1.5:11"``; or a list of cases, or a DataFrame.
    jobs
        How many cases are computed at a time, each on one thread: 1 in this process, more in processes of their own (a
        script that asks for several does so under ``if __name__ == "__main__"``).
    scheduler
        Address of a Dask scheduler that the cases are sent to instead.
    folder
        Where each result is kept as soon as it is there. A later sweep takes from there what was computed with the same
        code and values by the same version of physode, and tries again what has failed.
    out
        A file, .csv or .parquet, that the table is written into.
    force
        Whether to forget what was kept, and to replace `out`.
    progress
        Called with the number of cases done, of all, and the name of the last.

    Returns
    -------
    Table
        A row a case: its values, ``status`` (``"done"``, ``"failed"`` or ``"lost"``), ``reason``, and what `f` has
        returned.

    Raises
    ------
    ConfigError
        If the arguments contradict each other, or something that they need is not installed.
    DataError
        If `out` exists, or another process is at work in `folder`.

    Examples
    --------
    >>> def period(mu):
    ...     return {"period": measure(mu)}
    >>> physode.sweep(period, {"mu": "0.5:4:8"}, jobs=4, folder="periods", out="periods.csv")
    """
    cases = cases_of(over)
    if out is not None:
        check_table(out, overwrite=force)
    digest, home = digest_of(f), None if folder is None else Path(folder)
    with on_its_way(f, away=jobs > 1 or scheduler is not None) as text:
        cells = [
            Cell(
                name=f"case {number + 1}",
                function=f"{__name__}:call_once",
                arguments={"case": plain(case), "digest": digest},
                also={"function": text},
            )
            for number, case in enumerate(cases)
        ]
        with nullcontext() if home is None else claimed(home):
            outcomes = run_cells(cells, folder=home, jobs=jobs, scheduler=scheduler, force=force, progress=progress)
    table = Table.of(_row(case, outcomes[cell.name]) for case, cell in zip(cases, cells, strict=True))
    if out is not None:
        table.write(out, overwrite=force)
    return table


def claimed(folder: Path) -> Any:
    """Make a folder and claim it for this process; raises ``DataError`` where another is at work in it."""
    folder.mkdir(parents=True, exist_ok=True)
    return claimed_folder(folder)


def call_once(case: Mapping[str, Any], digest: str, function: str) -> dict[str, Any]:
    """Call a function for one case, and return what it returns by name; called where it is computed."""
    found = received(function)(**case)
    found = found if isinstance(found, Mapping) else {"value": found}
    clash = sorted({"status", "reason", *case} & {str(name) for name in found})
    if clash:
        raise ConfigError(f"the function returns {clash[0]!r}, which is a column of the table already; rename it")
    result: dict[str, Any] = plain(found)
    return result


def status_of(outcome: Outcome) -> tuple[str, str]:
    """Return the status of a case, and why it has failed."""
    if outcome.failure is None:
        return DONE, ""
    return LOST if outcome.lost else FAILED, outcome.failure


def _row(case: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    status, reason = status_of(outcome)
    return {**case, "status": status, "reason": reason or None, **(outcome.result or {})}
