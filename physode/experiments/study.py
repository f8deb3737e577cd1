"""Any experiment from its name to its files: in one go, or cell by cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physode.datasets.locks import claimed_folder
from physode.experiments import ON_IMAGES, TRAININGS, find_experiment
from physode.experiments.cells import Cell, forget_cells, run_cells
from physode.experiments.report import Result, check_free, check_writable, holds, write

__all__ = ["Done", "StudyProgress", "carry_out", "check", "configuration", "forget", "has_cells"]

StudyProgress = Callable[[float, str], object]
"""Told the finished fraction, and what was finished."""


@dataclass(frozen=True)
class Done:
    """What came of an experiment.

    Attributes
    ----------
    result, files
        What was found, and where it is written.
    cells
        Of how many cells it is; 0 where it has none.
    failures
        Why cells failed, by their names. The result is that of the others.
    """

    result: Result
    files: dict[str, Path]
    cells: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)


def has_cells(name: str) -> bool:
    """Return whether an experiment is a study of independent cells."""
    return hasattr(find_experiment(name), "cells")


def configuration(name: str, *, seed: int = 0, quick: bool = False, images: Mapping[str, Any] | None = None) -> Any:
    """Return an experiment's configuration.

    Parameters
    ----------
    name, seed
        The experiment, and its seed.
    quick
        Whether to shorten it; no difference to one that is quick as it is.
    images
        Of an experiment on images, what :func:`physode.experiments.images.describe` says of them; None for simulated
        galaxies.
    """
    kind = find_experiment(name).Config
    chosen = dict(images or {}) if name in ON_IMAGES else {}
    return kind.quick(seed=seed, **chosen) if quick and hasattr(kind, "quick") else kind(seed=seed, **chosen)


def check(name: str, config: Any, folder: Path, *, overwrite: bool = False) -> None:
    """Raise ``DataError`` if the experiment's files exist already, or cannot be written: to be called before the work.

    Those of a study with the same configuration are its own earlier ones, and are no hindrance.
    """
    own = getattr(config, "name", name)
    if overwrite or (has_cells(name) and holds(own, folder, vars(config))):
        check_writable(own, folder)
    else:
        check_free(own, folder)


def forget(name: str, config: Any, folder: Path) -> None:
    """Remove the cells of a study that were kept in `folder`, and trainings that were begun: it starts anew."""
    if has_cells(name):
        home = _home(config, folder)
        forget_cells(_cells(name, config, home), folder=home)


def carry_out(
    name: str,
    config: Any,
    *,
    folder: Path,
    jobs: int = 1,
    scheduler: str | None = None,
    images: Path | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    progress: StudyProgress | None = None,
) -> Done:
    """Run an experiment and write its figures, table and data into `folder`.

    Parameters
    ----------
    name, config
        The experiment, and what :func:`configuration` returned for it.
    folder
        Made where it is missing. The cells of a study are kept in ``folder/NAME/cells``, or, of a view of a study on
        images, in a folder that all its views share, and taken from there; see :func:`forget`.
    jobs, scheduler
        As :func:`physode.experiments.cells.run_cells`; without a part in experiments without cells.
    images, device
        Where the images are, of an experiment on images; and where trainings compute.
    overwrite
        Whether to replace files.
    progress
        Told of what is done.

    Raises
    ------
    DataError
        As :func:`check`, or if another process is at work on the study in `folder`.
    """
    check(name, config, folder, overwrite=overwrite)
    experiment = find_experiment(name)
    if not has_cells(name):
        result = experiment.run(config, progress=None if progress is None else lambda done: progress(done, ""))
        return Done(result, write(result, experiment.draw(result), folder, overwrite=overwrite))
    home = _home(config, folder)
    home.mkdir(parents=True, exist_ok=True)
    with claimed_folder(home):
        outcomes = run_cells(
            _cells(name, config, home, images=images, device=device),
            folder=home,
            jobs=jobs,
            scheduler=scheduler,
            progress=None if progress is None else lambda done, of, cell: progress(done / of, f"{done}/{of} {cell}"),
        )
        result = experiment.gather(config, outcomes)
        failures = {cell: outcome.failure for cell, outcome in outcomes.items() if outcome.failure is not None}
        return Done(result, write(result, experiment.draw(result), folder, overwrite=True), len(outcomes), failures)


def _home(config: Any, folder: Path) -> Path:
    return folder / str(getattr(config, "study", config.name))


def _cells(name: str, config: Any, home: Path, *, images: Path | None = None, device: str = "cpu") -> list[Cell]:
    """Return the cells of a study; trainings are told where to compute and to keep, and where their images are."""
    cells: list[Cell] = find_experiment(name).cells(config)
    if name not in TRAININGS:
        return cells
    place: dict[str, Any] = {"device": device}
    if name in ON_IMAGES:
        place["path"] = None if images is None else str(images.resolve())
    runs = home.resolve() / "runs"
    return [dataclasses.replace(cell, also={**place, "run": str(runs / Path(cell.file).stem)}) for cell in cells]
