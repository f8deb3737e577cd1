"""Where searches ended as data, and stages of a search that are kept in a folder, so that it goes on after a kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from physode import json_values
from physode.datasets.atomic_write import write_text
from physode.errors import DataError
from physode.estimation.scoring import Minima

_log = logging.getLogger(__name__)
_LARGEST = 64 * 2**20  # bytes of a stage


def as_dict(minima: Minima) -> dict[str, Any]:
    """Return ends as JSON can say them, to the last bit; a loss that is infinite is null."""
    return {
        "z": minima.z.tolist(),
        "loss": json_values.plain(minima.loss),
        "iterations": list(minima.iterations),
        "reasons": list(minima.reasons),
    }


def from_dict(content: Mapping[str, Any]) -> Minima:
    """Return the ends that :func:`as_dict` told."""
    loss = [torch.inf if value is None else float(value) for value in content["loss"]]
    z = torch.tensor(content["z"], dtype=torch.float64)
    iterations, reasons = tuple(map(int, content["iterations"])), tuple(map(str, content["reasons"]))
    if not (z.ndim == 2 and len(z) == len(loss) == len(iterations) == len(reasons)):
        raise ValueError("its columns differ in length")
    return Minima(z, torch.tensor(loss, dtype=torch.float64), iterations, reasons)


@dataclass(frozen=True)
class KeptStages:
    """Stages of one search, each in a file of a folder as soon as it is done.

    Attributes
    ----------
    folder
        Where they are kept; made where it is missing.
    """

    folder: Path

    def __call__(self, name: str, stage: Callable[[], Minima]) -> Minima:
        """Return what came of a stage, from its file if that is whole; else compute and keep it."""
        path = self.folder / f"{name}.json"
        if path.exists():
            try:
                return from_dict(json_values.read_json(path, largest=_LARGEST))
            except (DataError, ValueError, KeyError, TypeError, AttributeError) as error:
                _log.warning("%s is damaged (%r): the stage is computed again", path, error)
        ends = stage()
        self.folder.mkdir(exist_ok=True)
        write_text(path, json_values.dumps(as_dict(ends)) + "\n", overwrite=True)
        return ends
