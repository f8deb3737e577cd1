"""Observations of a batch of series, each at times of its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Merged", "Points", "Times", "compact", "merge"]


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


class Merged(NamedTuple):
    """Observations and wanted times of B series in the one order of time, M places.

    Attributes
    ----------
    gaps
        (B, M), float64: how long after the place before, 0 at the first and in padding.
    x, mask
        (B, M, C); 0 and False at wanted times: an observation at the same time has a place of its own, after it.
    places
        (B, Q): where each wanted time went.
    """

    gaps: Tensor
    x: Tensor
    mask: Tensor
    places: Tensor


def merge(observed: Points, wanted: Times) -> Merged:
    """Sort observations and wanted times together; where they are simultaneous, the wanted time comes first."""
    queries = wanted.t.shape[1]
    t = torch.cat([wanted.t, observed.t], 1)
    used = torch.cat([wanted.used, observed.used], 1)
    ordered, order = torch.sort(torch.where(used, t, torch.inf), dim=1, stable=True)
    length = int(used.sum(1).max()) if len(t) else 0
    gaps = ordered.diff(dim=1, prepend=ordered[:, :1])
    gaps = torch.where(torch.isfinite(gaps), gaps, 0.0)
    channels = order[..., None].expand(-1, -1, observed.x.shape[-1])
    blank = observed.x.new_zeros(len(t), queries, observed.x.shape[-1])
    x = torch.cat([blank, observed.x], 1).gather(1, channels)
    mask = torch.cat([blank.bool(), observed.mask], 1).gather(1, channels)
    places = torch.argsort(order, dim=1)[:, :queries].clamp(max=max(length - 1, 0))
    return Merged(gaps[:, :length], x[:, :length], mask[:, :length], places)
