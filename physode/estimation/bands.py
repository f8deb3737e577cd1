r"""Curves of what was estimated, with 95 % bands: of the mean, and of where a new measurement will lie.

To first order, a curve g(t) with derivatives :math:`J = dg/dz` by the unknowns has the variance

.. math:: v(t) = J \operatorname{cov}(z) J^\top ,

and the mean's (confidence) band is :math:`g \pm q \sqrt v`, with Student's quantile q where spreads were found from
the residuals, else the normal one. A new measurement of spread s lies within
:math:`g \pm \sqrt{q^2 v + q_s^2 s^2}`, with :math:`q_s = q` for normal noise and :math:`\ln 20` for Laplace's. Of
logarithmic distributions all this holds of the logarithm, and is transformed back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physode.errors import ConfigError
from physode.estimation.estimate import LEVEL, Estimate
from physode.estimation.likelihood import Facing, Prediction
from physode.estimation.problem import Calendar, Entry, Estimation, Measured, Measurements, Observable
from physode.estimation.search import Problem
from physode.estimation.simulation import SolverOptions
from physode.summary import frame

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A state or an observable of one experiment over time, with its bands.

    Attributes
    ----------
    name, unit
        Of the state or observable.
    kind
        ``"state"`` or ``"observable"``.
    experiment
        Its label.
    t
        Times, (T,).
    mean
        The curve at the estimate, (T,): NaN where it cannot be solved.
    error
        Its standard error, (T,), of the logarithm where the distribution is logarithmic; NaN where the data do not
        determine it.
    low, high
        The mean's band, (T,).
    lowest, highest
        That of a new measurement, (T,); NaN for states, which are not measured.
    until
        The last time at which the experiment was measured: what comes later is extrapolated.
    times, values
        What was measured of it, (m,) each; empty for states.
    own
        Unknowns that belong to these measurements alone, such as the scale of a batch.
    calendar
        What the times are, where they were dates.
    """

    name: str
    unit: str
    kind: str
    experiment: str
    t: Array
    mean: Array
    error: Array
    low: Array
    high: Array
    lowest: Array
    highest: Array
    until: float
    times: Array
    values: Array
    own: tuple[str, ...] = ()
    calendar: Calendar | None = None


