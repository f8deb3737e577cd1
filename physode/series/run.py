"""A training's folder: settings, history, checkpoints, log, evaluations and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from physode.errors import ConfigError
from physode.series.config import SeriesConfig
from physode.series.state import Epoch, SeriesState, read_state, write_state
from physode.training.folder import RunFolder, making_folder, read_settings

__all__ = ["SERIES_VERSION", "SeriesRun", "create_series_run", "open_series_run"]

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
