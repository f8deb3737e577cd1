"""Where a training on series stands after an epoch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from physode.errors import ConfigError, DataError
from physode.series.config import SeriesConfig
from physode.training.checkpoints import read_tensors, write_tensors
from physode.training.folder import RunFolder, making_folder, read_settings

__all__ = [
    "SERIES_VERSION",
    "Epoch",
    "SeriesRun",
    "SeriesState",
    "create_series_run",
    "open_series_run",
    "read_state",
    "write_state",
]


_VERSION = 1


@dataclass(frozen=True)
class Epoch:
    """One line of a training's history.

    Attributes
    ----------
    epoch
        From 1.
    loss
        Mean of what was made small over the epoch's updates, nats a value.
    test_mse, test_mse_by_range
        Of the test series by the weights at its end, see :class:`physode.series.Scores`.
    lr, kl_weight
        Of its last update.
    rhs_forward, rhs_backward, accepted, rejected
        Evaluations of right-hand sides and steps of solves, a training batch.
    seconds, test_seconds
        Of training, and of the test.
    """

    epoch: int
    loss: float
    test_mse: float
    test_mse_by_range: float
    lr: float
    kl_weight: float
    rhs_forward: float
    rhs_backward: float
    accepted: float
    rejected: float
    seconds: float
    test_seconds: float


@dataclass
class SeriesState:
    """What a checkpoint holds: all that is needed to go on to the same numbers.

    Attributes
    ----------
    epoch
        Epochs that are over.
    model, optimizer
        Their state dicts.
    best_epoch, best_mse
        Of the smallest test error so far.
    line
        The last epoch's line of the history.
    """

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    best_epoch: int
    best_mse: float
    line: dict[str, Any]


def write_state(path: str | os.PathLike[str], state: SeriesState) -> None:
    """Write a state whole or not at all."""
    write_tensors(path, vars(state), version=_VERSION)


def read_state(path: str | os.PathLike[str]) -> SeriesState:
    """Read a state; nothing in the file is executed.

    Raises
    ------
    DataError
        If the file is missing, damaged, no checkpoint, or of another version.
    """
    names = {each.name for each in dataclasses.fields(SeriesState)}
    found = SeriesState(**read_tensors(path, version=_VERSION, names=names))
    numbers = isinstance(found.epoch, int) and found.epoch >= 1 and isinstance(found.best_epoch, int)
    tables = all(isinstance(each, dict) for each in (found.model, found.optimizer, found.line))
    if not (numbers and tables and isinstance(found.best_mse, float)):
        raise DataError(f"{os.fspath(path)} is damaged: it does not hold what a training's checkpoint does")
    return found


SERIES_VERSION = 1

_CONTENT = ("evaluations", "tensorboard", "summary.json")


@dataclass(frozen=True)
class SeriesRun(RunFolder):
    """A training's folder.

    Attributes
    ----------
    path
        The folder.
    config
        The settings.
    data
        File or folder of the series.
    channels, units
        Of the series.
    time_unit
        Of their times.
    digest
        Fingerprint of the series.
    """

    epoch_kind: ClassVar[type[Any]] = Epoch

    path: Path
    config: SeriesConfig
    data: Path
    channels: tuple[str, ...]
    units: tuple[str, ...]
    time_unit: str
    digest: str

    def write_config(self) -> None:
        """Write the settings, replacing what is there."""
        content = {
            "data": str(self.data),
            "data_digest": self.digest,
            "channels": list(self.channels),
            "units": list(self.units),
            "time_unit": self.time_unit,
            "series": self.config.as_dict(),
        }
        self.write_settings(content, version=SERIES_VERSION)

    def save(self, epoch: Epoch, state: SeriesState) -> None:
        """Keep an epoch: the checkpoints first, so that the history never knows more than they do."""
        self.sync_history()
        checkpoints = self.path / "checkpoints"
        if state.best_epoch == state.epoch:
            write_state(checkpoints / "best.pt", state)
        write_state(checkpoints / "last.pt", state)
        self.append(asdict(epoch))

    def state(self, which: str = "last") -> SeriesState:
        """Read the state after the last epoch, ``"last"``, or after that of the smallest test error, ``"best"``."""
        return read_state(self.path / "checkpoints" / f"{which}.pt")


def create_series_run(
    path: Path,
    config: SeriesConfig,
    *,
    data: Path,
    channels: Sequence[str],
    units: Sequence[str],
    time_unit: str,
    digest: str,
    overwrite: bool = False,
) -> SeriesRun:
    """Make a training's folder and write its settings.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    """
    run = SeriesRun(path, config, data.resolve(), tuple(channels), tuple(units), time_unit, digest)
    with making_folder(path, _CONTENT, overwrite=overwrite) as place:
        replace(run, path=place).write_config()
    return run


def open_series_run(path: str | os.PathLike[str]) -> SeriesRun:
    """Open a training's folder.

    Raises
    ------
    ConfigError
        If it is missing, no run of a training on series, of another version, or its settings are damaged.
    """
    folder = Path(path)
    content = read_settings(folder, kind="series", version=SERIES_VERSION, example="runs/hopper-latent-ode")
    settings = folder / "config.toml"
    try:
        return SeriesRun(
            folder,
            SeriesConfig.from_dict(content["series"]),
            Path(content["data"]),
            tuple(map(str, content["channels"])),
            tuple(map(str, content["units"])),
            str(content["time_unit"]),
            str(content["data_digest"]),
        )
    except KeyError as error:
        raise ConfigError(f"{settings} is damaged: it has no {error}") from error
    except (ConfigError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{settings}: {error}") from error
