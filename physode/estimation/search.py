"""The search for the unknowns: from one guess over growing spans, or from many starts at once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from physode.errors import ConfigError, SolveError
from physode.estimation.likelihood import Facing, Likelihood, predict
from physode.estimation.problem import Estimation
from physode.estimation.scales import Scales
from physode.estimation.scoring import Minima, Point, minimise
from physode.estimation.simulation import Simulator, SolverOptions

_log = logging.getLogger(__name__)

_WIDE = 5.0  # without bounds starts are drawn within this factor of the guess
_SPANS = 5
_LOOSE = 1e-4  # of the squared distance to a minimum, in standard errors, where a search is not the last
_ROUGH = (1e-5, 1e-7)
_NEAR = 5.0  # of -log L: searches that end farther above the best are not finished to full precision
_EXPLICIT, _IMPLICIT = "dopri8", "rodas5p"
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

    def likelihood(self, z: Tensor, *, derivatives: bool = True) -> Likelihood:
        """Return the likelihood at z, (S, F); gradient and information by the values, not by z."""
        theta = self.scales.theta(z)
        with torch.no_grad():
            rows = self.simulator.run(theta, tangents=derivatives)
            return self.facing.compare(predict(self.estimation, rows, len(z)))

    def __call__(self, z: Tensor) -> Point:
        """Return -log of likelihood times priors at z, (S, F), with its derivatives by z."""
        likelihood = self.likelihood(z)
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
        From how many points, all in one batch: the guess, and Sobol points within the bounds or, without bounds, within
        a factor of five of the guess, which keeps its sign; within 1 of a guess of 0.
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
    z, scales = start_points(problem.scales, starts, seed), problem.scales
    rough = _rough(problem)
    if growing:
        for span in _spans(problem.estimation):
            z = _towards(rough, span, z)
    minimised = partial(minimise, low=scales.low, high=scales.high, iterations=iterations, on_iteration=on_iteration)
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


def _rough(problem: Problem) -> Problem:
    """Return the same at the looser tolerances of searches from far away."""
    options = problem.options
    return replace(
        problem, options=replace(options, rtol=max(options.rtol, _ROUGH[0]), atol=max(options.atol, _ROUGH[1]))
    )


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
        found = minimise(short, z, scales.low, scales.high, iterations=20, arrived=_LOOSE)
    except SolveError as error:
        _log.info("the first %g of the data: %s", span, error)
        return z
    here, there = (problem.likelihood(own, derivatives=False).loss + scales.priors(own)[0] for own in (z, found.z))
    return torch.where((there < here)[:, None], found.z, z)
