r"""Fisher scoring with Levenberg and Marquardt's damping, of many starts at once.

Of a loss with gradient g and expected information I, each iteration moves the free unknowns by

.. math:: \Delta z = -(I + \lambda \operatorname{diag} I)^{-1} g ,

or, where that leads out of their bounds, to the least value of the damped quadratic model inside of these
(:mod:`physode.estimation.quadratic`). A step is taken where the loss falls; the damping follows the ratio of the fall
to what the quadratic model foretells (Nielsen 1999; Madsen, Nielsen & Tingleff, *Methods for Non-Linear Least Squares
Problems*, 2004). For normal measurements of known or of one unknown spread this is Levenberg-Marquardt. All starts are
solved as one batch; each has a damping and an end of its own. A start is given up where another is lower by a hundred
times the fall that its own model foretells, or by twenty times what its last ten iterations have gained.

Unknowns that are searched for as logarithms move by a decade at most, and are damped as if the data said at least a
thousandth as much of each as of the one that they say most of: what hardly matters where a search begins does not run
to its bounds before it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.estimation.quadratic import Quadratic, pushed
from physode.fit_status import CONVERGED, NO_PROGRESS

DAMPING = 1e-3
"""Of a search that may begin far from any minimum."""
_LEAST, _MOST = 1e-14, 1e14
ARRIVED = 1e-10
"""Of g I^-1 g: squared standard errors between a point and where its quadratic model has its minimum."""
_FLAT, _NOISE = 1e-12, 1e-9  # relative falls of the loss: of a good step, and of one that fails
MET = 1e-2
"""Of the loss, within which searches have met."""
_FLOOR = 1e-3
_PATIENCE = 10  # iterations in which a loss has to fall
_SLOW, _CREEPING = 3, 20.0  # times patience, after which one that lies this many of these falls above another is left
_HOPELESS = 100.0  # times what its model foretells, that a search may lie above another
_LINES = (
    "converged",
    "all iterations used up",
    "no step lowers the loss any more",
    "the solve fails at the start",
    "given up: another start leads lower",
)

UNSOLVED = _LINES[3]
"""The reason of a start where nothing could be solved."""

NAMED = {
    _LINES[0]: f"{CONVERGED}: the minimum is as near as the tolerances tell",
    _LINES[1]: "all iterations used up before it converged; raise `iterations` (--epochs)",
    **{line: f"{NO_PROGRESS}: {line}" for line in _LINES[2:]},
}
"""How a search ended, with its status before the colon (:mod:`physode.fit_status`), by its reason."""


@dataclass(frozen=True)
class Point:
    """A loss with its derivatives at S points: (S,), (S, F) and (S, F, F).

    `z`, if given, are the points, (S, F): others than were asked for, where the loss is lower for next to nothing.
    """

    loss: Tensor
    gradient: Tensor
    information: Tensor
    z: Tensor | None = None


Objective = Callable[[Tensor], Point]
"""From z, (S, F), to the loss there; infinite where it cannot be computed."""
Objectives = Callable[[Tensor, Tensor], Point]
"""The same where each start has a loss of its own: from z and the numbers of its starts, (S,)."""


@dataclass(frozen=True)
class Minima:
    """Where S searches ended.

    Attributes
    ----------
    z
        (S, F).
    loss
        (S,).
    iterations
        Evaluations of each.
    reasons
        In words.
    """

    z: Tensor
    loss: Tensor
    iterations: tuple[int, ...]
    reasons: tuple[str, ...]

    @property
    def best(self) -> int:
        """Which has the least loss: the first of those that met there."""
        return int((self.loss - self.loss.min() < MET).nonzero()[0])

    @property
    def met(self) -> int:
        """How many ended at the least loss."""
        return int((self.loss - self.loss.min() < MET).sum())

    @property
    def converged(self) -> tuple[bool, ...]:
        """Which have arrived."""
        return tuple(reason == _LINES[0] for reason in self.reasons)


def minimise(
    objective: Objective,
    z: Tensor,
    low: Tensor,
    high: Tensor,
    *,
    reach: Tensor | None = None,
    iterations: int = 200,
    arrived: float = ARRIVED,
    damping: float = DAMPING,
    on_iteration: Callable[[int, Tensor], object] | None = None,
) -> Minima:
    r"""Minimise from S starts.

    Parameters
    ----------
    objective
        Called with those starts that still go on.
    z
        Where they begin, (S, F).
    low, high
        Bounds, (F,), or of each start, (S, F): where both are the same, an unknown is held there.
    reach
        Longest steps, (F,), infinite for those that may go anywhere.
    iterations
        Most evaluations of each start.
    arrived
        A start ends where :math:`g^\top I^{-1} g` is below: the squared distance to the minimum in standard errors; or
        where ten iterations have lowered its loss by less.
    damping
        That a search begins with: less where it begins near a minimum, for a damped search creeps along what the data
        hardly determine.
    on_iteration
        Called after each with its number and the losses so far.

    Raises
    ------
    SolveError
        If the loss is finite at none of the starts.
    """
    return minimise_each(
        lambda z, _: objective(z),
        z,
        low,
        high,
        reach=reach,
        iterations=iterations,
        arrived=arrived,
        damping=damping,
        rival=torch.inf,
        on_iteration=on_iteration,
    )


def minimise_each(
    objectives: Objectives,
    z: Tensor,
    low: Tensor,
    high: Tensor,
    *,
    reach: Tensor | None = None,
    iterations: int = 200,
    arrived: float = ARRIVED,
    damping: float = DAMPING,
    rival: float | None = None,
    on_iteration: Callable[[int, Tensor], object] | None = None,
) -> Minima:
    """Minimise S losses, each from a start of its own; arguments and errors as of :func:`minimise`.

    None is given up because of another, unless losses are of one kind: then `rival` is a loss that another has reached,
    or infinite.
    """
    low, high = low.expand_as(z), high.expand_as(z)
    z = z.clamp(low, high)
    reach = torch.full_like(z[0], torch.inf) if reach is None else reach
    best = objectives(z, torch.arange(len(z)))
    z = z if best.z is None else best.z
    if not bool(torch.isfinite(best.loss).any()):
        raise SolveError("the solve fails, or predictions are not finite, at the initial guess; start closer")
    starts = len(z)
    damped, growth = z.new_full((starts,), damping), z.new_full((starts,), 2.0)
    codes = [3 if not ok else 1 for ok in torch.isfinite(best.loss).tolist()]
    spent = [1] * starts
    going, before = torch.isfinite(best.loss), torch.full_like(best.loss, torch.inf)
    for count in range(1, iterations):
        held = pushed(z, best.gradient, low, high)
        decrement = Quadratic(best.gradient, best.information).decrement(held)
        near = going & (decrement < arrived)
        least = torch.inf if rival is None else best.loss.min().clamp_max(rival)
        hopeless = going & (best.loss - _HOPELESS * (decrement + 0.1) > least)
        if count % _PATIENCE == 0:
            fall = before - best.loss
            near = near | (going & (fall < arrived))
            if count >= _SLOW * _PATIENCE:
                hopeless = hopeless | (going & (best.loss - _CREEPING * fall > least))
            before = best.loss.clone()
        hopeless = hopeless & ~near
        for i, code in [(i, 0) for i in near.nonzero()] + [(i, 4) for i in hopeless.nonzero()]:
            codes[int(i)] = code
        going = going & ~near & ~hopeless
        rows = going.nonzero().flatten()
        if not len(rows):
            break
        step, foretold = _step(best, z, damped, (low, high), reach, rows)
        there = torch.minimum(torch.maximum(z[rows] + step, low[rows]), high[rows])
        trial = objectives(there, rows)
        there = there if trial.z is None else trial.z
        fall = best.loss[rows] - trial.loss
        better = torch.isfinite(trial.loss) & (fall > 0)
        ratio = torch.where(better, fall / foretold.clamp_min(1e-300), -1.0)
        size = 1.0 + best.loss[rows].abs()
        # A step that was to gain next to nothing, and gains nothing: rounding, and the solver's tolerance, are reached.
        flat = torch.where(better, (fall <= _FLAT * size) & (ratio > 0.25), foretold <= _NOISE * size)
        damped, growth = damped.clone(), growth.clone()
        shrink = (1.0 - (2.0 * ratio.clamp(-1, 2) - 1.0) ** 3).clamp_min(1.0 / 3.0)
        damped[rows] = torch.where(better, damped[rows] * shrink, damped[rows] * growth[rows]).clamp(_LEAST, _MOST)
        growth[rows] = torch.where(better, 2.0, growth[rows] * 2.0)
        z, best = _moved(z, best, rows[better], there[better], trial, better)
        for i in rows.tolist():
            spent[i] += 1
        for i in rows[flat].tolist():
            codes[i] = 0
        stuck = ~better & (damped[rows] >= _MOST)
        for i in rows[stuck].tolist():
            codes[i] = 2
        going = going.clone()
        going[rows[flat | stuck]] = False
        if on_iteration is not None:
            on_iteration(count, best.loss)
    return Minima(z, best.loss, tuple(spent), tuple(_LINES[code] for code in codes))


def _step(
    point: Point, z: Tensor, damping: Tensor, ends: tuple[Tensor, Tensor], reach: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the steps of some starts, inside their bounds, and the fall that the quadratic model foretells."""
    model = Quadratic(point.gradient[rows], point.information[rows])
    limited = torch.isfinite(reach)
    unit = torch.where(limited, reach, 0.0)
    largest = (model.information.diagonal(dim1=1, dim2=2) * unit.square()).amax(1, keepdim=True)
    floor = torch.where(limited, _FLOOR * largest / unit.square().clamp_min(1e-300), 0.0)
    low, high = (end[rows] - z[rows] for end in ends)
    return model.step(damping[rows], floor, torch.maximum(low, -reach), torch.minimum(high, reach))


def _moved(z: Tensor, best: Point, rows: Tensor, there: Tensor, trial: Point, better: Tensor) -> tuple[Tensor, Point]:
    return z.index_copy(0, rows, there), Point(
        best.loss.index_copy(0, rows, trial.loss[better]),
        best.gradient.index_copy(0, rows, trial.gradient[better]),
        best.information.index_copy(0, rows, trial.information[better]),
    )
