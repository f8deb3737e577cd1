"""A training's run: where it stands after an epoch, and the folder that keeps it."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin, get_type_hints

from torch import Tensor

from physode.errors import ConfigError, DataError
from physode.training.checkpoints import read_tensors, write_tensors
from physode.training.folder import RunFolder, making_folder, read_settings
from physode.training.settings import Settings

__all__ = ["Epoch", "TrainingRun", "TrainingState", "read_state"]

_CHECKPOINT_VERSION = _RUN_VERSION = 1
_CONTENT = ("evaluations", "tensorboard", "summary.json")
_EVERY_RUN_S = ("path", "config", "data", "digest")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of a training's history; each kind of training adds what its test finds.

    Attributes
    ----------
    epoch
        From 1.
    loss
        Mean over the epoch's updates, by the weights of the moment.
    lr
        Learning rate of its last update.
    rhs_forward, rhs_backward, accepted, rejected
        Evaluations of right-hand sides and steps of solves, all of the model's together, a training batch.
    seconds, test_seconds
        Of training, and of the test.
    """

    epoch: int
    loss: float
    lr: float
    rhs_forward: float
    rhs_backward: float
    accepted: float
    rejected: float
    seconds: float
    test_seconds: float


@dataclass(kw_only=True)
class TrainingState:
    """What a checkpoint holds: all that is needed to go on to the same numbers.

    Attributes
    ----------
    epoch
        Epochs that are over.
    model, optimizer
        Their state dicts.
    best_epoch
        Of the best test so far; each kind of training adds how good that was.
    line
        The last epoch's line of the history.
    """

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    best_epoch: int
    line: dict[str, Any]


Config = TypeVar("Config", bound=Settings)
State = TypeVar("State", bound=TrainingState)
Kept = TypeVar("Kept")


def read_state(path: str | os.PathLike[str], kind: type[Kept]) -> Kept:
    """Read what a checkpoint holds, of a dataclass `kind`; nothing in the file is executed.

    Raises
    ------
    DataError
        If the file is missing, damaged, no checkpoint, or of another kind or version.
    """
    types = {name: get_origin(each) or each for name, each in get_type_hints(kind).items()}
    content = read_tensors(path, version=_CHECKPOINT_VERSION, names=set(types))
    if not all(isinstance(content[name], each) for name, each in types.items()) or content["epoch"] < 1:
        raise DataError(f"{os.fspath(path)} is damaged: it does not hold what a training's checkpoint does")
    return kind(**content)


@dataclass(frozen=True)
class TrainingRun(RunFolder, Generic[Config, State]):
    """A training's folder: settings, history, checkpoints, log, evaluations and figures.

    Attributes
    ----------
    path
        The folder.
    config
        The settings.
    data
        File or folder of the data.
    digest
        Fingerprint of the data.
    """

    kind: ClassVar[str]
    config_kind: ClassVar[type[Any]]
    state_kind: ClassVar[type[Any]]
    example: ClassVar[str]

    path: Path
    config: Config
    data: Path
    digest: str

    def create(self, *, overwrite: bool) -> Self:
        """Make the folder and write the settings.

        Raises
        ------
        ConfigError
            If something stands at the path, unless it is a run and `overwrite` is set.
        """
        with making_folder(self.path, _CONTENT, overwrite=overwrite) as place:
            dataclasses.replace(self, path=place).write_config()
        return self

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a training's folder.

        Raises
        ------
        ConfigError
            If it is missing, no run of such a training, of another version, or its settings are damaged.
        """
        folder = Path(path)
        content = read_settings(folder, kind=cls.kind, version=_RUN_VERSION, example=cls.example)
        settings = folder / "config.toml"
        try:
            config = cls.config_kind.from_dict(content[cls.kind])
            about = {name: _read(name, kind, content) for name, kind in cls._about().items()}
            return cls(folder, config, Path(content["data"]), str(content["data_digest"]), **about)
        except KeyError as error:
            raise ConfigError(f"{settings} is damaged: it has no {error}") from error
        except (ConfigError, TypeError, AttributeError, ValueError) as error:
            raise ConfigError(f"{settings}: {error}") from error

    @classmethod
    def _about(cls) -> dict[str, Any]:
        """Return the types of what this kind of run tells of its data."""
        hints = get_type_hints(cls)
        return {each.name: hints[each.name] for each in dataclasses.fields(cls) if each.name not in _EVERY_RUN_S}

    def write_config(self) -> None:
        """Write the settings, replacing what is there."""
        told = {name: value for name in self._about() if (value := getattr(self, name)) is not None}
        content = {
            **{name: list(value) if isinstance(value, tuple) else value for name, value in told.items()},
            "data": str(self.data),
            "data_digest": self.digest,
            self.kind: self.config.as_dict(),
        }
        self.write_settings(content, version=_RUN_VERSION)

    def save(self, line: Epoch, state: State) -> None:
        """Keep an epoch: the checkpoints first, so that the history never knows more than they do."""
        self.sync_history()
        if state.best_epoch == state.epoch:
            write_tensors(self.checkpoint("best"), vars(self.kept_of_best(state)), version=_CHECKPOINT_VERSION)
        write_tensors(self.checkpoint("last"), vars(state), version=_CHECKPOINT_VERSION)
        self.append(asdict(line))

    def checkpoint(self, which: str) -> Path:
        """Return the file of a checkpoint, ``"last"`` or ``"best"``."""
        return self.path / "checkpoints" / f"{which}.pt"

    def kept_of_best(self, state: State) -> Any:
        """Return what the checkpoint of the best epoch holds."""
        return state

    def last(self) -> State:
        """Read where the training stands."""
        found: State = read_state(self.checkpoint("last"), self.state_kind)
        return found


def _read(name: str, kind: Any, content: dict[str, Any]) -> Any:
    """Return one of the settings beside a training's own."""
    if get_origin(kind) is tuple:
        return tuple(map(str, content[name]))
    return content.get(name) if type(None) in get_args(kind) else kind(content[name])