@dataclass(frozen=True)
class Bands:
    """Curves of all states and observables of all experiments, with 95 % bands.

    Attributes
    ----------
    curves
        States, then observables, experiment by experiment.
    time_unit
        Unit of the times.
    level
        Of the bands, 0.95.
    """

    curves: tuple[Curve, ...]
    time_unit: str = ""
    level: float = LEVEL

    @property
    def observables(self) -> tuple[Curve, ...]:
        """The curves of observables."""
        return tuple(curve for curve in self.curves if curve.kind == "observable")

    @property
    def states(self) -> tuple[Curve, ...]:
        """The curves of states."""
        return tuple(curve for curve in self.curves if curve.kind == "state")

    def to_frame(self) -> Any:
        """Return all curves as a pandas DataFrame, a row for each curve and time.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        numbers = ("t", "mean", "error", "low", "high", "lowest", "highest")
        columns: dict[str, Any] = {
            name: [getattr(curve, name) for curve in self.curves for _ in curve.t]
            for name in ("experiment", "kind", "name")
        }
        columns |= {name: np.concatenate([getattr(curve, name) for curve in self.curves]) for name in numbers}
        return frame(columns, what="a table of curves")


@dataclass(frozen=True)
class _Outline:
    """A curve before it is computed: which observable of which experiment, when, and q there."""

    experiment: int
    observable: int
    t: Array
    own: tuple[tuple[Entry, ...], ...]
    until: float
    measured: NDArray[np.int64]
    names: tuple[str, ...] = ()


def bands(
    estimate: Estimate, times: Sequence[float] | None = None, *, points: int = 200, until: float | None = None
) -> Bands:
    """Return the curves of states and observables with their 95 % bands.

    Parameters
    ----------
    estimate
        What was estimated.
    times
        When; by default `points` times from each experiment's start to its last measurement.
    points
        How many.
    until
        Up to which time, in place of the last measurement, curves are continued.

    Raises
    ------
    ConfigError
        If `times` or `until` lie before an experiment's start, `points` is below 2, or an input ends before.
    """
    estimation = estimate.estimation
    outlines, virtual = _drawn(estimation, times, points, until)
    problem = Problem(virtual, estimate.problem.options)
    prediction = problem.predict(estimate.z[None])
    prediction = replace(prediction, spreads=_spreads(estimate, virtual, prediction.spreads))
    facing = Facing.of(virtual)
    mean, slopes = facing.scaled(prediction)
    assert slopes is not None
    error = estimate.modes.variance(slopes[0] * estimate.problem.scales.slopes(estimate.z)).sqrt()
    ends = _ends(facing, prediction, mean[0], error, estimate.quantile)
    numbers = [column.numpy() for column in (prediction.values[0], error, *ends)]
    curves, at = [], 0
    for outline in outlines:
        rows = slice(at, at + len(outline.t))
        curves.append(_curve(estimation, virtual, outline, [column[rows] for column in numbers]))
        at += len(outline.t)
    order = sorted(range(len(curves)), key=lambda k: (curves[k].kind == "observable", k))
    return Bands(tuple(curves[k] for k in order), estimation.model.time_unit)


def check_until(estimation: Estimation, until: float) -> None:
    """Raise what :func:`bands` would raise of `until`, before a search."""
    _, virtual = _drawn(estimation, None, 2, until)
    Problem(virtual, SolverOptions()).simulator.timeline  # noqa: B018 - it checks


def _drawn(
    estimation: Estimation, times: Sequence[float] | None, points: int, until: float | None
) -> tuple[list[_Outline], Estimation]:
    """Return the curves before they are computed, and the estimation measured at their times."""
    grids = [_grid(estimation, i, times, points, until) for i in range(len(estimation.experiments))]
    outlines = [outline for i, (grid, last) in enumerate(grids) for outline in _outlines(estimation, i, grid, last)]
    return outlines, _virtual(estimation, outlines)


def _grid(
    estimation: Estimation, index: int, times: Sequence[float] | None, points: int, until: float | None
) -> tuple[Array, float]:
    """Return an experiment's times, and the last at which it was measured."""
    experiment, data = estimation.experiments[index], estimation.measurements
    finite = np.isfinite(data.times)
    own = data.times[finite & (data.experiment == index)]
    last = float(own.max()) if len(own) else experiment.start
    if times is not None:
        grid = np.unique(np.asarray(times, dtype=np.float64))
        if not len(grid) or not np.isfinite(grid).all() or grid[0] < experiment.start:
            raise ConfigError(
                f"`times` must be finite and from the start of experiment {experiment.name!r}, {experiment.start:g}, on"
            )
        return grid, last
    if points < 2:
        raise ConfigError(f"`points` must be at least 2, got {points}")
    # An experiment of which only the steady state was measured is shown as long as the longest of the others.
    end = last if len(own) and last > experiment.start else float(data.times[finite].max(initial=experiment.start + 1))
    if until is not None:
        end = float(until)
    if not (math.isfinite(end) and end > experiment.start):
        raise ConfigError(
            f"`until` must lie behind the start of experiment {experiment.name!r}, {experiment.start:g}, got {end:g}"
        )
    grid = np.linspace(experiment.start, end, points)
    # States jump at changes: they are shown just before, and after.
    cuts = [change.time for change in experiment.changes if experiment.start < change.time < end]
    before = [cut - 1e-6 * (end - experiment.start) for cut in cuts]
    return np.unique(np.concatenate([grid, cuts, [time for time in before if time > experiment.start]])), last


