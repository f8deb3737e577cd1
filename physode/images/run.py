"""A training's folder: settings, history, checkpoints, log, evaluations and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from physode.errors import ConfigError
from physode.images.config import TrainConfig
from physode.images.state import (
    Epoch,
    TrainState,
    Weights,
    read_state,
    read_weights,
    write_state,
    write_weights,
)
from physode.training.folder import RunFolder, making_folder, read_settings

__all__ = ["TRAIN_VERSION", "TrainRun", "create_train_run", "open_train_run"]

TRAIN_VERSION = 1

_CONTENT = ("evaluations", "tensorboard", "summary.json")


@dataclass(frozen=True)
class TrainRun(RunFolder):
    """A training's folder.

    Attributes
    ----------
    path
        The folder.
    config
        The settings.
    dataset
        What the images are: ``"cifar10"``, ``"cifar100"``, ``"galaxy"`` or ``"images"``.
    size
        Pixels a side that were asked for; None where the images came as they are.
    data
        File or folder of the images.
    classes
        Their names.
    digest
        Fingerprint of the images.
    """

    epoch_kind: ClassVar[type[Any]] = Epoch

    path: Path
    config: TrainConfig
    dataset: str
    size: int | None
    data: Path
    classes: tuple[str, ...]
    digest: str

    def write_config(self) -> None:
        """Write the settings, replacing what is there."""
        content = {
            "dataset": self.dataset,
            **({} if self.size is None else {"size": self.size}),
            "data": str(self.data),
            "data_digest": self.digest,
            "classes": list(self.classes),
            "train": self.config.as_dict(),
        }
        self.write_settings(content, version=TRAIN_VERSION)

    def save(self, epoch: Epoch, state: TrainState) -> None:
        """Keep an epoch: the checkpoints first, so that the history never knows more than they do."""
        self.sync_history()
        checkpoints = self.path / "checkpoints"
        if state.best_epoch == state.epoch:
            write_weights(checkpoints / "best.pt", Weights(state.epoch, state.model))
        write_state(checkpoints / "last.pt", state)
        self.append(asdict(epoch))

    def last(self) -> TrainState:
        """Read where the training stands."""
        return read_state(self.path / "checkpoints" / "last.pt")

    def weights(self, which: str) -> Weights:
        """Read the weights of the last epoch, ``"last"``, or of that of the best test accuracy, ``"best"``."""
        if which == "best":
            return read_weights(self.path / "checkpoints" / "best.pt")
        state = self.last()
        return Weights(state.epoch, state.model)


def create_train_run(
    path: Path,
    config: TrainConfig,
    *,
    dataset: str,
    size: int | None,
    data: Path,
    classes: Sequence[str],
    digest: str,
    overwrite: bool = False,
) -> TrainRun:
    """Make a training's folder and write its settings.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    """
    run = TrainRun(path, config, dataset, size, data.resolve(), tuple(classes), digest)
    with making_folder(path, _CONTENT, overwrite=overwrite) as place:
        replace(run, path=place).write_config()
    return run


def open_train_run(path: str | os.PathLike[str]) -> TrainRun:
    """Open a training's folder.

    Raises
    ------
    ConfigError
        If it is missing, no run of a training, of another version, or its settings are damaged.
    """
    folder = Path(path)
    content = read_settings(folder, kind="train", version=TRAIN_VERSION, example="runs/galaxy-node")
    settings = folder / "config.toml"
    try:
        config = TrainConfig.from_dict(content["train"])
        classes = tuple(map(str, content["classes"]))
        return TrainRun(
            folder,
            config,
            str(content["dataset"]),
            content.get("size"),
            Path(content["data"]),
            classes,
            str(content["data_digest"]),
        )
    except KeyError as error:
        raise ConfigError(f"{settings} is damaged: it has no {error}") from error
    except (ConfigError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{settings}: {error}") from error
