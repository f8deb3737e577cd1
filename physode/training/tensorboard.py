"""Curves for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physode.optional_imports import needs

__all__ = ["Curves"]


class Curves:
    """Writes an epoch's numbers under RUN/tensorboard, or nothing.

    Parameters
    ----------
    folder
        The run's; None writes nothing.
    curves
        Names of the numbers to write.
    after
        Epochs that are over: what an interrupted training wrote of later ones is hidden.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None, curves: Sequence[str], *, after: int = 0) -> None:
        self._writer: Any = None
        self._curves = curves
        if folder is not None:
            needs("tensorboard", extra="images", purpose="`tensorboard`")
            writer = needs("torch.utils.tensorboard", extra="images", purpose="`tensorboard`").SummaryWriter
            self._writer = writer(str(folder / "tensorboard"), purge_step=after + 1)

    def add(self, numbers: Mapping[str, Any]) -> None:
        """Add an epoch's numbers, ``epoch`` among them; those that are not finite leave a gap."""
        if self._writer is None:
            return
        for name in self._curves:
            value = numbers[name]
            if value is not None and math.isfinite(value):
                self._writer.add_scalar(name, value, numbers["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