def _outlines(estimation: Estimation, index: int, grid: Array, last: float) -> list[_Outline]:
    """Return what is drawn of an experiment: observables, one curve for each set of unknowns of their own, and states.

    Numbers that belong to single measurements, such as their standard deviations, are those of the nearest in time.
    """
    data, states = estimation.measurements, len(estimation.model.states)
    none = np.empty(0, dtype=np.int64)
    outlines = []
    for k in range(len(estimation.observables)):
        rows = np.flatnonzero((data.experiment == index) & (data.observable == k))
        if not data.own:
            outlines.append(_Outline(index, k, grid, (), last, rows))
            continue
        kinds = [tuple(entry for entry in data.own[row] if not isinstance(entry, (int, float))) for row in rows]
        for kind in dict.fromkeys(kinds):
            mine = rows[[own == kind for own in kinds]]
            nearest = mine[np.abs(data.times[mine] - grid[:, None]).argmin(1)]
            names = tuple(map(str, kind)) if len(set(kinds)) > 1 else ()
            outlines.append(_Outline(index, k, grid, tuple(data.own[row] for row in nearest), last, mine, names))
    first = len(estimation.observables)
    return outlines + [_Outline(index, first + d, grid, (), last, none) for d in range(states)]


def _virtual(estimation: Estimation, outlines: Sequence[_Outline]) -> Estimation:
    """Return the same estimation, measured at the times of curves, its states too."""
    model = estimation.model
    units = model.state_units or ("",) * len(model.states)
    states = tuple(
        Observable(name, _state(d), unit=unit) for d, (name, unit) in enumerate(zip(model.states, units, strict=True))
    )
    counts = [len(outline.t) for outline in outlines]
    own = tuple(row for outline in outlines for row in outline.own or ((),) * len(outline.t))
    measured = Measurements(
        experiment=np.repeat([outline.experiment for outline in outlines], counts),
        observable=np.repeat([outline.observable for outline in outlines], counts),
        times=np.concatenate([outline.t for outline in outlines]),
        values=np.ones(sum(counts)),
        own=own if any(own) else (),
    )
    return replace(estimation, observables=(*estimation.observables, *states), measurements=measured)


def _state(d: int) -> Measured:
    return lambda t, x, p, u, q: x[:, d]


def _spreads(estimate: Estimate, virtual: Estimation, spreads: Tensor) -> Tensor:
    """Put the spreads that were found into those that were predicted."""
    found = estimate.spreads
    names = [observable.name for observable in estimate.estimation.observables]
    by_observable = spreads.new_tensor([found.get(name, torch.nan) for name in names])
    which = torch.from_numpy(virtual.measurements.observable)
    inside = (which < len(by_observable)) & ~torch.isfinite(spreads[0])
    return torch.where(inside, by_observable[which.clamp_max(len(by_observable) - 1)], spreads)


def _ends(facing: Facing, prediction: Prediction, mean: Tensor, error: Tensor, quantile: float) -> tuple[Tensor, ...]:
    """Return both ends of the mean's band, and of a new measurement's."""
    noise = torch.where(facing.laplace, mean.new_tensor(math.log(1 / (1 - LEVEL))), quantile) * prediction.spreads[0]
    halves = quantile * error, torch.hypot(quantile * error, noise)
    ends = [mean + sign * half for half in halves for sign in (-1, 1)]
    return tuple(torch.where(facing.logs, (end * facing.units).exp(), end) for end in ends)


def _curve(estimation: Estimation, virtual: Estimation, outline: _Outline, numbers: Sequence[Array]) -> Curve:
    observable, data = virtual.observables[outline.observable], estimation.measurements
    rows = outline.measured[np.argsort(data.times[outline.measured], kind="stable")]
    mean, error, low, high, lowest, highest = numbers
    return Curve(
        name=observable.name,
        unit=observable.unit,
        kind="observable" if outline.observable < len(estimation.observables) else "state",
        experiment=estimation.experiments[outline.experiment].name,
        t=outline.t,
        mean=mean,
        error=error,
        low=low,
        high=high,
        lowest=lowest,
        highest=highest,
        until=outline.until,
        times=data.times[rows],
        values=data.values[rows],
        own=outline.names,
        calendar=estimation.experiments[outline.experiment].calendar,
    )
