"""Where searches begin: Sobol points, the most promising of them, second chances of searches that ended too high."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from physode.errors import ConfigError
from physode.estimation.likelihood import Likelihood, predict
from physode.estimation.scales import Scales
from physode.estimation.simulation import Rows

if TYPE_CHECKING:
    from physode.estimation.search import Problem

_WIDE = 5.0  # without bounds starts are drawn within this factor of the guess
_SETTLING = 25
_SETTLED = 1e-9
_SHARE = 0.1  # of the range in which starts are drawn, by which second chances are moved
_FLAT = 0.5  # of -log L: what raises it by less over that share says nothing of where the minimum is


def start_range(scales: Scales) -> tuple[Tensor, Tensor]:
    """Return between which ends starts are drawn, (F,) each: the bounds, or within a factor of five of the guess."""
    guess, linear = scales.guess(), scales.base == 0.0
    near, far = torch.minimum(guess / _WIDE, guess * _WIDE), torch.maximum(guess / _WIDE, guess * _WIDE)
    logarithm = math.log(_WIDE) / torch.where(linear, 1.0, scales.base)
    near = torch.where(linear, torch.where(guess == 0.0, -1.0, near), guess - logarithm)
    far = torch.where(linear, torch.where(guess == 0.0, 1.0, far), guess + logarithm)
    low = torch.where(torch.isfinite(scales.low), scales.low, torch.minimum(near, scales.high))
    high = torch.where(torch.isfinite(scales.high), scales.high, torch.maximum(far, scales.low))
    return low, torch.maximum(high, low)


def start_points(scales: Scales, starts: int, seed: int) -> Tensor:
    """Return where searches begin, (S, F): the guess first, then Sobol points, scrambled."""
    if starts < 1:
        raise ConfigError(f"`starts` must be at least 1, got {starts}")
    guess = scales.guess()
    if starts == 1:
        return guess[None]
    from scipy.stats import qmc

    low, high = start_range(scales)
    power = math.ceil(math.log2(starts))
    unit = qmc.Sobol(len(guess), scramble=True, rng=np.random.default_rng(seed)).random_base2(power)[: starts - 1]
    points = low + torch.from_numpy(unit) * (high - low)
    return torch.cat([guess[None], points])


def promising(problem: Problem, points: Tensor, count: int) -> Tensor:
    """Return the first of some points and, of the others, those with the least losses, `count` in all.

    What only the spreads depend on is set to its best first: the size of an error cannot be guessed, and a wrong one
    weighs measurements wrongly.
    """
    alone = of_spreads_alone(problem.likelihood(points[:1]))
    solved = problem.simulator.run(problem.scales.theta(points))
    solved = replace(solved, dx=solved.x.new_zeros(*solved.x.shape, points.shape[1]))
    points = with_best_spreads(problem, solved, points, alone)
    if len(points) == count:
        return points
    loss = _compared(problem, solved, points).loss + problem.scales.priors(points)[0]
    best = 1 + loss[1:].argsort(stable=True)[: count - 1]
    return torch.cat([points[:1], points[best]])


def second_chance(problem: Problem, z: Tensor, generator: np.random.Generator) -> Tensor:
    """Return where searches that ended at z, (S, F), begin anew.

    What ended at a bound, or hardly matters where the search ended, is drawn anew: it may have run there only because
    of where the others were. The others are moved at random, by a tenth of the range in which starts are drawn.
    """
    scales = problem.scales
    low, high = start_range(scales)
    width = high - low
    rise = 0.5 * problem.settled(z).information.diagonal(dim1=1, dim2=2) * (_SHARE * width).square()
    free = ~(rise >= _FLAT) | (z <= scales.low) | (z >= scales.high)
    unit, normal = (torch.from_numpy(draw(tuple(z.shape))) for draw in (generator.random, generator.standard_normal))
    moved = torch.where(free, low + unit * width, z + _SHARE * width * normal)
    return moved.clamp(scales.low, scales.high)


def of_spreads_alone(likelihood: Likelihood) -> Tensor:
    """Return which unknowns act on spreads, and on nothing else, (F,)."""
    prediction = likelihood.prediction
    assert prediction.dvalues is not None
    assert prediction.dspreads is not None
    values, spreads = (part.nan_to_num().abs().amax((0, 1)) for part in (prediction.dvalues, prediction.dspreads))
    return (values == 0) & (spreads > 0)


def with_best_spreads(problem: Problem, solved: Rows, points: Tensor, alone: Tensor) -> Tensor:
    """Return points with the unknowns that only spreads depend on at their best, given all others; nothing is solved.

    Parameters
    ----------
    problem
        What is searched.
    solved
        The rows at the points; derivatives of the states by these unknowns are 0.
    points
        z, (S, F).
    alone
        Which unknowns these are, (F,).
    """
    scales = problem.scales
    for _ in range(_SETTLING if bool(alone.any()) else 0):
        likelihood = _compared(problem, solved, points)
        assert likelihood.gradient is not None
        assert likelihood.information is not None
        slopes = scales.slopes(points)
        _, gradient, curvature = scales.priors(points)
        gradient = likelihood.gradient * slopes + gradient
        curvature = likelihood.information.diagonal(dim1=1, dim2=2) * slopes.square() + curvature
        step = -gradient / curvature.clamp_min(1e-300)
        # An error that is far too small asks for steps that are far too long, one too large for steps too short.
        step = torch.where(alone, step.clamp(-scales.reach, scales.reach), 0.0).nan_to_num()
        before, points = points, (points + step).clamp(scales.low, scales.high)
        if float((points - before).abs().max()) < _SETTLED:
            break
    return points


def _compared(problem: Problem, solved: Rows, points: Tensor) -> Likelihood:
    """Return the likelihood of states that were solved, with constants of points that do not change these."""
    rows = problem.simulator.with_constants(solved, problem.scales.theta(points))
    return problem.facing.compare(predict(problem.estimation, rows, len(points)))
