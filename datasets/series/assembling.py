"""Single values, one by one, as arrays of series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physode.datasets.files import shown
from physode.datasets.trajectories import Array
from physode.errors import DataError

__all__ = ["LARGEST", "Values", "gather"]

LARGEST = 1 << 32
"""Bytes that times and values of series may take as arrays: 4 GiB. The 4000 records of set-a take 0.25 GiB."""


@dataclass(frozen=True)
class Values:
    """R values, each of one series and channel at one time.

    Attributes
    ----------
    series, channel
        Places in the lists of names, (R,).
    time
        (R,), finite.
    value
        (R,); NaN where it is missing, which leaves the time.
    """

    series: Array
    time: Array
    channel: Array
    value: Array


def gather(values: Values, *, names: Sequence[str], channels: int) -> tuple[Array, Array]:
    """Return times (N, K) and values (N, K, C): each series has the times of all its channels, sorted.

    Parameters
    ----------
    values
        No two of one series, channel and time.
    names
        Labels of the N series, each with one value or more.
    channels
        Their number, C.

    Raises
    ------
    DataError
        If the arrays would take more than `LARGEST` bytes.
    """
    order = np.lexsort((values.time, values.series))
    series, time = values.series[order], values.time[order]
    new = np.ones(len(series), dtype=np.bool_)
    new[1:] = (np.diff(series) != 0) | (np.diff(time) != 0)
    counts = np.bincount(series[new], minlength=len(names))
    _check_size(counts, names, channels)
    starts = np.cumsum(counts) - counts
    place = np.cumsum(new) - 1 - starts[series]
    shape = (len(names), int(counts.max()))
    t, y = np.full(shape, np.nan), np.full((*shape, channels), np.nan)
    t[series, place] = time
    y[series, place, values.channel[order]] = values.value[order]
    return t, y


def _check_size(counts: Array, names: Sequence[str], channels: int) -> None:
    longest = int(np.argmax(counts))
    size = 8 * len(names) * int(counts[longest]) * (channels + 1)
    if size > LARGEST:
        raise DataError(
            f"its {len(names)} series of up to {counts[longest]} times (series {shown(names[longest])!r}) and "
            f"{channels} channels would take {size / 2**30:.3g} GiB as one array, more than {LARGEST / 2**30:.3g}; "
            "divide it"
        )
