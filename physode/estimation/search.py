"""The search for the unknowns: from one guess over growing spans, or from many starts at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.errors import ConfigError, SolveError
from physode.estimation.growing import spans, towards
from physode.estimation.likelihood import Facing, Likelihood, Prediction, predict
from physode.estimation.meeting import representatives
from physode.estimation.problem import Estimation
from physode.estimation.scales import Scales
from physode.estimation.scoring import MET, Minima, Point, minimise
from physode.estimation.simulation import Simulator, SolverOptions
from physode.estimation.starts import of_spreads_alone, promising, second_chance, start_points, with_best_spreads

_log = logging.getLogger(__name__)

_LOOSE = 1e-2  # of the squared distance to a minimum, in standard errors, where a search is not the last
_ROUGH = (1e-5, 1e-7)
_DRAWS = 8  # Sobol points a start
_CHANCES = 8  # second ones, where fewer than a third of the starts met, until half of them have
_FEW, _HALF = 1 / 3, 1 / 2
_SHORT = 50  # iterations of a second chance
_ABOUT = 0.1  # of -log L, within which rough searches have met
_NEAR = 5.0  # of -log L: searches that end farther above the best are not finished to full precision
_LIGHT = 1e-7  # damping of what begins near its minimum
_EXPLICIT, _IMPLICIT, _COARSE = "dopri8", "rodas5p", "tsit5"
_PROBE = 2000

OnIteration = Callable[[int, Tensor], object]
Keep = Callable[[str, Callable[[], Minima]], Minima]


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

    def settled(self, z: Tensor) -> Point:
        """Return the same where what only the spreads depend on has its best value for the others at z.

        A search has less to find then, and weighs measurements as it should, wherever it is.
        """
        with torch.no_grad():
            rows = self.simulator.run(self.scales.theta(z), tangents=True)
            likelihood = self.facing.compare(predict(self.estimation, rows, len(z)))
            alone = of_spreads_alone(likelihood)
            if bool(alone.any()):
                z = with_best_spreads(self, rows, z, alone)
                rows = self.simulator.with_constants(rows, self.scales.theta(z))
                likelihood = self.facing.compare(predict(self.estimation, rows, len(z)))
        return replace(self._point(z, likelihood), z=z)

    def facing_others(self, z: Tensor, facing: Facing) -> Point:
        """Return the same of other measured values, which may be others for each z."""
        return self._point(z, facing.compare(self.predict(z)))

    def _point(self, z: Tensor, likelihood: Likelihood) -> Point:
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


def compute(name: str, stage: Callable[[], Minima]) -> Minima:
    """Compute a stage of a search, and keep nothing."""
    return stage()


def first_points(problem: Problem, starts: int, seed: int) -> Tensor:
    """Return where searches begin, (S, F): the guess, and the most probable of eight times as many Sobol points.

    They are drawn within the bounds or, without bounds, within a factor of five of the guess, which keeps its sign;
    within 1 of a guess of 0.
    """
    with torch.no_grad():
        return promising(_rough(problem), start_points(problem.scales, 1 + _DRAWS * (starts - 1), seed), starts)


def search(
    problem: Problem,
    *,
    starts: int = 1,
    seed: int = 0,
    growing: bool = True,
    iterations: int = 200,
    keep: Keep = compute,
    on_iteration: OnIteration | None = None,
) -> Minima:
    """Search for the most probable unknowns.

    Parameters
    ----------
    problem
        What to search.
    starts
        From how many points, see :func:`first_points`, all in one batch.
    seed, growing, iterations, keep, on_iteration
        As of :func:`search_from`.

    Raises
    ------
    SolveError
        If the experiments cannot be solved at any start.
    """
    z = first_points(problem, starts, seed)
    return search_from(
        problem, z, seed=seed, growing=growing, iterations=iterations, keep=keep, on_iteration=on_iteration
    )


def search_from(
    problem: Problem,
    z: Tensor,
    *,
    seed: int | Sequence[int] = 0,
    growing: bool = True,
    iterations: int = 200,
    keep: Keep = compute,
    on_iteration: OnIteration | None = None,
) -> Minima:
    """Search from some points, all in one batch.

    Where fewer than a third of several starts meet at the least minimum, those that ended higher get up to eight second
    chances, each by itself, until half have met: what ended at a bound, or does not matter there, is drawn anew, and
    the rest is moved a little.

    Parameters
    ----------
    problem
        What to search.
    z
        The points, (S, F).
    seed
        Of the second chances.
    growing
        Whether searches have the first part of the data first, doubled from stage to stage: short pieces of an
        oscillation determine little, but wherever the search begins.
    iterations
        Most evaluations of a start.
    keep
        Computes the stages of the search, by their names, or knows what came of them.
    on_iteration
        Called after each iteration with its number and the losses.

    Raises
    ------
    SolveError
        If the experiments cannot be solved at any start.
    """
    scales, rough, starts = problem.scales, _rough(problem), len(z)
    if growing:
        for span in spans(problem.estimation):
            z = keep(f"first-{span:g}", partial(towards, rough, span, z, _LOOSE)).z

    def minimised(posed: Problem, z: Tensor, **options: Any) -> Minima:
        options = {"iterations": iterations, "reach": scales.reach, "on_iteration": on_iteration, **options}
        return minimise(posed.settled, z, scales.low, scales.high, **options)

    if starts == 1:
        return keep("finished", partial(minimised, problem, z))
    ends = keep("rough", partial(minimised, rough, z, arrived=_LOOSE))
    generator = np.random.default_rng(seed)
    enough = _FEW
    for chance in range(_CHANCES):
        above = (~_met(rough, ends)).nonzero().flatten()
        if starts - len(above) >= enough * starts:
            break
        enough = _HALF
        with torch.no_grad():
            z = second_chance(rough, ends.z[above], generator)
        again = partial(minimised, rough, z, arrived=_LOOSE, iterations=min(iterations, _SHORT))
        try:
            later = keep(f"chance-{chance + 1}", again)
        except SolveError as error:
            _log.info("second chances: %s", error)
            break
        better = later.loss < ends.loss[above] - MET
        ends = _joined(ends, above, later, better)
        if not bool(better.any()):
            break
    polished = partial(minimised, problem, damping=_LIGHT)
    return keep("finished", partial(_finished, rough, ends, polished))


def _stands_for(rough: Problem, ends: Minima, rows: Tensor) -> Tensor:
    """Return which of some ends each of them is at one minimum with, as numbers of all ends."""
    point = rough(ends.z[rows])
    return rows[representatives(ends.z[rows], ends.loss[rows], point.information)]


def _met(rough: Problem, ends: Minima) -> Tensor:
    """Return which rough searches are at the least minimum, (S,)."""
    above = ends.loss - ends.loss.min()
    near = (above < _NEAR).nonzero().flatten()
    same = torch.zeros(len(above), dtype=torch.bool)
    same[near] = _stands_for(rough, ends, near) == ends.loss.argmin()
    return same | (above < _ABOUT)


def _finished(rough: Problem, ends: Minima, polished: Callable[[Tensor], Minima]) -> Minima:
    """Return the ends with those near the least finished to full precision: one of each minimum, the others with it.

    Where that one does not converge, the others are finished by themselves.
    """
    near = (ends.loss - ends.loss.min() < _NEAR).nonzero().flatten()
    stands = _stands_for(rough, ends, near)
    first = torch.tensor(sorted(set(stands.tolist())))
    found = _joined(ends, first, polished(ends.z[first]), torch.ones(len(first), dtype=torch.bool))
    arrived = torch.tensor(found.converged)
    others = near[near != stands]
    origin = stands[near != stands]
    rest = others[~arrived[origin]]
    if len(rest):
        found = _joined(found, rest, polished(ends.z[rest]), torch.ones(len(rest), dtype=torch.bool))
    others, origin = others[arrived[origin]], origin[arrived[origin]]
    reasons = list(found.reasons)
    for i, k in zip(others.tolist(), origin.tolist(), strict=True):
        reasons[i] = reasons[k]
    z, loss = (part.index_copy(0, others, part[origin]) for part in (found.z, found.loss))
    return replace(found, z=z, loss=loss, reasons=tuple(reasons))


def _joined(first: Minima, rows: Tensor, later: Minima, better: Tensor) -> Minima:
    """Return searches of which some went on: their later ends where these are better, and what all of it took."""
    spent, reasons = list(first.iterations), list(first.reasons)
    for i, row in enumerate(rows.tolist()):
        spent[row] += later.iterations[i]
        reasons[row] = later.reasons[i] if bool(better[i]) else reasons[row]
    kept = rows[better]
    return Minima(
        first.z.index_copy(0, kept, later.z[better]),
        first.loss.index_copy(0, kept, later.loss[better]),
        tuple(spent),
        tuple(reasons),
    )


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
