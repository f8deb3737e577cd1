"""The folder of an estimate: how it was asked for, constants, curves, starts, a report and figures.

It is made before the search, which keeps in it what is done, so that it can be gone on with; the report comes last.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from physode import json_values
from physode.datasets.atomic_write import write_text
from physode.datasets.files import check_output
from physode.errors import ConfigError, DataError, PhysodeError
from physode.estimation.bands import Bands
from physode.estimation.estimate import Estimate
from physode.estimation.problem import Estimation
from physode.estimation.profile_likelihood import Profile
from physode.estimation.scoring import Minima
from physode.estimation.stages import as_dict, from_dict
from physode.training.folder import RunFolder, claimed_run, discard, making_folder, read_settings

VERSION = 1

_REPORT, _MINIMA, _MODEL = "report.json", "minima.json", "model"
_CONTENT = (
    _REPORT, _MINIMA, "constants.csv", "curves.csv", "residuals.csv", "starts.csv", "figures", "profiles", _MODEL,
    "petab",
)  # fmt: skip
_LARGEST = 64 * 2**20  # bytes of where starts ended


@dataclass(frozen=True)
class EstimateRun(RunFolder):
    """The folder of one estimate.

    Attributes
    ----------
    path
        The folder.
    settings
        What was asked for: files, options and their values.
    table
        How tables of data are written, as far as that was said.
    digest
        Of the data.
    """

    epoch_kind: ClassVar[type[Any]] = dict

    path: Path
    settings: Mapping[str, Any]
    table: Mapping[str, Any]
    digest: str

    @property
    def checkpoints(self) -> Path:
        """Where the search keeps what is done of it, until it has ended."""
        return self.path / "checkpoints"

    @property
    def ended(self) -> bool:
        """Whether the search has come to its end, and all of its results are there."""
        return (self.path / _REPORT).is_file()

    def copy_of(self, source: Path) -> Path:
        """Return where to read what the model is: its file, or the run's copy where that is gone or has changed."""
        copy = self.path / _MODEL / source.name
        if copy.is_file() and not (source.is_file() and source.read_bytes() == copy.read_bytes()):
            return copy
        return source

    def check_data(self, estimation: Estimation) -> None:
        """Raise `DataError` where the data are others than those that were fitted."""
        if digest_of(estimation) != self.digest:
            raise DataError(f"the data of {self.path} have changed since they were fitted; fit them again (--force)")

    def minima(self) -> Minima:
        """Read where all starts ended.

        Raises
        ------
        DataError
            If the search has not ended, or the file is missing or damaged.
        """
        if not self.ended:
            raise DataError(f"the fit of {self.path} has not ended; go on with: physode fit --resume {self.path}")
        path = self.path / _MINIMA
        try:
            return from_dict(json_values.read_json(path, largest=_LARGEST))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged: {error!r}") from error


def digest_of(estimation: Estimation) -> str:
    """Return what tells measurements from others."""
    data, digest = estimation.measurements, hashlib.sha256()
    for column in (data.experiment, data.observable, data.times, data.values):
        digest.update(column.tobytes())
    return digest.hexdigest()


@contextmanager
def begun_run(
    path: Path,
    estimation: Estimation,
    *,
    settings: Mapping[str, Any],
    table: Mapping[str, Any],
    model: Sequence[Path] = (),
    overwrite: bool = False,
) -> Iterator[EstimateRun]:
    """Make an estimate's folder, and be the only one at work in it while the block searches.

    Where the search fails the folder is removed, unless batches of starts are kept in it: a worker may have been lost.

    Parameters
    ----------
    path
        The folder.
    estimation
        What is estimated.
    settings, table
        What was asked for, and how tables are written; kept in ``config.toml``.
    model
        Files that say what the model is, copied beside the results.
    overwrite
        Whether a run that stands there is replaced.

    Raises
    ------
    ConfigError
        If something else stands there, or a run and `overwrite` is not set.
    """
    run = EstimateRun(path, settings, table, digest_of(estimation))
    with claimed_run(path):
        with making_folder(path, _CONTENT, overwrite=overwrite) as place:
            for source in model:
                (place / _MODEL).mkdir(exist_ok=True)
                shutil.copyfile(source, place / _MODEL / source.name)
            said = {name: list(value) if isinstance(value, tuple) else value for name, value in table.items()}
            content = {"data_digest": run.digest, "estimate": dict(settings), "table": said}
            EstimateRun(place, settings, table, run.digest).write_settings(content, version=VERSION)
        try:
            yield run
        except PhysodeError:
            if not (run.checkpoints / "cells").exists():
                discard(path)
            raise


