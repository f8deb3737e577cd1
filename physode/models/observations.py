"""Observations of a batch of series, each at times of its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Latest", "Points", "Times", "compact", "latest"]


class Times(NamedTuple):
    """Times of B series, rising in each.

    Attributes
    ----------
    t
        (B, Q), float64.
    used
        (B, Q), bool: which of them are times at all; the others may lie anywhere in a row, and have any value.
    """

    t: Tensor
    used: Tensor


class Points(NamedTuple):
    """Observations of B series of C channels, in K places each.

    Attributes
    ----------
    t
        (B, K), float64, rising over the places where anything is observed.
    x
        (B, K, C); 0 where nothing is observed.
    mask
        (B, K, C), bool: what is observed.
    """

    t: Tensor
    x: Tensor
    mask: Tensor

    @property
    def used(self) -> Tensor:
        """Places at which anything is observed, (B, K)."""
        return self.mask.any(-1)

    @property
    def times(self) -> Times:
        """The times of these places."""
        return Times(self.t, self.used)

    def rows(self, index: Tensor) -> Points:
        """Return some of the series."""
        return Points(self.t[index], self.x[index], self.mask[index])

    def to(self, device: torch.device) -> Points:
        """Return them on a device."""
        return Points(self.t.to(device), self.x.to(device), self.mask.to(device))

    def where(self, chosen: Tensor) -> Points:
        """Return the observations at chosen places, (B, K), only."""
        mask = self.mask & chosen[..., None]
        return compact(Points(self.t, torch.where(mask, self.x, 0.0), mask))


def compact(points: Points) -> Points:
    """Leave out the places where nothing is observed, as far as the fullest series lets them go.

    What a model makes of a series then depends neither on masked places nor on the padding that its batch needs. Places
    left over repeat the last time, so that no time passes there.
    """
    used = points.used
    counts = used.sum(1)
    length = int(counts.max()) if len(counts) else 0
    order = torch.argsort(~used, dim=1, stable=True)[:, :length]
    channels = order[..., None].expand(-1, -1, points.x.shape[-1])
    t, mask = points.t.gather(1, order), points.mask.gather(1, channels)
    last = t.gather(1, (counts - 1).clamp(min=0)[:, None]) if length else t
    padding = torch.arange(length, device=t.device) >= counts[:, None]
    return Points(torch.where(padding, last, t), points.x.gather(1, channels), mask)


class Latest(NamedTuple):
    """What was observed last before each of Q wanted times of B series.

    Attributes
    ----------
    number
        (B, Q): how many observations are before it; the last of them has the place ``number - 1``.
    gap
        (B, Q), float64: how long ago the last one was; 0 where there is none.
    """

    number: Tensor
    gap: Tensor


def latest(observed: Points, wanted: Times) -> Latest:
    """Find the last observation before each wanted time; `observed` is compact."""
    t = torch.where(observed.used, observed.t, torch.inf)
    number = torch.searchsorted(t.contiguous(), wanted.t.contiguous())
    last = t.gather(1, (number - 1).clamp(min=0)) if t.shape[1] else wanted.t
    return Latest(number, torch.where((number > 0) & wanted.used, wanted.t - last, 0.0))
