"""The search for the unknowns: from one guess over growing spans, or from many starts at once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from physode.errors import ConfigError, SolveError
from physode.estimation.likelihood import Facing, Likelihood, Prediction, predict
from physode.estimation.problem import Estimation
from physode.estimation.scales import Scales
from physode.estimation.scoring import ARRIVED, Minima, Point, minimise
from physode.estimation.simulation import Rows, Simulator, SolverOptions

_log = logging.getLogger(__name__)

_WIDE = 5.0  # without bounds starts are drawn within this factor of the guess
_SPANS = 5
_LOOSE = 1e-2  # of the squared distance to a minimum, in standard errors, where a search is not the last
_ROUGH = (1e-4, 1e-6)
_DRAWS, _SETTLING = 8, 25
_NEAR = 5.0  # of -log L: searches that end farther above the best are not finished to full precision
_EXPLICIT, _IMPLICIT, _COARSE = "dopri8", "rodas5p", "tsit5"
_PROBE = 2000

OnIteration = Callable[[int, Tensor], object]


@dataclass(frozen=True)
class Problem:
    """An estimation ready to be searched: its likelihood as a function of the free unknowns on their scales.

    Attributes
    ----------
    estimation
        What is estimated.
    options
        How experiments are solved.
    """

    estimation: Estimation
    options: SolverOptions

    @cached_property
    def simulator(self) -> Simulator:
        """Of the experiments."""
        return Simulator(self.estimation, self.options)

    @cached_property
    def scales(self) -> Scales:
        """Of the unknowns."""
        return Scales.of(self.estimation.unknowns)

    @cached_property
    def facing(self) -> Facing:
        """The measurements."""
        return Facing.of(self.estimation)

    def predict(self, z: Tensor, *, derivatives: bool = True) -> Prediction:
        """Return what measurements should have been at z, (S, F); derivatives are by the values, not by z."""
        with torch.no_grad():
            rows = self.simulator.run(self.scales.theta(z), tangents=derivatives)
            return predict(self.estimation, rows, len(z))

    def likelihood(self, z: Tensor, *, derivatives: bool = True) -> Likelihood:
        """Return the likelihood at z, (S, F); gradient and information by the values, not by z."""
        return self.facing.compare(self.predict(z, derivatives=derivatives))

    def __call__(self, z: Tensor) -> Point:
        """Return -log of likelihood times priors at z, (S, F), with its derivatives by z."""
        return self.facing_others(z, self.facing)

    def facing_others(self, z: Tensor, facing: Facing) -> Point:
        """Return the same of other measured values, which may be others for each z."""
        likelihood = facing.compare(self.predict(z))
        assert likelihood.gradient is not None
        assert likelihood.information is not None
        slopes = self.scales.slopes(z)
        prior, gradient, curvature = self.scales.priors(z)
        information = likelihood.information * slopes.unsqueeze(1) * slopes.unsqueeze(2)
        return Point(
            likelihood.loss + prior,
            likelihood.gradient * slopes + gradient,
            information + torch.diag_embed(curvature),
        )


def prepare(
    estimation: Estimation, options: SolverOptions | None = None, defaults: SolverOptions | None = None
) -> Problem:
    """Choose a solver where none is given, from `defaults`, and check everything before any long work.

    An explicit method is taken where it solves all experiments at the guess in a moderate number of steps, unless the
    model says that it is stiff; else an implicit one.

    Raises
    ------
    ConfigError, DataError
        If the estimation contradicts itself.
    """
    count, free = len(estimation.measurements), len(estimation.free)
    if options is None:
        stiff = estimation.model.stiff
        options = replace(defaults or SolverOptions(), method=_IMPLICIT if stiff else _EXPLICIT)
        if stiff is None:
            probe = Problem(estimation, replace(options, max_steps=_PROBE))
            z = probe.scales.guess()[None]
            if not bool(torch.isfinite(probe.likelihood(z, derivatives=False).loss).all()):
                options = replace(options, method=_IMPLICIT)
    problem = Problem(estimation, options)
    problem.scales, problem.facing, problem.simulator.timeline, problem.simulator.inputs  # noqa: B018 - they check
    priors = sum(unknown.prior is not None for unknown in estimation.free)
    if free > count + priors:
        raise ConfigError(f"{free} free constants are more than {count} values determine; fix some, or add data")
    return problem


def search(
    problem: Problem,
    *,
    starts: int = 1,
    seed: int = 0,
    growing: bool = True,
    iterations: int = 200,
    on_iteration: OnIteration | None = None,
) -> Minima:
    """Search for the most probable unknowns.

    Parameters
    ----------
    problem
        What to search.
    starts
        From how many points, all in one batch: the guess, and the most probable of eight times as many Sobol points
        within the bounds or, without bounds, within a factor of five of the guess, which keeps its sign; within 1 of a
        guess of 0.
    seed
        Of the points.
    growing
        Whether searches have the first part of the data first, doubled from stage to stage: short pieces of an
        oscillation determine little, but wherever the search begins.
    iterations
        Most evaluations of a start.
    on_iteration
        Called after each iteration with its number and the losses.

    Raises
    ------
    SolveError
        If the experiments cannot be solved at any start.
    """
    scales, rough = problem.scales, _rough(problem)
    with torch.no_grad():
        z = promising(rough, start_points(scales, 1 + _DRAWS * (starts - 1), seed), starts)
    if growing:
        for span in _spans(problem.estimation):
            z = _towards(rough, span, z)

    def minimised(posed: Problem, z: Tensor, arrived: float = ARRIVED) -> Minima:
        ends = scales.low, scales.high
        return minimise(
            posed, z, *ends, reach=scales.reach, iterations=iterations, arrived=arrived, on_iteration=on_iteration
        )

    if starts == 1:
        return minimised(problem, z)
    first = minimised(rough, z, arrived=_LOOSE)
    near = (first.loss - first.loss.min() < _NEAR).nonzero().flatten()
    last = minimised(problem, first.z[near])
    spent, reasons = list(first.iterations), list(first.reasons)
    for i, row in enumerate(near.tolist()):
        spent[row] += last.iterations[i]
        reasons[row] = last.reasons[i]
    return Minima(
        first.z.index_copy(0, near, last.z), first.loss.index_copy(0, near, last.loss), tuple(spent), tuple(reasons)
    )


def promising(problem: Problem, points: Tensor, count: int) -> Tensor:
    """Return the first of some points and, of the others, those with the least losses, `count` in all.

    What only the spreads depend on is set to its best first: the size of an error cannot be guessed, and a wrong one
    weighs measurements wrongly.
    """
    scales, simulator = problem.scales, problem.simulator
    alone = _of_spreads_alone(problem, points[:1])
    solved = simulator.run(scales.theta(points))
    solved = replace(solved, dx=solved.x.new_zeros(*solved.x.shape, points.shape[1]))
    for _ in range(_SETTLING if bool(alone.any()) else 0):
        likelihood = _compared(problem, solved, points)
        assert likelihood.gradient is not None
        assert likelihood.information is not None
        slopes = scales.slopes(points)
        curvature = likelihood.information.diagonal(dim1=1, dim2=2) * slopes.square()
        step = -(likelihood.gradient * slopes) / curvature.clamp_min(1e-300)
        # An error that is far too small asks for steps that are far too long, one too large for steps too short.
        step = torch.where(alone, step.clamp(-scales.reach, scales.reach), 0.0).nan_to_num()
        points = (points + step).clamp(scales.low, scales.high)
    if len(points) == count:
        return points
    loss = _compared(problem, solved, points).loss + scales.priors(points)[0]
    best = 1 + loss[1:].argsort(stable=True)[: count - 1]
    return torch.cat([points[:1], points[best]])


def _compared(problem: Problem, solved: Rows, points: Tensor) -> Likelihood:
    """Return the likelihood of states that were solved, with constants of points that do not change these."""
    rows = problem.simulator.with_constants(solved, problem.scales.theta(points))
    return problem.facing.compare(predict(problem.estimation, rows, len(points)))


def _of_spreads_alone(problem: Problem, point: Tensor) -> Tensor:
    """Return which unknowns act on spreads, and on nothing else, (F,)."""
    prediction = problem.likelihood(point).prediction
    assert prediction.dvalues is not None
    assert prediction.dspreads is not None
    values, spreads = (part.nan_to_num().abs().amax((0, 1)) for part in (prediction.dvalues, prediction.dspreads))
    return (values == 0) & (spreads > 0)


def _rough(problem: Problem) -> Problem:
    """Return the same at the looser tolerances of searches from far away, by a method that these suit."""
    options = problem.options
    loose = replace(
        options,
        method=_COARSE if options.method == _EXPLICIT else options.method,
        rtol=max(options.rtol, _ROUGH[0]),
        atol=max(options.atol, _ROUGH[1]),
    )
    return replace(problem, options=loose)


def start_points(scales: Scales, starts: int, seed: int) -> Tensor:
    """Return where searches begin, (S, F): the guess first, then Sobol points, scrambled."""
    if starts < 1:
        raise ConfigError(f"`starts` must be at least 1, got {starts}")
    guess = scales.guess()
    if starts == 1:
        return guess[None]
    from scipy.stats import qmc

    near, far = torch.minimum(guess / _WIDE, guess * _WIDE), torch.maximum(guess / _WIDE, guess * _WIDE)
    logarithm = math.log(_WIDE) / torch.where(scales.base == 0.0, 1.0, scales.base)
    near = torch.where(scales.base == 0.0, torch.where(guess == 0.0, -1.0, near), guess - logarithm)
    far = torch.where(scales.base == 0.0, torch.where(guess == 0.0, 1.0, far), guess + logarithm)
    low = torch.where(torch.isfinite(scales.low), scales.low, torch.minimum(near, scales.high))
    high = torch.where(torch.isfinite(scales.high), scales.high, torch.maximum(far, scales.low))
    power = math.ceil(math.log2(starts))
    unit = qmc.Sobol(len(guess), scramble=True, rng=np.random.default_rng(seed)).random_base2(power)[: starts - 1]
    points = low + torch.from_numpy(unit) * (torch.maximum(high, low) - low)
    return torch.cat([guess[None], points])


def _spans(estimation: Estimation) -> list[float]:
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


def _towards(problem: Problem, span: float, z: Tensor) -> Tensor:
    """Move starts to where the first part of the data leads; they stay where that leads nowhere, or astray."""
    short = Problem(shortened(problem.estimation, span), problem.options)
    scales = problem.scales
    try:
        found = minimise(short, z, scales.low, scales.high, reach=scales.reach, iterations=20, arrived=_LOOSE)
    except SolveError as error:
        _log.info("the first %g of the data: %s", span, error)
        return z
    here, there = (problem.likelihood(own, derivatives=False).loss + scales.priors(own)[0] for own in (z, found.z))
    return torch.where((there < here)[:, None], found.z, z)
