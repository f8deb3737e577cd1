"""The crossings of conditions inside one step: seen at some of its points, then located."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physode.events.conditions import Conditions
from physode.events.firings import Crossing, tie_of
from physode.events.inside import Inside
from physode.events.roots import refine

__all__ = ["POINTS", "Looks", "chord_crossing", "crossings_of", "signs_around"]

POINTS = (0.25, 0.5, 0.75, 1.0)
"""Places in a step where conditions are looked at."""
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Looks:
    """The conditions' values and signs at a step's start and at each of :data:`POINTS`, ``(events, groups)`` each."""

    values: Sequence[Tensor]
    signs: Sequence[Tensor]


def crossings_of(conditions: Conditions, step: Inside, looks: Looks, watched: Tensor, landed: Tensor) -> list[Crossing]:
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
    found = []
    for index in range(len(conditions.events)):
        for j in changed[:, index].any(-1).nonzero().flatten().tolist():
            t = _located(conditions, step, looks, index, j, changed[j, index])
            found.append(Crossing(index, t, _counts(wanted[index], looks.signs[j][index])))
        if bool(landed[index].any()):
            t = torch.where(landed[index], step.t_next.reshape(-1), torch.inf)
            found.append(Crossing(index, t, _counts(wanted[index], looks.signs[0][index])))
    return found


def chord_crossing(conditions: Conditions, step: Inside, index: int, looks: Looks, wanted: Tensor) -> Tensor:
    """Return how far into a step, seen at its ends only, an event's conditions cross zero, one a group."""
    (at_low, at_high), before = (values[index] for values in looks.values), looks.signs[0][index]
    return _root(conditions, step, index, (0.0, 1.0), (at_low, at_high), before, wanted)


def signs_around(conditions: Conditions, step: Inside, stop: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
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


def _located(conditions: Conditions, step: Inside, looks: Looks, index: int, j: int, wanted: Tensor) -> Tensor:
    """Return the times of one event's crossings between two points of a step, infinite for other groups."""
    ends = (0.0 if j == 0 else POINTS[j - 1], POINTS[j])
    values = (looks.values[j][index], looks.values[j + 1][index])
    theta = _root(conditions, step, index, ends, values, looks.signs[j][index], wanted)
    return torch.where(wanted, step.time(theta.reshape(step.t.shape)).reshape(-1), torch.inf)


def _root(
    conditions: Conditions,
    step: Inside,
    index: int,
    ends: tuple[float, float],
    values: tuple[Tensor, Tensor],
    before: Tensor,
    wanted: Tensor,
) -> Tensor:
    if not step.t.ndim:  # as floats, which cost a tenth

        def one(theta: float) -> float:
            return float(conditions.value(index, *step.at(torch.full_like(step.t, theta))))

        size = abs(float(step.h)) or 1.0
        given = (
            *ends,
            *(float(value) for value in values),
            float(before),
            bool(wanted),
            2 * _EPS * abs(float(step.t)) / size,
        )
        return torch.full_like(values[0], refine(one, *given))
    low, high = (torch.full_like(values[0], end) for end in ends)
    width = 2 * _EPS * step.t.abs() / torch.where(step.h == 0, 1.0, step.h.abs())

    def value(theta: Tensor) -> Tensor:
        return conditions.value(index, *step.at(theta.reshape(step.t.shape))).reshape(-1)

    found: Tensor = refine(value, low, high, *values, before, wanted, width.reshape(-1))
    return found
