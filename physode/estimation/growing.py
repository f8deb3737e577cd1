"""Searches that have the first part of the data first: short pieces of an oscillation lead from anywhere."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from physode.errors import SolveError
from physode.estimation.problem import Estimation
from physode.estimation.scoring import Minima, minimise

if TYPE_CHECKING:
    from physode.estimation.search import Problem

_log = logging.getLogger(__name__)

_SPANS = 5
_ITERATIONS = 20


def spans(estimation: Estimation) -> list[float]:
    """Return fractions of the span of time that determine as many unknowns as there are, and more each time."""
    data, free = estimation.measurements, len(estimation.free)
    starts = np.array([experiment.start for experiment in estimation.experiments])[data.experiment]
    ends = np.array([_last(data.times[data.experiment == i]) for i in range(len(estimation.experiments))])
    share = (data.times - starts) / np.maximum(ends[data.experiment] - starts, 1e-300)
    spans = [2.0**-k for k in range(_SPANS - 1, 0, -1)]
    return [span for span in spans if (share <= span).sum() > 2 * free]


def _last(times: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    finite = times[np.isfinite(times)]
    return float(finite.max()) if len(finite) else 1.0


def shortened(estimation: Estimation, share: float) -> Estimation:
    """Return an estimation from the first part of each experiment's time."""
    data, keep = estimation.measurements, np.zeros(len(estimation.measurements), dtype=bool)
    for i, experiment in enumerate(estimation.experiments):
        mine = data.experiment == i
        until = experiment.start + share * (_last(data.times[mine]) - experiment.start)
        inside = mine & (data.times <= until)
        first = data.times[mine].min()
        keep |= inside if inside.any() else mine & (data.times == first)
    own = tuple(row for row, kept in zip(data.own, keep.tolist(), strict=True) if kept) if data.own else ()
    measured = replace(
        data,
        experiment=data.experiment[keep],
        observable=data.observable[keep],
        times=data.times[keep],
        values=data.values[keep],
        own=own,
    )
    return replace(estimation, measurements=measured)


def towards(problem: Problem, span: float, z: Tensor, arrived: float) -> Minima:
    """Move starts to where the first part of the data leads; they stay where that leads nowhere, or astray."""
    short = replace(problem, estimation=shortened(problem.estimation, span))
    scales = problem.scales
    try:
        found = minimise(
            short.settled, z, scales.low, scales.high, reach=scales.reach, iterations=_ITERATIONS, arrived=arrived
        )
    except SolveError as error:
        _log.info("the first %g of the data: %s", span, error)
        return Minima(z, torch.full((len(z),), torch.inf, dtype=z.dtype), (1,) * len(z), ("stayed",) * len(z))
    here, there = (problem.likelihood(own, derivatives=False).loss + scales.priors(own)[0] for own in (z, found.z))
    nearer = there < here
    return replace(found, z=torch.where(nearer[:, None], found.z, z), loss=torch.where(nearer, there, here))
