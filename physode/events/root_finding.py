"""Where conditions cross zero inside of steps: roots in brackets, for many functions and many steps at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from physode.events.conditions import Conditions
from physode.events.jumps import Crossing, tie_of
from physode.solvers.clock import (
    Number,
    Verdict,
    absolute,
    anywhere,
    as_float,
    clamp,
    isfinite,
    logical_not,
    maximum,
    minimum,
    sign,
    where,
)
from physode.solvers.interpolation import StepInterpolant
from physode.solvers.method import Method, StepMethod
from physode.solvers.runge_kutta import Rhs, Step, interpolant

__all__ = [
    "POINTS",
    "AnewError",
    "Looks",
    "Taken",
    "Waiting",
    "chord_crossing",
    "crossings_of",
    "refine",
    "signs_around",
    "values_in",
]


_MOST_STEPS = 200
_EPS = torch.finfo(torch.float64).eps
POINTS = (0.25, 0.5, 0.75, 1.0)
"""Places in a step where conditions are looked at."""
_ELEMENTS = 2**15  # of the stages of the steps that wait
_MOST_WAITING = 128


def refine(
    value: Callable[..., Number],
    low: Number,
    high: Number,
    at_low: Number,
    at_high: Number,
    before: Number,
    wanted: Verdict,
    width: Number,
) -> Number:
    """Return where each function first leaves the sign it has at ``low``, by Chandrupatla's method.

    Inverse quadratic interpolation where the last three points are as on a monotonic curve, bisection elsewhere
    (Chandrupatla, Advances in Engineering Software 28 (1997) 145-149). Functions do not influence one another.

    Parameters
    ----------
    value
        The functions, ``(n,)`` arguments to ``(n,)`` values; or one function of a float, all else being floats, too.
    low, high
        The brackets, ``low < high``.
    at_low, at_high
        The values there; a value at ``low`` may be zero, or of the wrong sign by rounding.
    before
        The sign, -1 or 1, that counts as that at ``low``.
    wanted
        Which functions are to be looked at.
    width
        How narrow a bracket is narrow enough.

    Returns
    -------
    Number
        The upper end of the last brackets: there, the sign has changed.
    """
    a, b, c = high, low, high  # the newest point, the other end of the bracket, the point before
    at_a, at_b, at_c = at_high, before * absolute(at_low), at_high
    early = wanted & False  # whether the newest point has the sign at the lower end
    share: Number = 0.5
    for _ in range(_MOST_STEPS):
        least = maximum(width, 2 * _EPS * maximum(absolute(a), absolute(b)))
        going = wanted & (absolute(b - a) > least)
        if not anywhere(going):
            break
        tried = where(going, a + share * (b - a), a)
        at_tried = value(tried)
        now = sign(at_tried) == before
        same = now == early
        c, at_c = (where(going, where(same, *pair), old) for pair, old in (((a, b), c), ((at_a, at_b), at_c)))
        b, at_b = (where(going & logical_not(same), new, old) for new, old in ((a, b), (at_a, at_b)))
        a, at_a = (where(going, new, old) for new, old in ((tried, a), (at_tried, at_a)))
        early = cast("Verdict", where(going, now, early))
        share = _share((a, b, c), (at_a, at_b, at_c), least)
    return where(early, b, a)


def _share(points: tuple[Number, ...], values: tuple[Number, ...], least: Number) -> Number:
    """Return how far from the newest point to the other end of the bracket to go."""
    (a, b, c), (at_a, at_b, at_c) = points, values
    position, level = _over(a - b, c - b), _over(at_a - at_b, at_c - at_b)
    monotonic = (level * level < position) & ((1 - level) * (1 - level) < 1 - position)
    share = _over(at_a, at_b - at_a) * _over(at_c, at_b - at_c)
    share = share + _over(c - a, b - a) * _over(at_a, at_c - at_a) * _over(at_b, at_c - at_b)
    share = where(monotonic & isfinite(share), share, 0.5)
    margin = clamp(_over(0.5 * least, absolute(b - a)), high=0.5)
    return minimum(maximum(share, margin), 1 - margin)


def _over(a: Number, b: Number) -> Number:
    """Return a quotient, NaN or infinite where the divisor is zero."""
    return a / b if isinstance(b, Tensor) or b != 0.0 else math.nan


@dataclass(frozen=True)
class Looks:
    """The conditions' values and signs at a step's start and at each of :data:`POINTS`, ``(events, groups)`` each."""

    values: Sequence[Tensor]
    signs: Sequence[Tensor]


def values_in(conditions: Conditions, step: StepInterpolant) -> Tensor:
    """Return the conditions' values at the :data:`POINTS` of a step, ``(points, events, groups)``."""
    places = [*zip(*step.points(POINTS[:-1]), strict=True), (step.t_next, step.end)]
    return torch.stack([conditions.values(*place) for place in places])


