"""A study, declared: configuration, cells, rows and findings, figures; and carried out, from its name to its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from physode.datasets.locks import claimed_folder
from physode.experiments import ON_IMAGES, find_experiment
from physode.experiments.report import Deviation, Finding, Result, Row, Series, check_free, check_writable, holds, write
from physode.sweeps.cells import Cell, Outcome
from physode.sweeps.schedulers import forget_cells, run_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

StudyProgress = Callable[[float, str], object]
"""Told the finished fraction, and what was finished."""


@dataclass(frozen=True)
class StudyConfig:
    """What the configurations of all studies have in common; each has a ``seed``.

    Those that have a shorter version have a ``preset``, ``"full"`` or ``"quick"``, and ``quick(**changes)``, which
    returns it.
    """

    study: ClassVar[str]

    @property
    def name(self) -> str:
        """What the files are called."""
        return f"{self.study}{self.suffix}"

    @property
    def folder(self) -> str:
        """The folder of the cells."""
        return self.name

    @property
    def suffix(self) -> str:
        """What the preset adds to names."""
        preset = getattr(self, "preset", "full")
        return "" if preset == "full" else f"-{preset}"

    def shortened(self, how: str, form: str = "; {}") -> str:
        """Return, for a title, the preset and how it shortens the study; empty of the full one."""
        return form.format(f"{self.suffix[1:]}: {how}") if self.suffix else ""

    def result(
        self,
        title: str,
        rows: Sequence[Row],
        findings: Iterable[Finding],
        *,
        series: Series | None = None,
        claims: str = "the paper",
    ) -> Result:
        """Return what was found with this configuration."""
        return Result(self.name, title, asdict(self), rows, list(findings), claims, series or {})


@dataclass(frozen=True)
class Study:
    """A table or figure, and how it is made.

    Attributes
    ----------
    Config
        Makes the configuration.
    draw
        Makes the figure of a result, or several by name.
    run
        Computes the result in one go, given the configuration and ``progress``; None of a study of cells.
    cells, aggregate
        The independent cells of a configuration, and the result of their outcomes by name.
    trains
        Whether cells are trainings: on a device, each in a folder that keeps its epochs until it is over.
    deviations
        Where it departs from the paper; they stand in what is written and shown.
    """

    Config: Any
    draw: Callable[[Result], Figure | dict[str, Figure]]
    run: Callable[..., Result] | None = None
    cells: Callable[[Any], list[Cell]] | None = None
    aggregate: Callable[[Any, Mapping[str, Outcome]], Result] | None = None
    trains: bool = False
    deviations: Sequence[Deviation] = ()


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


def configuration(name: str, *, seed: int = 0, quick: bool = False, images: Mapping[str, Any] | None = None) -> Any:
    """Return an experiment's configuration.

    Parameters
    ----------
    name, seed
        The experiment, and its seed.
    quick
        Whether to shorten it; no difference to one that is quick as it is.
    images
        Of an experiment on images, what :func:`physode.experiments.classifiers.describe` says of them; None for
        simulated galaxies.
    """
    make = find_experiment(name).Config
    if quick:
        make = getattr(make, "quick", make)
    return make(seed=seed, **(images or {} if name in ON_IMAGES else {}))


def check(name: str, config: StudyConfig, folder: Path, *, overwrite: bool = False) -> None:
    """Raise ``DataError`` if the experiment's files exist already, or cannot be written: to be called before the work.

    Those of a study with the same configuration are its own earlier ones, and are no hindrance.
    """
    own = find_experiment(name).cells is not None and holds(config.name, folder, asdict(config))
    (check_writable if overwrite or own else check_free)(config.name, folder)


def forget(name: str, config: StudyConfig, folder: Path) -> None:
    """Remove the cells of a study that were kept in `folder`, and trainings that were begun: it starts anew."""
    home = folder / config.folder
    forget_cells(_cells(name, config, home), folder=home)


def carry_out(
    name: str,
    config: StudyConfig,
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
        Made where it is missing. The cells of a study are kept in ``folder/NAME/cells``, or, on images, in a folder
        that all tables and figures of one paper share, and taken from there; see :func:`forget`.
    jobs, scheduler
        As :func:`physode.sweeps.schedulers.run_cells`; without a part in experiments without cells.
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
    study, tell = find_experiment(name), progress or (lambda fraction, text: None)
    if study.run is not None:
        result = _complete(study, study.run(config, progress=lambda fraction: tell(fraction, "")))
        return Done(result, write(result, study.draw(result), folder, overwrite=overwrite))
    assert study.aggregate is not None
    home = folder / config.folder
    home.mkdir(parents=True, exist_ok=True)
    with claimed_folder(home):
        outcomes = run_cells(
            _cells(name, config, home, images=images, device=device),
            folder=home,
            jobs=jobs,
            scheduler=scheduler,
            progress=lambda done, of, cell: tell(done / of, f"{done}/{of} {cell}"),
        )
        result = _complete(study, study.aggregate(config, outcomes))
        failures = {cell: outcome.failure for cell, outcome in outcomes.items() if outcome.failure is not None}
        return Done(result, write(result, study.draw(result), folder, overwrite=True), len(outcomes), failures)


def _complete(study: Study, result: Result) -> Result:
    return dataclasses.replace(result, deviations=study.deviations)


def _cells(
    name: str, config: StudyConfig, home: Path, *, images: Path | None = None, device: str = "cpu"
) -> list[Cell]:
    """Return the cells of a study; trainings are told where to compute and to keep, and where their images are."""
    study = find_experiment(name)
    cells = [] if study.cells is None else study.cells(config)
    if not study.trains:
        return cells
    place: dict[str, Any] = {"device": device}
    if name in ON_IMAGES:
        place["path"] = None if images is None else str(images.resolve())
    runs = home.resolve() / "runs"
    return [dataclasses.replace(cell, also={**place, "run": str(runs / Path(cell.file).stem)}) for cell in cells]
