"""The data of many members, each with times of its own, as rectangular arrays; and the first part of each of them."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physode.estimation.observed import Observed, Series

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Members:
    """What was observed of N members, each at up to T times of its own, in C columns.

    Attributes
    ----------
    names, columns
        Of the members, and of what is observed of each.
    t
        Times, (N, T), NaN behind a member's last.
    y
        Values, (N, T, C), NaN where missing.
    sigma
        Their standard deviations, (N, T, C), NaN where unknown.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    t: Array
    y: Array
    sigma: Array

    @staticmethod
    def of(data: Observed) -> Members:
        """Make them of experiments; rows without any value are left out, but for the first, where a member begins."""
        kept = [_with_values(series) for series in data.series]
        most = max(len(series.t) for series in kept)
        t = np.full((len(kept), most), np.nan)
        y, sigma = (np.full((len(kept), most, len(data.columns)), np.nan) for _ in range(2))
        for i, series in enumerate(kept):
            length = len(series.t)
            t[i, :length], y[i, :length] = series.t, series.y
            if series.sigma is not None:
                sigma[i, :length] = series.sigma
        return Members(tuple(series.name for series in kept), data.columns, t, y, sigma)

    def __len__(self) -> int:
        """The number of members."""
        return len(self.names)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many times each has, (N,)."""
        counts: NDArray[np.int64] = np.isfinite(self.t).sum(1)
        return counts

    def taken(self, rows: Sequence[int]) -> Members:
        """Return some members, perhaps some of them several times."""
        own = list(rows)
        return Members(tuple(self.names[i] for i in own), self.columns, self.t[own], self.y[own], self.sigma[own])

    def first(self, i: int) -> Series:
        """Return one member as an experiment."""
        there = np.isfinite(self.t[i])
        sigma = self.sigma[i, there]
        return Series(self.names[i], self.t[i, there], self.y[i, there], sigma if np.isfinite(sigma).any() else None)

    def packed(self) -> str:
        """Return the numbers as a text."""
        content = io.BytesIO()
        np.savez_compressed(content, t=self.t, y=self.y, sigma=self.sigma)
        return base64.b64encode(content.getvalue()).decode()

    @staticmethod
    def unpacked(text: str, names: Sequence[str], columns: Sequence[str]) -> Members:
        """Return members from what :meth:`packed` has made, and their names."""
        with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as numbers:
            return Members(tuple(names), tuple(columns), numbers["t"], numbers["y"], numbers["sigma"])

    @property
    def digest(self) -> str:
        """A fingerprint of the numbers."""
        found = hashlib.sha256()
        for values in (self.t, self.y, self.sigma):
            found.update(repr(values.shape).encode())
            found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()


def _with_values(series: Series) -> Series:
    keep = np.isfinite(series.y).any(1) | (np.arange(len(series.t)) == 0)
    return Series(series.name, series.t[keep], series.y[keep], None if series.sigma is None else series.sigma[keep])


@dataclass(frozen=True)
class Part:
    """The first times of some members, R of them, L at most.

    Attributes
    ----------
    t
        Times to solve for, (L, R), rising; those of a member that has fewer are more of its last interval.
    order
        Where each member's own times are among them, (L, R): its own come first.
    y, counted
        Values, (L, C, R), 0 where missing, and which are there; in each member's own order.
    weights
        One over their standard deviations, 1 where these are unknown.
    """

    t: Tensor
    order: Tensor
    y: Tensor
    counted: Tensor
    weights: Tensor

    @staticmethod
    def of(members: Members, rows: Sequence[int], counts: Sequence[int]) -> Part:
        """Cut the first `counts` times, 2 or more, of the members `rows`."""
        length = max(counts)
        t = np.empty((length, len(rows)))
        order = np.empty((length, len(rows)), dtype=np.int64)
        numbers = np.arange(length)
        for k, (row, count) in enumerate(zip(rows, counts, strict=True)):
            own = members.t[row, :count]
            more = own[-2] + (own[-1] - own[-2]) * np.arange(1, length - count + 1) / (length - count + 1)
            t[:, k] = np.concatenate([own[:-1], more, own[-1:]])
            order[:, k] = np.where(numbers == count - 1, length - 1, np.minimum(numbers, length - 1))
        y, sigma = (values[list(rows), :length].transpose(1, 2, 0) for values in (members.y, members.sigma))
        counted = np.isfinite(y) & (numbers[:, None] < np.asarray(counts))[:, None]
        known = np.isfinite(sigma)
        return Part(
            t=torch.from_numpy(t),
            order=torch.from_numpy(order),
            y=torch.from_numpy(np.where(counted, y, 0.0)),
            counted=torch.from_numpy(counted),
            weights=torch.from_numpy(np.where(counted & known, 1.0 / np.where(known, sigma, 1.0), 1.0)),
        )

    def own(self, path: Tensor) -> Tensor:
        """Return what was solved, (L, R, ...), in each member's own order."""
        index = self.order.reshape(*self.order.shape, *[1] * (path.ndim - 2)).expand_as(path)
        return path.gather(0, index)
