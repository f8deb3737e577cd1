"""How far predictions are from what was observed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.models.observations import Points, compact
from physode.series.scaler import Standardised

__all__ = ["Scores", "among", "score"]


@dataclass(frozen=True)
class Scores:
    r"""Errors of predictions at all places and channels of the target that were observed.

    Attributes
    ----------
    mse
        Mean of :math:`(\hat x - x)^2 / s_c^2`, with the scales by which values are divided in training: where these are
        standard deviations, 1 is a model that knows the training series' means only.
    mse_by_range
        Mean of :math:`(\hat x - x)^2 / r_c^2`, with the training series' ranges: the figure of Rubanova et al. 2019 and
        of the ACA paper's Table 4.
    means_by_range
        The same, of a model that knows the training series' means only.
    unseen_by_range
        As `mse_by_range`, at places that the model was told nothing of; None without any.
    log_likelihood
        Nats a value, of values as scaled in training, by draws from the posterior where there is one.
    rmse
        Root of the mean square by channel, in its unit; None of a channel without values.
    values, series
        How many values were asked for, of how many series.
    """

    mse: float
    mse_by_range: float
    means_by_range: float
    unseen_by_range: float | None
    log_likelihood: float
    rmse: tuple[float | None, ...]
    values: int
    series: int

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**vars(self), "rmse": list(self.rmse)}


@torch.no_grad()
def score(model: Standardised, told: Points, target: Points, *, batch: int, draws: int = 10) -> Scores:
    """Compare what a model says with what was observed.

    Parameters
    ----------
    model
        The model.
    told, target
        Of the same series, in the data's units.
    batch
        Series at once.
    draws
        For the log-likelihood; 0 leaves it out.
    """
    channels = target.x.shape[-1]
    sums = torch.zeros(5, channels, dtype=torch.float64, device=target.x.device)
    total = 0.0
    for rows in torch.split(torch.arange(len(target.t), device=target.t.device), batch):
        known, asked = (model.inward(compact(each.rows(rows))) for each in (told, target))
        mean = model.network.predict(known, asked.times).mean
        squares = torch.where(asked.mask, (mean - asked.x).square(), 0.0).double()
        unseen = asked.mask & ~among(asked.t, known)[..., None]
        parts = (squares, asked.mask, squares * unseen, unseen, torch.where(asked.mask, asked.x.square(), 0.0).double())
        sums += torch.stack([part.sum((0, 1)) for part in parts])
        if draws:
            total += float(model.network.log_likelihood(known, asked, draws=draws).double().sum())
    return _scores(model, sums, total if draws else math.nan, len(target.t))


def among(t: Tensor, told: Points) -> Tensor:
    """Return which times (B, Q) are among those of some points, such as those that a model was told."""
    known = torch.where(told.used, told.t, torch.inf).sort(1).values
    place = torch.searchsorted(known, t.contiguous()).clamp(max=known.shape[1] - 1)
    return known.gather(1, place) == t


def _scores(model: Standardised, sums: Tensor, total: float, series: int) -> Scores:
    squares, counts, unseen, unseen_counts, from_means = sums
    by_range = (model.scale / model.extent).square()
    values, others = counts.sum(), unseen_counts.sum()
    each = (squares / counts).sqrt() * model.scale
    return Scores(
        mse=float(squares.sum() / values),
        mse_by_range=float((squares * by_range).sum() / values),
        means_by_range=float((from_means * by_range).sum() / values),
        unseen_by_range=float((unseen * by_range).sum() / others) if float(others) else None,
        log_likelihood=total / float(values),
        rmse=tuple(value if math.isfinite(value) else None for value in each.tolist()),
        values=int(values),
        series=series,
    )
