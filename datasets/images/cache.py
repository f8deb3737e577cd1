"""Decoded images kept in the user's cache folder, so that a folder of files is decoded once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from physode.datasets.images.containers import Container, Folder
from physode.datasets.images.hdf5 import read_hdf5, write_images
from physode.datasets.images.images import Images
from physode.datasets.locks import InUseError
from physode.errors import DataError

_READER_VERSION = 3  # to be raised when other pixels, labels or attributes are read from the same files
_KEY, _NAMES = "cache_key", "cache_names"

_log = logging.getLogger(__name__)


def cached(
    container: Container, *, kind: str, size: int, read: Callable[[], Images], options: Mapping[str, Any] | None = None
) -> Images:
    """Return what `read` returned the last time, if nothing has changed, or else call it and keep the result.

    What counts is the container's path, its files' names, sizes and times of change (of an archive, its own), `kind`,
    `size`, `options` and the version of the readers. There is one file for each path, kind, size and options. One that
    is damaged is written again; one that cannot be written is done without.

    Parameters
    ----------
    container
        What is read.
    kind, size, options
        As of :func:`physode.datasets.images.read_images`: those options of it that are not left alone.
    read
        Reads it.
    """
    how = [kind, size, *(sorted(options.items()) if options else ())]
    key = _key(container, how)
    path = cache_folder() / f"{_digest([str(container.path.resolve()), *how])[:32]}.h5"
    try:
        kept = read_hdf5(path)
        names = kept.attrs.pop(_NAMES, None)
        if kept.attrs.pop(_KEY, None) == key and isinstance(names, list):
            # What the file knows of its own making is not part of what was read.
            return dataclasses.replace(kept, attrs={name: kept.attrs[name] for name in names if name in kept.attrs})
    except (DataError, OSError) as error:
        _log.debug("%s: %s", path, error)
    images = read()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        attrs = {**images.attrs, _KEY: key, _NAMES: list(images.attrs)}
        write_images(path, dataclasses.replace(images, attrs=attrs), overwrite=True)
    except InUseError as error:  # it is being kept, by another process that reads the same
        _log.debug("%s", error)
    except (DataError, OSError) as error:
        _log.warning("decoded images cannot be kept for the next time: %s", error)
    return images


def cache_folder() -> Path:
    """Return ``physode/images`` in ``$XDG_CACHE_HOME``, or in ``~/.cache``."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # no home
        base = Path(given or ".cache").absolute()
    return base / "physode" / "images"


def _key(container: Container, how: Sequence[object]) -> str:
    if isinstance(container, Folder):
        files = [[entry.name, entry.size, entry.changed] for entry in container.listing.entries]
    else:
        about = container.path.stat()
        files = [[container.path.name, about.st_size, about.st_mtime_ns]]
    return _digest([_READER_VERSION, str(container.path.resolve()), *how, files])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
