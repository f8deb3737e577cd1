"""Where a training stands after an epoch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from physode.errors import ConfigError, DataError
from physode.images.config import TrainConfig
from physode.training.checkpoints import read_tensors, write_tensors
from physode.training.folder import RunFolder, making_folder, read_settings

__all__ = [
    "TRAIN_VERSION",
    "Epoch",
    "TrainRun",
    "TrainState",
    "Weights",
    "create_train_run",
    "open_train_run",
    "read_state",
    "read_weights",
    "write_state",
    "write_weights",
]


_VERSION = 1


@dataclass(frozen=True)
class Epoch:
    """One line of a training's history.

    Attributes
    ----------
    epoch
        From 1.
    loss, accuracy
        Means over the epoch's training images as they were seen: changed, and by the weights of the moment.
    test_loss, test_accuracy
        Over all test images by the weights at its end.
    lr
        Learning rate of its last update.
    rhs_forward, rhs_backward, accepted, rejected
        Evaluations of the blocks' right-hand sides and their steps, all blocks together, a training batch.
    test_rhs
        Evaluations, a test batch.
    seconds, test_seconds
        Of training, and of the test.
    memory
        Largest memory that tensors took on the GPU, in bytes; None on others.
    """

    epoch: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    lr: float
    rhs_forward: float
    rhs_backward: float
    accepted: float
    rejected: float
    test_rhs: float
    seconds: float
    test_seconds: float
    memory: int | None = None


@dataclass
class TrainState:
    """What the last checkpoint holds: all that is needed to go on to the same numbers.

    Attributes
    ----------
    epoch
        Epochs that are over.
    model, optimizer, scaler
        Their state dicts; the scaler's of float16.
    best_epoch, best_accuracy
        Of the best test accuracy so far.
    line
        The last epoch's line of the history.
    """

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    best_epoch: int
    best_accuracy: float
    line: dict[str, Any]


@dataclass
class Weights:
    """What a checkpoint for evaluation holds: the epoch and its model's state dict."""

    epoch: int
    model: dict[str, Tensor]


def write_state(path: str | os.PathLike[str], state: TrainState) -> None:
    """Write a state whole or not at all."""
    write_tensors(path, vars(state), version=_VERSION)


def read_state(path: str | os.PathLike[str]) -> TrainState:
    """Read a state; nothing in the file is executed.

    Raises
    ------
    DataError
        If the file is missing, damaged, no checkpoint, or of another version.
    """
    found = TrainState(**read_tensors(path, version=_VERSION, names=_names(TrainState)))
    numbers = isinstance(found.epoch, int) and isinstance(found.best_epoch, int) and found.epoch >= 1
    tables = all(isinstance(each, dict) for each in (found.model, found.optimizer, found.scaler, found.line))
    if not (numbers and tables and isinstance(found.best_accuracy, float)):
        raise DataError(f"{os.fspath(path)} is damaged: it does not hold what a training's checkpoint does")
    return found


def write_weights(path: str | os.PathLike[str], weights: Weights) -> None:
    """Write weights whole or not at all."""
    write_tensors(path, vars(weights), version=_VERSION)


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Read weights; nothing in the file is executed.

    Raises
    ------
    DataError
        If the file is missing, damaged, no checkpoint, or of another version.
    """
    return Weights(**read_tensors(path, version=_VERSION, names=_names(Weights)))


def _names(kind: type) -> set[str]:
    return {each.name for each in dataclasses.fields(kind)}


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
