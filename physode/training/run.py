"""A run's folder: settings, history, checkpoints, predictions, report, figures and log."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import physode
from physode.datasets import Trajectories, read_trajectories, write_trajectories
from physode.datasets.atomic import replacing
from physode.errors import ConfigError, DataError
from physode.training.checkpoint import read_checkpoint, write_checkpoint
from physode.training.config import FitConfig
from physode.training.state import Epoch, TrainingState
from physode.training.toml import dumps

__all__ = ["RUN_VERSION", "Run", "create_run", "open_run"]

RUN_VERSION = 2

_CONTENT = ("config.toml", "metrics.jsonl", "checkpoints", "predictions.h5", "report.json", "figures", "log.txt")


@dataclass(frozen=True)
class Run:
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
    """

    path: Path
    config: FitConfig
    data: tuple[Path, ...]
    digest: str

    @property
    def figures(self) -> Path:
        """The folder of figures; it may not exist."""
        return self.path / "figures"

    def write_config(self) -> None:
        """Write the settings, replacing what is there."""
        content = {
            "run_version": RUN_VERSION,
            "physode_version": physode.__version__,
            "data": [str(path) for path in self.data],
            "data_digest": self.digest,
            "fit": self.config.as_dict(),
        }
        _write_text(self.path / "config.toml", dumps(content))

    def append(self, epoch: Epoch, **more: Any) -> None:
        """Add a line to the history: one write a line, so that a killed process leaves whole lines."""
        line = json.dumps({**asdict(epoch), **more}) + "\n"
        descriptor = os.open(self.path / "metrics.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def history(self) -> list[dict[str, Any]]:
        """Read the history; an unfinished last line is left out."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        try:
            return [json.loads(line) for line in lines]
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is damaged: {error}") from error

    def forget_after(self, epoch: int) -> None:
        """Cut the history to the epochs that a checkpoint knows of."""
        kept = [json.dumps(line) + "\n" for line in self.history() if line["epoch"] <= epoch]
        _write_text(self.path / "metrics.jsonl", "".join(kept))

    def save(self, state: TrainingState) -> None:
        """Write the last and the best checkpoint."""
        write_checkpoint(self.path / "checkpoints" / "last.pt", state)
        write_checkpoint(self.path / "checkpoints" / "best.pt", _at_best(state))

    def last(self) -> TrainingState:
        """Read the last checkpoint."""
        return read_checkpoint(self.path / "checkpoints" / "last.pt")

    def write_results(self, predictions: Trajectories, report: Mapping[str, Any]) -> None:
        """Write the predictions and the report, replacing what is there."""
        write_trajectories(self.path / "predictions.h5", predictions, overwrite=True)
        _write_text(self.path / "report.json", json.dumps(report, indent=2) + "\n")

    def predictions(self) -> Trajectories:
        """Read the predictions."""
        return read_trajectories(self.path / "predictions.h5")

    def report(self) -> dict[str, Any]:
        """Read the report.

        Raises
        ------
        DataError
            If there is none: the fit has not come to its end.
        """
        path = self.path / "report.json"
        if not path.exists():
            raise DataError(f"{self.path} has no report.json: its fit has not ended; go on with --resume {self.path}")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Write what physode logs meanwhile to the run's log."""
        logger, handler = logging.getLogger("physode"), logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(min(level or logging.INFO, logging.INFO))
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            handler.close()


def create_run(path: Path, config: FitConfig, *, data: Sequence[Path], digest: str, overwrite: bool = False) -> Run:
    """Make a run's folder and write its settings.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    """
    if path.exists():
        if not overwrite:
            raise ConfigError(
                f"{path} exists already; choose another name, replace it (--force), or go on with it (--resume {path})"
            )
        _clear(path)
    (path / "checkpoints").mkdir(parents=True)
    run = Run(path, config, tuple(each.resolve() for each in data), digest)
    run.write_config()
    return run


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run's folder.

    Raises
    ------
    ConfigError
        If it is missing, no run, of another version, or its settings are damaged.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; name the folder of a run, such as runs/threebody-physical")
    settings = folder / "config.toml"
    if not settings.is_file():
        raise ConfigError(f"{folder} is not a run: it has no config.toml")
    try:
        content = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{settings} is damaged: {error}") from error
    version = content.get("run_version")
    if version != RUN_VERSION:
        made = f" (physode {content['physode_version']})" if "physode_version" in content else ""
        raise ConfigError(
            f"{folder} is a run of version {version!r}{made}, this physode reads {RUN_VERSION}; "
            "fit it again, or use the physode that made it"
        )
    try:
        config = FitConfig.from_dict(content["fit"])
        return Run(folder, config, tuple(map(Path, content["data"])), str(content["data_digest"]))
    except KeyError as error:
        raise ConfigError(f"{settings} is damaged: it has no {error}") from error
    except (ConfigError, TypeError, AttributeError) as error:
        raise ConfigError(f"{settings}: {error}") from error


def _clear(path: Path) -> None:
    """Remove what a run consists of; refuse a folder that is none, and leave what else lies in it."""
    if not path.is_dir() or not (path / "config.toml").is_file():
        raise ConfigError(f"{path} exists and is not a run; it is not replaced, choose another name")
    for name in _CONTENT:
        part = path / name
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def _at_best(state: TrainingState) -> TrainingState:
    return TrainingState(**{**vars(state), "model": state.best_model, "loss": state.best_loss})


def _write_text(path: Path, text: str) -> None:
    with replacing(path, overwrite=True) as part:
        part.write_text(text, encoding="utf-8")
