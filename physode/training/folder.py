"""A run's folder, of whatever was run: settings, history, log, figures; and how it is made anew or read."""

from __future__ import annotations

import errno
import glob
import json
import logging
import os
import secrets
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import physode
from physode import json_values
from physode.datasets.atomic_write import append_line, write_text
from physode.datasets.files import check_folder, check_run_folder, shown
from physode.datasets.locks import claimed_folder, new_part
from physode.datasets.provenance import provenance
from physode.errors import ConfigError, DataError
from physode.json_values import are_numbers, has_fields, is_number, read_text
from physode.training.toml import dumps

__all__ = [
    "MADE",
    "RunFolder",
    "check_new_folder",
    "claimed_run",
    "discard",
    "kind_of_run",
    "making_folder",
    "read_settings",
]

KINDS = {
    "fit": "physode fit",
    "estimate": "physode fit (of an equation of your own)",
    "train": "physode train",
    "series": "physode train timeseries",
}
"""What a run may be of, by the name of the table of its settings: the command that makes it."""

_SETTINGS, _HISTORY, MADE = "config.toml", "metrics.jsonl", "made.json"
_CHECKPOINTS = "checkpoints"
_LARGEST_SETTINGS = 64 * 2**20  # bytes


class RunFolder:
    """What every run's folder has.

    Attributes
    ----------
    path
        The folder.
    epoch_kind
        What a line of the history holds.
    """

    path: Path
    epoch_kind: ClassVar[type[Any]]

    @property
    def figures(self) -> Path:
        """The folder of figures; it may not exist."""
        return self.path / "figures"

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line to the history, whole or not at all; what a killed process has left of a line makes way for it."""
        append_line(self.path / _HISTORY, json_values.dumps(line))

    def history(self) -> list[dict[str, Any]]:
        """Read the history; an unfinished last line is left out.

        Raises
        ------
        DataError
            If another line is damaged.
        """
        path = self.path / _HISTORY
        if not os.path.lexists(path):
            return []
        lines = read_text(path).split("\n")[:-1]
        try:
            return [_epoch_of(line, self.epoch_kind) for line in lines]
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is damaged: {error}") from error

    def forget_after(self, epoch: int, *, first: int) -> None:
        """Cut the history to the epochs that a checkpoint knows of; the last of them may not be there yet.

        Raises
        ------
        DataError
            If another one from `first` on is missing: part of the folder is lost.
        """
        kept = [line for line in self.history() if line["epoch"] <= epoch]
        missing = sorted(set(range(first, epoch)) - {line["epoch"] for line in kept})
        if missing:
            raise DataError(
                f"{self.path / _HISTORY} lacks epoch {missing[0]}, which the last checkpoint is behind; "
                "put the whole file back, or begin the run again (--force)"
            )
        write_text(self.path / _HISTORY, "".join(json_values.dumps(line) + "\n" for line in kept), overwrite=True)

    def sync_history(self) -> None:
        """Put the history on the disk: to be called before a checkpoint is, which must not know of more epochs."""
        with suppress(FileNotFoundError), (self.path / _HISTORY).open("rb") as file:
            os.fsync(file.fileno())

    def begin_again(self) -> None:
        """Forget the history of a run that has no checkpoint to go on from: it was killed before the first one."""
        (self.path / _HISTORY).unlink(missing_ok=True)
        (self.path / _CHECKPOINTS).mkdir(exist_ok=True)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a last checkpoint to go on from."""
        return (self.path / _CHECKPOINTS / "last.pt").exists()

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
    """Raise what :func:`making_folder` would raise, and touch nothing: to be called before the work.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    DataError
        If the folder cannot be made.
    """
    if os.path.lexists(path) and not _hardly_begun(path):
        if not overwrite:
            raise _taken(path)
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


@contextmanager
def making_folder(path: Path, content: Sequence[str], *, overwrite: bool) -> Iterator[Path]:
    """Make a run's folder; of one that is there, replace what a run consists of, `content`, and nothing else.

    The block writes the settings into the folder that it is given. A new one has another name until then, so that a
    process that is killed leaves a whole run under `path`, or nothing; a run that is replaced has its old settings or
    the new ones at every moment.

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
        if os.path.lexists(path) and not _hardly_begun(path):
            _clear(path, content)
            (path / _CHECKPOINTS).mkdir(exist_ok=True)
            yield path
            _write_made(path)
            return
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            if left.is_dir():
                shutil.rmtree(left)  # of a process that was killed
        part = new_part(path)
        (part / _CHECKPOINTS).mkdir(parents=True)
        try:
            yield part
            _write_made(part)
            for left in path.iterdir() if _hardly_begun(path) else ():
                left.rmdir() if left.is_dir() else left.unlink()
            _named(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _write_made(path: Path) -> None:
    """Write when, by which command, and with which versions a run was made."""
    write_text(path / MADE, json_values.dumps(provenance(), indent=1) + "\n", overwrite=True)


def discard(path: Path) -> None:
    """Remove a folder: a process that is killed leaves all of it under its name, or nothing."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.gone"):
        _remove(left)
    gone = path.with_name(f".{path.name}.{secrets.token_hex(4)}.gone")
    try:
        path.rename(gone)
    except FileNotFoundError:
        return
    _remove(gone)


