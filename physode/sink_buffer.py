"""Outputs on their way from a solve to a file: gathered into slabs of times, one write each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

if TYPE_CHECKING:
    from physode.datasets.streaming import TrajectoryStream

__all__ = ["Buffer"]

_SECONDS = 10.0  # after which outputs are written although their slab is not full: a killed process loses no more


class Buffer:
    """Takes outputs as they are reached (a ``Receiver``) and writes them slab by slab.

    Parameters
    ----------
    stream
        The file.
    shape
        Its numbers of trajectories, times and components.
    dtype
        Its precision.
    """

    def __init__(self, stream: TrajectoryStream, shape: tuple[int, int, int], dtype: str) -> None:
        self._stream, self._slab = stream, stream.slab
        self._slabs = np.empty((shape[0], self._slab, shape[2]), dtype=dtype)
        self._written = np.zeros(shape[0], dtype=np.int64)  # of each trajectory, how many outputs are in the file
        self._reached = np.zeros(shape[0], dtype=np.int64)  # and how many there are
        self._last = time.monotonic()

    def take(self, first: int, values: Tensor) -> None:
        """Take successive outputs of all trajectories."""
        rows = self._array(values).reshape(len(values), *self._slabs.shape[::2]).swapaxes(0, 1)
        done = 0
        while done < len(values):
            place = (first + done) % self._slab
            count = min(self._slab - place, len(values) - done)
            self._slabs[:, place : place + count] = rows[:, done : done + count]
            done += count
            self._reached[:] = first + done
            if place + count == self._slab:
                self._write(np.arange(len(self._slabs)))
        self._write_if_due()

    def take_some(self, outputs: Tensor, groups: Tensor, values: Tensor) -> None:
        """Take some outputs of some trajectories: of each, the next ones."""
        numbers, samples = outputs.cpu().numpy(), groups.cpu().numpy()
        rows = self._array(values).reshape(len(numbers), -1)
        while len(numbers):
            now = numbers // self._slab == self._reached[samples] // self._slab
            self._slabs[samples[now], numbers[now] % self._slab] = rows[now]
            np.maximum.at(self._reached, samples[now], numbers[now] + 1)
            moved = np.unique(samples[now])
            self._write(moved[self._reached[moved] % self._slab == 0])
            numbers, samples, rows = numbers[~now], samples[~now], rows[~now]
        self._write_if_due()

    def flush(self) -> None:
        """Write what was reached."""
        self._write(np.flatnonzero(self._reached > self._written))
        self._stream.flush()
        self._last = time.monotonic()

    def _write_if_due(self) -> None:
        if time.monotonic() - self._last > _SECONDS:
            self.flush()

    def _write(self, samples: npt.NDArray[Any]) -> None:
        """Write what was reached of some trajectories; neighbours at the same place go together."""
        places = np.stack([samples, self._written[samples], self._reached[samples]])
        apart = np.flatnonzero((np.diff(places[0]) != 1) | (np.diff(places[1:]) != 0).any(0)) + 1
        for run in np.split(places, apart, axis=1):
            if not run.size:
                continue
            rows = slice(int(run[0, 0]), int(run[0, -1]) + 1)
            low, high = int(run[1, 0]), int(run[2, 0])
            start = low % self._slab
            self._stream.put(rows, slice(low, high), self._slabs[rows, start : start + high - low])
        self._written[samples] = self._reached[samples]

    def _array(self, values: Tensor) -> npt.NDArray[Any]:
        wide = values if values.dtype.itemsize >= 4 else values.float()
        array: npt.NDArray[Any] = wide.detach().cpu().numpy()
        return array
