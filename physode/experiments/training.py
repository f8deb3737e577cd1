"""Trainings as cells of a study: each in a folder of its own, so that one that was killed goes on there."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from physode.errors import ConfigError, DataError

_log = logging.getLogger(__name__)


def trained(
    train: Callable[..., Any],
    data: Any,
    config: Any,
    folder: str | None,
    *,
    opened: Callable[[Path], Any],
    created: Callable[..., Any],
    about: Mapping[str, Any],
) -> tuple[Any, list[dict[str, Any]]]:
    """Train a model on data, or go on with its training where that was begun before; return trainer and history.

    A folder with another training, or one that is damaged, is begun anew.

    Parameters
    ----------
    train
        :func:`physode.images.train` or :func:`physode.series.train`.
    data, config
        What it trains on, with a ``digest``, and its settings.
    folder
        Keeps every epoch: a training that has ended is not repeated there. None to keep nothing.
    opened, created
        Open such a folder, and make one for `config`.
    about
        What else of the data `created` is told.
    """
    if folder is None:
        history: list[dict[str, Any]] = []
        return train(data, config, on_epoch=lambda epoch, _: history.append(dataclasses.asdict(epoch))), history
    path, digest = Path(folder), data.digest()
    if (run := _begun(path, config, digest, opened)) is not None:
        try:
            return train(data, config, run=run, resume=True), run.history()
        except DataError as error:
            _log.warning("%s: the training begins again", error)
    run = created(path, config, data=path, digest=digest, overwrite=True, **about)
    return train(data, config, run=run), run.history()


def _begun(path: Path, config: Any, digest: str, opened: Callable[[Path], Any]) -> Any:
    """Return the same training where it was begun before."""
    try:
        run = opened(path)
    except ConfigError:
        return None
    return run if dataclasses.replace(run.config, device=config.device) == config and run.digest == digest else None
