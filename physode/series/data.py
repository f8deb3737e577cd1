"""Irregular series as tensors: set apart for training and test, and told in part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from physode.datasets.series.arrays import check_observed, observed_arrays
from physode.datasets.trajectories import Array
from physode.errors import DataError
from physode.models.observations import Points, compact
from physode.series.config import SeriesConfig

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries

__all__ = ["check_points", "divide", "points_of", "points_of_arrays", "posed", "split"]


def points_of(series: IrregularSeries) -> Points:
    """Return series as tensors, float64, missing values 0 where the mask is False."""
    return _points(series.t, series.y)


def points_of_arrays(
    t: npt.ArrayLike, y: npt.ArrayLike, mask: npt.ArrayLike | None, *, channels: Sequence[str]
) -> Points:
    """Return observations given as arrays; unlike a whole data set, they may lack any channel.

    Parameters
    ----------
    t, y, mask
        As :meth:`physode.datasets.series.IrregularSeries.of_arrays` takes them.
    channels
        Which `y` has to have.

    Raises
    ------
    DataError
        If shapes do not go together, times do not rise, a value is infinite, or a series has none.
    """
    times, values = observed_arrays(t, y, mask)
    if values.shape[2] != len(channels):
        raise DataError(
            f"`y` has {values.shape[2]} channels, the model was trained on {len(channels)}: {', '.join(channels)}"
        )
    check_observed(times, values, channels=channels, names=[str(i) for i in range(len(values))])
    return _points(times, values)


def _points(t: Array, y: Array) -> Points:
    mask = np.isfinite(y)
    x = torch.from_numpy(np.where(mask, y, 0.0)).to(torch.float64)
    return compact(Points(torch.from_numpy(np.nan_to_num(t)), x, torch.from_numpy(mask)))


def check_points(series: IrregularSeries, min_points: int | None) -> IrregularSeries:
    """Return the series that have enough points to be told one and asked for another.

    Raises
    ------
    DataError
        If one has a single point and `min_points` is None, or no series is left.
    """
    least = 2 if min_points is None else min_points
    short = np.flatnonzero(series.points < least)
    if not short.size:
        return series
    if min_points is None:
        count = "" if short.size == 1 else f" ({short.size} such series)"
        raise DataError(
            f"series {series.names[short[0]]!r} has a single point{count}: a model is told one and asked for another; "
            "leave such series out with `min_points` 2 (--min-points 2 on the command line)"
        )
    if short.size == len(series):
        raise DataError(f"no series has {least} points or more; choose a smaller `min_points`")
    return series.take(np.flatnonzero(series.points >= least))


def split(series: IrregularSeries, config: SeriesConfig) -> tuple[IrregularSeries, IrregularSeries]:
    """Divide series into those to train on and those to test on.

    Raises
    ------
    DataError
        If there are too few, or the training series have no value of a channel.
    """
    series = check_points(series, config.min_points)
    order = np.random.default_rng(config.split).permutation(len(series))
    held = max(1, round(config.test_fraction * len(series)))
    if len(series) - held < 1:
        raise DataError(
            f"{len(series)} series cannot be divided into training and test; give at least 2: in a table, "
            "--columns series=NAME says which column tells them apart"
        )
    chosen = order[held:] if config.limit is None else order[held:][: config.limit]
    training, testing = series.take(np.sort(chosen)), series.take(np.sort(order[:held]))
    empty = np.flatnonzero(~training.mask.any((0, 1)))
    if empty.size:
        raise DataError(
            f"the {len(training)} training series have no value of channel {series.channels[empty[0]]!r}; remove it "
            "from the data, or choose another `split`"
        )
    return training, testing


def divide(points: Points, *, share: float, generator: Generator) -> Points:
    """Return a random share of each series' points, at least one: those that a model is told."""
    used = points.used.cpu()
    wanted = (share * used.sum(1)).round().clamp(min=1).long()
    scores = torch.rand(used.shape, generator=generator, dtype=torch.float64).masked_fill(~used, torch.inf)
    rank = scores.argsort(1).argsort(1)
    return points.where((rank < wanted[:, None]).to(points.t.device))


def posed(points: Points, config: SeriesConfig, *, generator: Generator) -> tuple[Points, Points]:
    """Return what a model is told of each series, and what it is asked for, as the task has it."""
    if config.task == "interpolation":
        return divide(points, share=config.observed, generator=generator), points
    before = points.t <= _cut(points, config.until)
    told = divide(points.where(before), share=config.observed, generator=generator)
    return told, points.where(~before)


def _cut(points: Points, until: float) -> Tensor:
    """Return when extrapolation begins, (B, 1): the first point is always before it, the last one after."""
    first = torch.where(points.used, points.t, torch.inf).amin(1, keepdim=True)
    last = torch.where(points.used, points.t, -torch.inf).amax(1, keepdim=True)
    return first + until * (last - first)
