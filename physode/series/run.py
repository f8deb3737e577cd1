"""What a training on series leaves: lines of its history, checkpoints, and the folder that has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from physode.datasets.series import IrregularSeries, read_series
from physode.datasets.table import TableOptions, meant
from physode.datasets.tables.clock import unit_in_name
from physode.datasets.tables.options import TIME_UNITS
from physode.errors import ConfigError
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
    table
        What was said of how a table of them is written, see :attr:`reading`.
    """

    kind: ClassVar[str] = "series"
    config_kind: ClassVar[type[Any]] = SeriesConfig
    state_kind: ClassVar[type[Any]] = SeriesState
    epoch_kind: ClassVar[type[Any]] = Epoch
    example: ClassVar[str] = "runs/hopper-latent-ode"

    channels: tuple[str, ...]
    units: tuple[str, ...]
    time_unit: str
    table: dict[str, Any] | None = None

    @property
    def reading(self) -> TableOptions:
        """What was said of how a table of its series is written.

        Raises
        ------
        ConfigError
            If the run's settings are damaged.
        """
        try:
            return TableOptions(**(self.table or {}))
        except (TypeError, ConfigError) as error:
            raise ConfigError(f"{self.path / 'config.toml'}: {error}") from error

    def read(
        self,
        source: Path | None = None,
        *,
        options: TableOptions | None = None,
        progress: Callable[[float], object] | None = None,
    ) -> IrregularSeries:
        """Read the series that it was trained on, or others, as these were read; times of other tables in their unit.

        Parameters
        ----------
        source
            A file or folder; by default the run's.
        options
            Go before what the run knows of tables, which has no part in other files.
        progress
            As of :func:`physode.datasets.series.read_series`.

        Raises
        ------
        ConfigError, DataError
            As of :attr:`reading` and :func:`physode.datasets.series.read_series`.
        """
        path = self.data if source is None else source
        reading = self.reading
        unit = self.time_unit if self.time_unit in TIME_UNITS else unit_in_name(self.time_unit)
        if source is not None and unit:
            reading = replace(reading, time_unit=unit)
        known = meant(path, reading) if path.exists() else TableOptions()
        said = {} if options is None else options.given
        return read_series(path, options=replace(known, **said), progress=progress)

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
    table: TableOptions | None = None,
    overwrite: bool = False,
) -> SeriesRun:
    """Make a training's folder and write its settings.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    """
    said = None if table is None else table.given or None
    run = SeriesRun(path, config, data.resolve(), digest, tuple(channels), tuple(units), time_unit, said)
    return run.create(overwrite=overwrite)


def open_series_run(path: str | os.PathLike[str]) -> SeriesRun:
    """Open a training's folder.

    Raises
    ------
    ConfigError
        If it is missing, no run of a training on series, of another version, or its settings are damaged.
    """
    return SeriesRun.open(path)
