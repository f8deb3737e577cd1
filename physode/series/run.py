"""What a training on series leaves: lines of its history, checkpoints, and the folder that has them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from physode.series.config import SeriesConfig
from physode.training import run as training_run
from physode.training.run import TrainingRun, TrainingState, read_state

__all__ = ["Epoch", "SeriesRun", "SeriesState", "create_series_run", "open_series_run"]


@dataclass(frozen=True, kw_only=True)
class Epoch(training_run.Epoch):
    """One line of a history, see :class:`physode.training.run.Epoch`; the loss is in nats a value.

    Attributes
    ----------
    test_mse, test_mse_by_range
        Of the test series by the weights at its end, see :class:`physode.series.Scores`.
    kl_weight
        Of its last update.
    """

    test_mse: float
    test_mse_by_range: float
    kl_weight: float


@dataclass(kw_only=True)
class SeriesState(TrainingState):
    """What a checkpoint holds, see :class:`physode.training.run.TrainingState`.

    Attributes
    ----------
    best_mse
        The smallest test error so far.
    """

    best_mse: float


@dataclass(frozen=True)
class SeriesRun(TrainingRun[SeriesConfig, SeriesState]):
    """A training's folder, see :class:`physode.training.run.TrainingRun`.

    Attributes
    ----------
    channels, units
        Of the series.
    time_unit
        Of their times.
    """

    kind: ClassVar[str] = "series"
    config_kind: ClassVar[type[Any]] = SeriesConfig
    state_kind: ClassVar[type[Any]] = SeriesState
    epoch_kind: ClassVar[type[Any]] = Epoch
    example: ClassVar[str] = "runs/hopper-latent-ode"

    channels: tuple[str, ...]
    units: tuple[str, ...]
    time_unit: str

    def state(self, which: str = "last") -> SeriesState:
        """Read the state after the last epoch, ``"last"``, or after that of the smallest test error, ``"best"``."""
        return read_state(self.checkpoint(which), SeriesState)


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
    run = SeriesRun(path, config, data.resolve(), digest, tuple(channels), tuple(units), time_unit)
    return run.create(overwrite=overwrite)


def open_series_run(path: str | os.PathLike[str]) -> SeriesRun:
    """Open a training's folder.

    Raises
    ------
    ConfigError
        If it is missing, no run of a training on series, of another version, or its settings are damaged.
    """
    return SeriesRun.open(path)
