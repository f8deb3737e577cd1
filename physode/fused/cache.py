"""Compiled kernels on disk: a folder of the user's own, in which nothing is believed that does not match its digest."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cache", "cache_folder"]

_log = logging.getLogger(__name__)

_MOST_BYTES = 2**28  # kept; the kernels used longest ago go first
_SUFFIXES = (".so", ".cubin", ".ptx")  # of kernels for CPUs, for GPUs, and for GPUs that the driver compiles on for


def cache_folder() -> Path:
    """Return where kernels are kept: ``$PHYSODE_CACHE``, else ``physode`` in the user's folder for caches."""
    named = os.environ.get("PHYSODE_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "physode" / "kernels"


@dataclass(frozen=True)
class Cache:
    """Files by the digest of all that they were made from.

    A kernel ``KEY.so`` has a companion ``KEY.json`` with the digest of its bytes. Both appear whole or not at all. The
    folder must belong to the user, and nobody else may write to it.

    Attributes
    ----------
    folder
        Where they lie.
    suffix
        How names of the kernels end that are looked for and put there.
    """

    folder: Path
    suffix: str = ".so"

    def find(self, key: str) -> Path | None:
        """Return a kernel that is there, belongs to the user and is what was written; else None."""
        path = self._path(key)
        try:
            self._check_owned()
            expected = json.loads(path.with_suffix(".json").read_bytes())["sha256"]
            if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                _log.warning("the kernel %s is not what was written: it is made anew", path)
                return None
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("the kernel %s cannot be used: %s", path, error)
            return None
        return path

    def put(self, key: str, made: Path) -> Path:
        """Copy a kernel's file into the folder, as :meth:`keep` does its bytes."""
        return self.keep(key, made.read_bytes())

    def keep(self, key: str, contents: bytes) -> Path:
        """Put a kernel into the folder.

        Raises
        ------
        OSError
            If the folder cannot be written to, is full, or is not the user's alone.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_owned()
        about = json.dumps({"sha256": hashlib.sha256(contents).hexdigest(), "bytes": len(contents)})
        path = self._path(key)
        self._write(path, contents)
        self._write(path.with_suffix(".json"), about.encode())
        self._trim()
        return path

    def entries(self) -> list[tuple[Path, int, float]]:
        """Return the kernels, those used longest ago first: paths, sizes in bytes, when they were used."""
        found = []
        with suppress(OSError):
            for path in (path for path in self.folder.iterdir() if path.suffix in _SUFFIXES):
                with suppress(OSError):
                    about = path.stat()
                    found.append((path, about.st_size, about.st_mtime))
        return sorted(found, key=lambda entry: entry[2])

    def clear(self) -> int:
        """Remove all kernels; return how many there were."""
        entries = self.entries()
        for path, _, _ in entries:
            self._remove(path)
        return len(entries)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{self.suffix}"

    def _check_owned(self) -> None:
        about = self.folder.stat()
        if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            raise PermissionError(f"the folder {self.folder} is not yours alone; remove it, or set PHYSODE_CACHE")

    def _write(self, path: Path, contents: bytes) -> None:
        number, name = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(contents)
            Path(name).chmod(0o700)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise

    def _trim(self) -> None:
        entries = self.entries()
        total = sum(size for _, size, _ in entries)
        for path, size, _ in entries[:-1]:
            if total <= _MOST_BYTES:
                return
            self._remove(path)
            total -= size

    def _remove(self, path: Path) -> None:
        for each in (path, path.with_suffix(".json")):
            with suppress(OSError):
                each.unlink()