def crossings_of(
    conditions: Conditions, step: StepInterpolant, looks: Looks, watched: Tensor, landed: Tensor
) -> list[Crossing]:
    """Return the crossings, in the order of events.

    Parameters
    ----------
    step
        The step.
    looks
        What was seen of it.
    watched
        The groups whose crossings are asked for.
    landed
        The events that groups have landed on at the step's end, ``(events, groups)``: these cross there, as far as
        rounding allows to tell.
    """
    if not bool(landed.any()) and all(bool((signs == looks.signs[0]).all()) for signs in looks.signs[1:]):
        return []
    wanted = torch.tensor([[event.direction] for event in conditions.events], device=watched.device)
    changed = torch.stack([
        watched & ~landed & (before != 0) & (after != before)
        for before, after in zip(looks.signs[:-1], looks.signs[1:], strict=True)
    ])  # fmt: skip
    crossings = []
    for index in range(len(conditions.events)):
        for j in changed[:, index].any(-1).nonzero().flatten().tolist():
            t = _located(conditions, step, looks, index, j, changed[j, index])
            crossings.append(Crossing(index, t, _counts(wanted[index], looks.signs[j][index])))
        if bool(landed[index].any()):
            t = torch.where(landed[index], step.t_next.reshape(-1), torch.inf)
            crossings.append(Crossing(index, t, _counts(wanted[index], looks.signs[0][index])))
    return crossings


def chord_crossing(conditions: Conditions, step: StepInterpolant, index: int, looks: Looks, wanted: Tensor) -> Tensor:
    """Return how far into a step, seen at its ends only, an event's conditions cross zero, one a group."""
    (at_low, at_high), before = (values[index] for values in looks.values), looks.signs[0][index]
    return _root(conditions, step, index, (0.0, 1.0), (at_low, at_high), before, wanted)


