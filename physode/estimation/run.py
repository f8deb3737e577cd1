"""The folder of an estimate: how it was asked for, constants, curves, starts, a report and figures."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from physode import json_values
from physode.datasets.atomic_write import write_text
from physode.estimation.bands import Bands
from physode.estimation.estimate import Estimate
from physode.training.folder import RunFolder, making_folder

VERSION = 1

_CONTENT = ("report.json", "constants.csv", "curves.csv", "residuals.csv", "starts.csv", "figures", "model", "petab")


@dataclass(frozen=True)
class EstimateRun(RunFolder):
    """The folder of one estimate.

    Attributes
    ----------
    path
        The folder.
    settings
        What was asked for: files, options and their values.
    """

    epoch_kind: ClassVar[type[Any]] = dict

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_run(
    path: Path,
    estimate: Estimate,
    curves: Bands,
    *,
    settings: Mapping[str, Any],
    notes: Sequence[str],
    model: Sequence[Path] = (),
    petab: Path | None = None,
    overwrite: bool = False,
) -> EstimateRun:
    """Write an estimate's folder, all of it or nothing; figures are drawn into it afterwards.

    Parameters
    ----------
    path
        The folder.
    estimate, curves
        What was found.
    settings
        What was asked for, kept in ``config.toml``.
    notes
        Sentences of the report.
    model
        Files that say what the model is, copied beside the results.
    petab
        The PEtab problem that the estimation was read from, if any: results are written as its tables, too.
    overwrite
        Whether a run that stands there is replaced.

    Raises
    ------
    ConfigError
        If something else stands there, or a run and `overwrite` is not set.
    """
    with making_folder(path, _CONTENT, overwrite=overwrite) as place:
        run = EstimateRun(place, settings)
        for source in model:
            (place / "model").mkdir(exist_ok=True)
            shutil.copyfile(source, place / "model" / source.name)
        report = {**estimate.as_dict(), "notes": list(notes)}
        write_text(place / "report.json", json_values.dumps(report, indent=2) + "\n", overwrite=True)
        constants = [vars(constant) for constant in estimate.constants]
        _write_rows(place / "constants.csv", list(constants[0]), (list(row.values()) for row in constants))
        _write_rows(place / "curves.csv", *_curve_rows(curves))
        _write_rows(place / "residuals.csv", *_residual_rows(estimate))
        _write_rows(place / "starts.csv", *_start_rows(estimate))
        if petab is not None:
            _write_petab(place / "petab", petab, estimate)
        (place / "checkpoints").rmdir()  # a search has none
        run.write_settings({"estimate": dict(settings)}, version=VERSION)
    return EstimateRun(path, settings)


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
