"""A run's folder, of whatever was run: settings, history, log, figures; and how it is made anew or read."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import physode
from physode.datasets.atomic import append_line, write_text
from physode.datasets.claims import claimed_folder
from physode.datasets.outputs import check_folder
from physode.errors import ConfigError, DataError
from physode.runs.toml import dumps

__all__ = ["RunFolder", "check_new_folder", "claimed_run", "kind_of_run", "make_folder", "read_settings"]

KINDS = {"fit": "physode fit", "train": "physode train", "series": "physode train timeseries"}
"""What a run may be of, by the name of the table of its settings: the command that makes it."""

_SETTINGS, _HISTORY = "config.toml", "metrics.jsonl"


class RunFolder:
    """What every run's folder has.

    Attributes
    ----------
    path
        The folder.
    """

    path: Path

    @property
    def figures(self) -> Path:
        """The folder of figures; it may not exist."""
        return self.path / "figures"

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line to the history, whole or not at all; what a killed process has left of a line makes way for it."""
        append_line(self.path / _HISTORY, json.dumps(line))

    def history(self) -> list[dict[str, Any]]:
        """Read the history; an unfinished last line is left out."""
        path = self.path / _HISTORY
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
        write_text(self.path / _HISTORY, "".join(kept), overwrite=True)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Be the only one at work in the run's folder, and write what physode logs meanwhile to its log.

        Raises
        ------
        DataError
            If another process is at work in it.
        """
        with claimed_folder(self.path), self._logging():
            yield

    @contextmanager
    def _logging(self) -> Iterator[None]:
        logger, handler = logging.getLogger("physode"), _Log(self.path / "log.txt", encoding="utf-8")
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

    def write_settings(self, content: Mapping[str, Any], *, version: int) -> None:
        """Write the settings, replacing what is there."""
        made = {"run_version": version, "physode_version": physode.__version__}
        write_text(self.path / _SETTINGS, dumps({**made, **content}), overwrite=True)


class _Log(logging.FileHandler):
    """A log that may fall silent: a full disk is told of by what matters more."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Leave the record out."""

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            super().close()


def check_new_folder(path: Path, *, overwrite: bool) -> None:
    """Raise what :func:`make_folder` would raise, and touch nothing: to be called before the work.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    DataError
        If the folder cannot be made.
    """
    if os.path.lexists(path) and not _hardly_begun(path):
        if not overwrite:
            raise ConfigError(
                f"{path} exists already; choose another name, replace it (--force), or go on with it (--resume {path})"
            )
        _check_is_run(path)
    check_folder(path)


@contextmanager
def claimed_run(path: Path) -> Iterator[None]:
    """Be the only one at work in a run's folder, which may not be there yet.

    Raises
    ------
    DataError
        If another process is at work in it, or it cannot be made.
    """
    check_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with claimed_folder(path):
        yield


def make_folder(path: Path, content: Sequence[str], *, overwrite: bool) -> None:
    """Make a run's folder; of one that is there, remove what a run consists of, `content`, and nothing else.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    DataError
        If another process is at work in it, or it cannot be made.
    """
    check_new_folder(path, overwrite=overwrite)
    with claimed_run(path):
        check_new_folder(path, overwrite=overwrite)  # again: another may have made it meanwhile
        if path.exists() and not _hardly_begun(path):
            _clear(path, content)
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)


def read_settings(path: str | os.PathLike[str], *, kind: str, version: int, example: str) -> dict[str, Any]:
    """Read the settings of a run's folder, those in the table `kind` and what stands beside it.

    Raises
    ------
    ConfigError
        If it is missing, no run, one of another kind or version, or its settings are damaged.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; name the folder of a run, such as {example}")
    settings = folder / _SETTINGS
    if not settings.is_file():
        raise ConfigError(f"{folder} is not a run: it has no {_SETTINGS}")
    try:
        content = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{settings} is damaged: {error}") from error
    other = next((name for name in KINDS if name in content and name != kind), None)
    if other is not None:
        raise ConfigError(f"{folder} is a run of `{KINDS[other]}`, this needs one of `{KINDS[kind]}`")
    found = content.get("run_version")
    if found != version:
        made = f" (physode {content['physode_version']})" if "physode_version" in content else ""
        raise ConfigError(
            f"{folder} is a run of version {found!r}{made}, this physode reads {version}; "
            f"{kind} it again, or use the physode that made it"
        )
    return content


def kind_of_run(path: str | os.PathLike[str]) -> str | None:
    """Return what a run is of, a key of ``KINDS``; None where that cannot be read: its reader says why."""
    try:
        content = tomllib.loads((Path(path) / _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    return next((name for name in KINDS if name in content), None)


def _hardly_begun(path: Path) -> bool:
    """Return whether there is nothing but an empty folder of checkpoints: what a kill at the very start leaves."""
    return (
        path.is_dir()
        and [each.name for each in path.iterdir()] == ["checkpoints"]
        and not any((path / "checkpoints").iterdir())
    )


def _check_is_run(path: Path) -> None:
    if not path.is_dir() or not (path / _SETTINGS).is_file():
        raise ConfigError(f"{path} exists and is not a run; it is not replaced, choose another name")


def _clear(path: Path, content: Sequence[str]) -> None:
    """Remove what a run consists of; refuse a folder that is none, and leave what else lies in it."""
    _check_is_run(path)
    # The settings last: what is left of a folder when killed meanwhile is still a run.
    for name in (_HISTORY, "checkpoints", "figures", "log.txt", *content, _SETTINGS):
        part = path / name
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
