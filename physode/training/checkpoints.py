"""Checkpoint files: tensors and plain values only, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from physode.datasets.atomic_write import filling, replacing
from physode.datasets.interrupts import interrupts_held
from physode.errors import DataError

__all__ = ["load_weights", "read_tensors", "write_tensors"]

_SEAL = b"sha256:"
_BLOCK = 1 << 20


def write_tensors(path: str | os.PathLike[str], content: Mapping[str, Any], *, version: int) -> None:
    """Write tensors and plain values by name, so that `path` holds, at every moment, nothing, the old or the new ones.

    A SHA-256 of all that is written stands behind it, as the comment of the zip archive that ``torch.save`` makes.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written to.
    """
    with replacing(path, overwrite=True) as part:
        _save({"version": version, **content}, part)
        _seal(part)


def _save(content: Mapping[str, Any], part: Path) -> None:
    """Save to a file; where the disk is full, the error says so."""
    try:
        torch.save(content, part)
    except RuntimeError:  # torch does not say why a write has failed; a file of ours does
        with interrupts_held(), filling(part) as file:
            torch.save(content, file)


def read_tensors(path: str | os.PathLike[str], *, version: int, names: set[str]) -> dict[str, Any]:
    """Read what :func:`write_tensors` wrote, running none of what a hostile file may ask Python to run.

    Raises
    ------
    DataError
        If the file is missing, damaged (where it has no SHA-256, by the CRC-32 of its parts), holds anything but
        tensors and plain values, is of another version, or has other entries than `names`.
    """
    if not Path(path).is_file():
        raise DataError(f"{os.fspath(path)} does not exist")
    try:
        _check_sums(Path(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to load a refused file without the safety
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(f"{os.fspath(path)} is not a checkpoint of tensors and numbers, and was not loaded") from error
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DataError(
            f"{os.fspath(path)} is damaged: {reason[0] if reason else type(error).__name__}; "
            "begin the run again (--force)"
        ) from error
    if not isinstance(content, dict) or "version" not in content:
        raise DataError(f"{os.fspath(path)} is not a checkpoint of physode")
    found = content.pop("version")
    if found != version:
        raise DataError(f"{os.fspath(path)} is a checkpoint of version {found!r}, this physode reads {version}")
    if set(content) != names:
        raise DataError(f"{os.fspath(path)} is a checkpoint of another kind; it holds {', '.join(map(str, content))}")
    return content


def _seal(path: Path) -> None:
    """Put a digest of a zip archive behind it, as its comment, whose length is the archive's last two bytes."""
    with path.open("r+b") as file:
        digest = _SEAL + _digest(file, path.stat().st_size - 2)
        file.seek(-2, os.SEEK_END)
        file.write(len(digest).to_bytes(2, "little") + digest)


def _check_sums(path: Path) -> None:
    """Raise if a checkpoint is not what was written; torch keeps sums of its parts, and does not look at them."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\3\4":
            return  # no archive: torch says what it makes of it
        size, length = path.stat().st_size, len(_SEAL) + 64
        file.seek(max(0, size - length))
        seal = file.read()
        if seal.startswith(_SEAL):
            if _digest(file, size - length - 2) != seal.removeprefix(_SEAL):
                raise ValueError("its checksum is another")
            return
        with zipfile.ZipFile(file) as archive:
            for part in archive.infolist():
                if part.compress_type != zipfile.ZIP_STORED or part.external_attr:
                    raise ValueError(f"{part.filename} in it is stored as no checkpoint's part is")
                with archive.open(part) as content:  # raises at its end where its sum is another
                    while content.read(_BLOCK):
                        pass


def _digest(file: IO[bytes], count: int) -> bytes:
    """Return the SHA-256 of a file's first bytes, in hexadecimal digits."""
    found = hashlib.sha256()
    file.seek(0)
    while count > 0 and (block := file.read(min(count, _BLOCK))):
        found.update(block)
        count -= len(block)
    return found.hexdigest().encode()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Give a model the weights of a checkpoint.

    Raises
    ------
    DataError
        If they are another model's.
    """
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"{source} has the weights of another model than the run's settings say") from error
