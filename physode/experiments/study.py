"""Any experiment from its name to its files: in one go, or cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from physode.experiments import find_experiment
from physode.experiments.cells import run_cells
from physode.experiments.report import Result, check_free, holds, write

__all__ = ["StudyProgress", "carry_out", "check", "configuration", "has_cells"]

StudyProgress = Callable[[float, str], object]
"""Told the finished fraction, and what was finished."""


def has_cells(name: str) -> bool:
    """Return whether an experiment is a study of independent cells."""
    return hasattr(find_experiment(name), "cells")


def configuration(name: str, *, seed: int = 0, quick: bool = False) -> Any:
    """Return an experiment's configuration; `quick` makes no difference to one that is quick as it is."""
    kind = find_experiment(name).Config
    return kind.quick(seed=seed) if quick and hasattr(kind, "quick") else kind(seed=seed)


def check(name: str, config: Any, folder: Path) -> None:
    """Raise ``DataError`` if the experiment's files exist already: to be called before the work.

    Those of a study with the same configuration are its own earlier ones, and are no hindrance.
    """
    own = getattr(config, "name", name)
    if not (has_cells(name) and holds(own, folder, vars(config))):
        check_free(own, folder)


def carry_out(
    name: str,
    config: Any,
    *,
    folder: Path,
    jobs: int = 1,
    scheduler: str | None = None,
    force: bool = False,
    progress: StudyProgress | None = None,
) -> tuple[Result, dict[str, Path]]:
    """Run an experiment and write its figures, table and data into `folder`; return the result and the files.

    Parameters
    ----------
    name, config
        The experiment, and what :func:`configuration` returned for it.
    folder
        Made where it is missing. The cells of a study are kept in ``folder/NAME/cells``.
    jobs, scheduler
        As :func:`physode.experiments.cells.run_cells`; without a part in experiments without cells.
    force
        Whether to replace files, and to forget cells that were kept.
    progress
        Told of what is done.

    Raises
    ------
    DataError
        As :func:`check`, unless `force` is set.
    """
    if not force:
        check(name, config, folder)
    experiment = find_experiment(name)
    if not has_cells(name):
        result = experiment.run(config, progress=None if progress is None else lambda done: progress(done, ""))
        return result, write(result, experiment.draw(result), folder, overwrite=force)
    outcomes = run_cells(
        experiment.cells(config),
        folder=folder / config.name,
        jobs=jobs,
        scheduler=scheduler,
        force=force,
        progress=None if progress is None else lambda done, of, cell: progress(done / of, f"{done}/{of} {cell}"),
    )
    result = experiment.gather(config, outcomes)
    return result, write(result, experiment.draw(result), folder, overwrite=True)
