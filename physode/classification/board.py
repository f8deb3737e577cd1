"""A training's curves for TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from physode.classification.state import Epoch
from physode.extras import needs

__all__ = ["Board"]

_CURVES = ("loss", "accuracy", "test_loss", "test_accuracy", "lr", "rhs_forward", "rhs_backward", "rejected", "seconds")


class Board:
    """Writes an epoch's numbers under RUN/tensorboard, or nothing.

    Parameters
    ----------
    folder
        The run's; None writes nothing.
    after
        Epochs that are over: what an interrupted training wrote of later ones is hidden.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None, *, after: int = 0) -> None:
        self._writer: Any = None
        if folder is not None:
            needs("tensorboard", extra="images", purpose="`tensorboard`")
            writer = needs("torch.utils.tensorboard", extra="images", purpose="`tensorboard`").SummaryWriter
            self._writer = writer(str(folder / "tensorboard"), purge_step=after + 1)

    def add(self, epoch: Epoch) -> None:
        """Add an epoch's numbers."""
        if self._writer is None:
            return
        for name in _CURVES:
            value = getattr(epoch, name)
            if math.isfinite(value):
                self._writer.add_scalar(name, value, epoch.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
