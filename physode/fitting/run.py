"""A run's folder: settings, history, checkpoints, predictions, report, figures, log, and the right-hand side found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeGuard

import torch

from physode import json_values
from physode.datasets import TableOptions, Trajectories, read_trajectories, write_trajectories
from physode.datasets.atomic_write import write_text
from physode.errors import ConfigError, DataError
from physode.fitting.config import FitConfig
from physode.fitting.data import choose
from physode.fitting.report import ConstantFit
from physode.fitting.rhs import build_rhs
from physode.fitting.state import Epoch, TrainingState, read_checkpoint, write_checkpoint
from physode.json_values import has_fields, read_json
from physode.rhs import System
from physode.training.folder import RunFolder, making_folder, read_settings

RUN_VERSION = 2

_CONTENT = ("predictions.h5", "report.json")


@dataclass(frozen=True)
class Run(RunFolder):
    """A run's folder, found to be of this version.

    Attributes
    ----------
    path
        The folder.
    config
        The effective settings.
    data
        The files that were fitted.
    digest
        Fingerprint of its numbers.
    table
        What was said of how a table of them is written.
    """

    epoch_kind: ClassVar[type[Any]] = Epoch

    path: Path
    config: FitConfig
    data: tuple[Path, ...]
    digest: str
    table: TableOptions = field(default_factory=TableOptions)

    def write_config(self) -> None:
        """Write the settings, replacing what is there."""
        content: dict[str, Any] = {
            "data": [str(path) for path in self.data],
            "data_digest": self.digest,
            "fit": self.config.as_dict(),
        }
        if self.table.given:
            said = self.table.given
            content["table"] = {
                name: list(value) if isinstance(value, tuple) else value for name, value in said.items()
            }
        self.write_settings(content, version=RUN_VERSION)

    def save(self, state: TrainingState) -> None:
        """Write the last and the best checkpoint."""
        self.sync_history()
        write_checkpoint(self.path / "checkpoints" / "last.pt", state)
        write_checkpoint(self.path / "checkpoints" / "best.pt", state.at_best())

    def last(self) -> TrainingState:
        """Read the last checkpoint."""
        return read_checkpoint(self.path / "checkpoints" / "last.pt")

    def write_results(self, predictions: Trajectories, report: Mapping[str, Any]) -> None:
        """Write the predictions and the report, replacing what is there."""
        write_trajectories(self.path / "predictions.h5", predictions, overwrite=True)
        write_text(self.path / "report.json", json_values.dumps(report, indent=2) + "\n", overwrite=True)

    def predictions(self) -> Trajectories:
        """Read the predictions."""
        return read_trajectories(self.path / "predictions.h5")

    def report(self) -> dict[str, Any]:
        """Read the report.

        Raises
        ------
        DataError
            If there is none, as the fit has not come to its end, or it is damaged.
        """
        path = self.path / "report.json"
        if not path.exists():
            raise DataError(f"{self.path} has no report.json: its fit has not ended; go on with --resume {self.path}")
        found = read_json(path)
        if not _is_report(found):
            raise DataError(f"{path} is damaged: it does not hold what a report does")
        return found


def create_run(
    path: Path,
    config: FitConfig,
    *,
    data: Sequence[Path],
    digest: str,
    table: TableOptions | None = None,
    overwrite: bool = False,
) -> Run:
    """Make a run's folder and write its settings.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    """
    run = Run(path, config, tuple(each.resolve() for each in data), digest, table or TableOptions())
    with making_folder(path, _CONTENT, overwrite=overwrite) as place:
        replace(run, path=place).write_config()
    return run


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run's folder.

    Raises
    ------
    ConfigError
        If it is missing, no run, of another version, or its settings are damaged.
    """
    folder = Path(path)
    content = read_settings(folder, kind="fit", version=RUN_VERSION, example="runs/threebody-physical")
    settings = folder / "config.toml"
    try:
        config = FitConfig.from_dict(content["fit"])
        table = TableOptions(**content.get("table", {}))
        return Run(folder, config, tuple(map(Path, content["data"])), str(content["data_digest"]), table)
    except KeyError as error:
        raise ConfigError(f"{settings} is damaged: it has no {error}") from error
    except (ConfigError, TypeError, AttributeError) as error:
        raise ConfigError(f"{settings}: {error}") from error


def fitted_rhs(run: Run, trajectories: Trajectories) -> System:
    """Rebuild a run's right-hand side as it was at the smallest loss, on the CPU.

    Parameters
    ----------
    run
        The run.
    trajectories
        The data that it was fitted to: they say what the system is.

    Raises
    ------
    DataError
        If the checkpoint is missing, damaged, or not of this right-hand side.
    ConfigError
        If the data do not fit the run's settings.
    """
    path = run.path / "checkpoints" / "best.pt"
    state = read_checkpoint(path)
    with torch.random.fork_rng([]):  # the weights drawn here are thrown away: the caller's numbers go on as before
        rhs = build_rhs(run.config, choose(trajectories, run.config)).cpu()
    known = rhs.state_dict()
    try:
        rhs.load_state_dict({name: value for name, value in state.model.items() if name in known})
    except RuntimeError as error:
        raise DataError(f"{path} does not hold the right-hand side that {run.path} describes; fit it again") from error
    return rhs.eval()


def _is_report(found: object) -> TypeGuard[dict[str, Any]]:
    """Whether a report holds what figures take from it; what else stands there is for people."""
    constants = found.get("constants") if isinstance(found, dict) else None
    return isinstance(constants, list) and all(map(_is_fitted, constants))


def _is_fitted(row: object) -> bool:
    return (
        has_fields(row, ConstantFit)
        and all(isinstance(row[name], str) for name in ("name", "unit"))
        and (row["true"] is None or isinstance(row["true"], int | float))
    )