def open_estimate_run(path: Path) -> EstimateRun:
    """Open an estimate's folder.

    Raises
    ------
    ConfigError
        If it is missing, no run, of another kind or version, or its settings are damaged.
    """
    content = read_settings(path, kind="estimate", version=VERSION, example="runs/swing")
    settings, table, digest = (content.get(name) for name in ("estimate", "table", "data_digest"))
    if not (isinstance(settings, dict) and isinstance(table, dict) and isinstance(digest, str)):
        raise ConfigError(f"{path / 'config.toml'} is damaged: it lacks what was fitted; fit it again (--force)")
    return EstimateRun(path, settings, table, digest)


def write_results(
    run: EstimateRun,
    estimate: Estimate,
    curves: Bands,
    *,
    notes: Sequence[str],
    doubts: Sequence[str] = (),
    petab: Path | None = None,
) -> None:
    """Write an estimate's results, the report last: a run that has one is whole.

    Parameters
    ----------
    run
        The folder; its figures are there already.
    estimate, curves
        What was found.
    notes
        Sentences of the report.
    doubts
        Those of them that speak against the numbers.
    petab
        The PEtab problem that the estimation was read from, if any: results are written as its tables, too.
    """
    place = run.path
    constants = [vars(constant) for constant in estimate.constants]
    _write_rows(place / "constants.csv", list(constants[0]), (list(row.values()) for row in constants))
    _write_rows(place / "curves.csv", *_curve_rows(curves))
    _write_rows(place / "residuals.csv", *_residual_rows(estimate))
    _write_rows(place / "starts.csv", *_start_rows(estimate))
    write_text(place / _MINIMA, json_values.dumps(as_dict(estimate.minima)) + "\n", overwrite=True)
    if petab is not None:
        _write_petab(place / "petab", petab, estimate)
    names = [unknown.name for unknown in estimate.problem.scales.free]
    correlations = {"names": names, "rows": estimate.correlation.tolist()}
    report = {**estimate.as_dict(), "correlations": correlations, "notes": list(notes), "doubts": list(doubts)}
    write_text(place / _REPORT, json_values.dumps(report, indent=2) + "\n", overwrite=True)
    discard(run.checkpoints)


def write_profile(run: EstimateRun, profile: Profile, name: str, *, overwrite: bool = False) -> Path:
    """Write a profile likelihood as a table, and return its file."""
    path = run.path / "profiles" / f"{name}.csv"
    check_output(path, overwrite=overwrite, make=True)
    path.parent.mkdir(exist_ok=True)
    columns = [profile.values, profile.delta, *profile.others.values()]
    rows = [list(map(float, row)) for row in zip(*columns, strict=True)]
    _write_rows(path, [profile.name, "delta", *profile.others], rows)
    return path


def _write_petab(folder: Path, problem: Path, estimate: Estimate) -> None:
    """Write the parameter table with the estimates as nominal values, and the simulation table."""
    from physode.petab import write_parameters, write_simulations

    folder.mkdir(exist_ok=True)
    values = {constant.name: constant.value for constant in estimate.constants}
    write_parameters(problem, values, folder / "parameters.tsv", overwrite=True)
    simulated = estimate.likelihood.prediction.values[0].tolist()
    write_simulations(problem, simulated, folder / "simulations.tsv", overwrite=True)


def _write_rows(path: Path, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    write_text(path, text.getvalue(), overwrite=True)


def _curve_rows(curves: Bands) -> tuple[list[str], list[list[Any]]]:
    heads = ["experiment", "kind", "name", "time", "mean", "error", "low", "high", "lowest", "highest"]
    rows = [
        [curve.experiment, curve.kind, curve.name, *map(float, numbers)]
        for curve in curves.curves
        for numbers in zip(
            curve.t, curve.mean, curve.error, curve.low, curve.high, curve.lowest, curve.highest, strict=True
        )
    ]
    return heads, rows


def _residual_rows(estimate: Estimate) -> tuple[list[str], list[list[Any]]]:
    data, likelihood = estimate.estimation.measurements, estimate.likelihood
    fitted, spread = (np.asarray(part[0]) for part in (likelihood.prediction.values, likelihood.spreads))
    residuals = np.asarray(likelihood.residuals[0])
    heads = ["experiment", "observable", "time", "value", "fitted", "spread", "residual"]
    experiments = [experiment.name for experiment in estimate.estimation.experiments]
    observables = [observable.name for observable in estimate.estimation.observables]
    rows = [
        [
            experiments[data.experiment[i]],
            observables[data.observable[i]],
            *(float(column[i]) for column in (data.times, data.values, fitted, spread, residuals)),
        ]
        for i in range(len(data))
    ]
    return heads, rows


def _start_rows(estimate: Estimate) -> tuple[list[str], list[list[Any]]]:
    minima, scales = estimate.minima, estimate.problem.scales
    names = [unknown.name for unknown in scales.free]
    values = scales.values(minima.z).tolist()
    rows = [
        [float(loss), count, reason, *row]
        for loss, count, reason, row in zip(
            minima.loss.tolist(), minima.iterations, minima.reasons, values, strict=True
        )
    ]
    return ["loss", "iterations", "ended", *names], rows
