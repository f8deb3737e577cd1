"""The crossings of conditions inside one step: seen at some of its points, then located."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physode.events.conditions import Conditions
from physode.events.firings import Crossing
from physode.events.inside import Inside
from physode.events.roots import refine

__all__ = ["POINTS", "Looks", "crossings_of"]

POINTS = (0.25, 0.5, 0.75, 1.0)
"""Places in a step where conditions are looked at."""
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Looks:
    """The conditions' values and signs at a step's start and at each of :data:`POINTS`, ``(events, groups)`` each."""

    values: Sequence[Tensor]
    signs: Sequence[Tensor]


def crossings_of(conditions: Conditions, step: Inside, looks: Looks, watched: Tensor) -> list[Crossing]:
    """Return the crossings that count, in the order of events.

    Parameters
    ----------
    step
        The step.
    looks
        What was seen of it.
    watched
        The groups whose crossings are asked for.
    """
    wanted = torch.tensor([[event.direction] for event in conditions.events], device=watched.device)
    changed = []
    for before, after in zip(looks.signs[:-1], looks.signs[1:], strict=True):
        counts = (wanted == 0) | (wanted == -before)
        changed.append(watched & counts & (before != 0) & (after != before))
    every = torch.stack(changed)
    places = [(index, j) for j, index in every.any(-1).nonzero().tolist()]
    return [
        Crossing(index, _located(conditions, step, looks, index, j, every[j, index])) for index, j in sorted(places)
    ]


def _located(conditions: Conditions, step: Inside, looks: Looks, index: int, j: int, wanted: Tensor) -> Tensor:
    """Return the times of one event's crossings between two points of a step, infinite for other groups."""
    at_low, at_high, before = looks.values[j][index], looks.values[j + 1][index], looks.signs[j][index]
    low = torch.full_like(at_low, 0.0 if j == 0 else POINTS[j - 1])
    high = torch.full_like(low, POINTS[j])
    width = 2 * _EPS * step.t.abs() / torch.where(step.h == 0, 1.0, step.h.abs())

    def value(theta: Tensor) -> Tensor:
        return conditions.value(index, *step.at(theta.reshape(step.t.shape))).reshape(-1)

    theta = refine(value, low, high, at_low, at_high, before, wanted, width.reshape(-1))
    return torch.where(wanted, step.time(theta.reshape(step.t.shape)).reshape(-1), torch.inf)