def signs_around(conditions: Conditions, step: StepInterpolant, stop: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs of the conditions just before and just behind the stops of groups, ``(events, groups)``."""
    size = torch.where(step.h == 0, 1.0, step.h)
    tie = 2 * tie_of(step.t, step.h) / size.abs()
    theta = torch.where(held.reshape(tie.shape), (stop.reshape(tie.shape) - step.t) / size, 0.0)
    sides = [(theta - tie).clamp(min=0.0), (theta + tie).clamp(max=1.0)]
    before, after = (torch.sign(conditions.values(*step.at(side))) for side in sides)
    return before, after


def _counts(wanted: Tensor, before: Tensor) -> Tensor:
    """Whether crossings from a sign are in the direction that is asked for."""
    return (wanted == 0) | (wanted == -before)


def _located(conditions: Conditions, step: StepInterpolant, looks: Looks, index: int, j: int, wanted: Tensor) -> Tensor:
    """Return the times of one event's crossings between two points of a step, infinite for other groups."""
    ends = (0.0 if j == 0 else POINTS[j - 1], POINTS[j])
    values = (looks.values[j][index], looks.values[j + 1][index])
    theta = _root(conditions, step, index, ends, values, looks.signs[j][index], wanted)
    return torch.where(wanted, step.time(theta.reshape(step.t.shape)).reshape(-1), torch.inf)


def _root(
    conditions: Conditions,
    step: StepInterpolant,
    index: int,
    ends: tuple[float, float],
    values: tuple[Tensor, Tensor],
    before: Tensor,
    wanted: Tensor,
) -> Tensor:
    if not step.t.ndim:  # as floats, which cost a tenth

        def one(theta: float) -> float:
            return float(conditions.value(index, *step.at(torch.full_like(step.t, theta))))

        width = 2 * _EPS * abs(float(step.t)) / (abs(float(step.h)) or 1.0)
        at_low, at_high = (float(value) for value in values)
        theta_root = refine(one, *ends, at_low, at_high, float(before), bool(wanted), width)
        return torch.full_like(values[0], as_float(theta_root))
    low, high = (torch.full_like(values[0], end) for end in ends)
    widths = 2 * _EPS * step.t.abs() / torch.where(step.h == 0, 1.0, step.h.abs())

    def value(theta: Tensor) -> Tensor:
        return conditions.value(index, *step.at(theta.reshape(step.t.shape))).reshape(-1)

    theta = cast("Tensor", refine(value, low, high, *values, before, wanted, widths.reshape(-1)))
    return theta.detach()  # without the tangents of forward mode: the event's derivatives are put in afterwards


class AnewError(Exception):
    """The piece is to be solved anew: it went on where it should have stopped, or not on the sides that it lies on."""


class Taken(NamedTuple):
    """An accepted step of a shared clock."""

    t: float
    h: float
    t_next: float
    y: Tensor
    step: Step
    k_end: Tensor | None


class Waiting:
    """Accepted steps of a shared clock, to be looked into together by mapping the conditions over them."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._steps: list[Taken] = []
        self._most: int | None = None

    def takes(self, tableau: Method, y: Tensor) -> bool:
        """Whether steps of a method can wait: not where interpolants need evaluations of their own."""
        if self._most is None:
            self._most = (
                0 if tableau.c_extra else min(_MOST_WAITING, _ELEMENTS // max(1, y.numel() * (tableau.stages + 1)))
            )
        return self._most > 1

    def add(self, taken: Taken) -> bool:
        """Let a step wait; return whether these are enough."""
        self._steps.append(taken)
        return len(self._steps) >= (self._most or 0)

    def __len__(self) -> int:
        return len(self._steps)

    def looked(self, rhs: Rhs, tableau: Method) -> tuple[list[Taken], Tensor, Tensor]:
        """Return the steps, none of which waits any more, their interpolants, and the conditions' values.

        ``(m, steps, *state)`` and ``(steps, points, events)``.

        Raises
        ------
        AnewError
            If the conditions cannot be mapped over steps.
        """
        steps, self._steps = self._steps, []
        y, y_end = torch.stack([one.y for one in steps]), torch.stack([one.step.y for one in steps])
        ks = tuple(torch.stack(parts) for parts in zip(*(one.step.ks for one in steps), strict=True))
        clock = torch.tensor([one[:3] for one in steps], dtype=torch.float64, device=y.device)
        t, h, t_next = clock.unbind(1)
        step = Step(y_end, ks)
        own = tableau.coefficients(y, step) if isinstance(tableau, StepMethod) else None
        if own is None:
            dense = interpolant(rhs, tableau, t, y, h, step, torch.stack(_slopes(rhs, tableau, steps)))
        else:
            dense = torch.stack(own)
        times, states = StepInterpolant(t, h, t_next, y, dense, y_end).points(POINTS[:-1])
        times = torch.cat([times, t_next[None]]).movedim(0, 1)
        states = torch.cat([states, y_end[None]]).movedim(0, 1)
        return (
            steps,
            dense,
            self._values(times.reshape(-1), states.reshape(-1, *y.shape[1:])).reshape(len(steps), len(POINTS), -1),
        )

    def _values(self, t: Tensor, y: Tensor) -> Tensor:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of operations that are slow to map
                return torch.func.vmap(self._conditions.values)(t, y)
        except Exception as error:  # whatever a condition raises that looks at values, or at what it is given
            raise AnewError from error


def _slopes(rhs: Rhs, tableau: Method, steps: Sequence[Taken]) -> list[Tensor]:
    """Return the derivatives at steps' ends, which the next step often starts with."""
    slopes = []
    for one, after in zip(steps, [*steps[1:], None], strict=True):
        slope = one.step.end if one.k_end is None else one.k_end
        if slope is None and after is not None and not isinstance(tableau, StepMethod) and after.t == one.t_next:
            slope = after.step.ks[0]
        slopes.append(rhs(one.t_next, one.step.y) if slope is None else slope)
    return slopes