def read_settings(path: str | os.PathLike[str], *, kind: str, version: int, example: str) -> dict[str, Any]:
    """Read the settings of a run's folder, those in the table `kind` and what stands beside it.

    Raises
    ------
    ConfigError
        If it is missing, no run, one of another kind or version, or its settings are damaged.
    """
    folder = Path(path)
    check_run_folder(folder, example=example)
    settings = folder / _SETTINGS
    if not settings.is_file():
        remedy = "; it was killed before it had one: begin it again" if _hardly_begun(folder) else ""
        raise ConfigError(f"{folder} is not a run: it has no {_SETTINGS}{remedy}")
    try:
        content = tomllib.loads(read_text(settings, largest=_LARGEST_SETTINGS))
    except DataError as error:
        raise ConfigError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{settings} is damaged: {error}") from error
    other = next((name for name in KINDS if name in content and name != kind), None)
    if other is not None:
        raise ConfigError(f"{folder} is a run of `{KINDS[other]}`, this needs one of `{KINDS[kind]}`")
    if (found := content.get("run_version")) != version:
        made = f" (physode {content['physode_version']})" if "physode_version" in content else ""
        raise ConfigError(
            f"{folder} is a run of version {found!r}{made}, this physode reads {version}; "
            f"{kind} it again, or use the physode that made it"
        )
    return content


def kind_of_run(path: str | os.PathLike[str]) -> str | None:
    """Return what a run is of, a key of ``KINDS``; None where that cannot be read: its reader says why."""
    try:
        content = tomllib.loads(read_text(Path(path) / _SETTINGS, largest=_LARGEST_SETTINGS))
    except (OSError, ValueError, RecursionError):
        return None
    return next((name for name in KINDS if name in content), None)


def _epoch_of(line: str, kind: type[Any]) -> dict[str, Any]:
    """Return a line of the history, found to hold what an epoch of its kind does."""
    found = json.loads(line)
    if not has_fields(found, kind) or type(found["epoch"]) is not int:
        raise ValueError(f"{shown(line)} is no line of its history")
    if wrong := [
        name for name, value in found.items() if not (value is None or is_number(value) or are_numbers(value))
    ]:
        raise ValueError(f"{shown(wrong[0])} is {shown(str(found[wrong[0]]))} in a line of its history")
    return found


def _hardly_begun(path: Path) -> bool:
    """Return whether a folder holds no more than what a kill at the very start may leave: unfinished settings."""
    if path.is_symlink() or not path.is_dir():
        return False
    return all(
        (each.name == _CHECKPOINTS and each.is_dir() and not any(each.iterdir()))
        or (each.name.startswith(".") and each.name.endswith(".part") and each.is_file())
        for each in path.iterdir()
    )


def _named(part: Path, path: Path) -> None:
    """Give a folder its name, which an empty folder may have, and nothing else."""
    try:
        part.rename(path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise _taken(path) from error
        raise


def _taken(path: Path) -> ConfigError:
    if kind_of_run(path) == "estimate" and (path / "report.json").exists():  # there is nothing to go on with
        return ConfigError(f"{path} exists already; choose another name, or replace it (--force)")
    return ConfigError(
        f"{path} exists already; choose another name, replace it (--force), or go on with it (--resume {path})"
    )


def _check_is_run(path: Path) -> None:
    if not path.is_dir() or not (path / _SETTINGS).is_file():
        raise ConfigError(f"{path} exists and is not a run; it is not replaced, choose another name")


def _clear(path: Path, content: Sequence[str]) -> None:
    """Remove what a run consists of, but for its settings; refuse a folder that is none, leave what else lies in it."""
    _check_is_run(path)
    # The checkpoints first: without them, what is left when killed meanwhile is a run that begins again.
    discard(path / _CHECKPOINTS)
    for name in (_HISTORY, MADE, "figures", "log.txt", *content):
        _remove(path / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
