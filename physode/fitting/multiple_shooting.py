"""The stages of a fit: growing spans, or multiple shooting (Bock 1981).

Each stage looks at the data up to some time, in one piece or cut into segments that are solved from states of their
own and pulled together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from physode.fitting.config import FitConfig
from physode.fitting.data import FitData

_FEWEST_INTERVALS = 4  # of a segment


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    number
        From 1.
    times
        How many of the times, from the first, it looks at.
    segments
        Pieces that each trajectory is cut into.
    last
        Whether it is the last: all of the training span in one piece.
    inserted
        Whether it was put in before the one of this number, which could not be solved.
    """

    number: int
    times: int
    segments: int = 1
    last: bool = True
    inserted: bool = False


def stages(config: FitConfig, data: FitData, *, unknowns: int) -> tuple[Stage, ...]:
    """Return the stages that the settings ask for, as far as the data allow.

    Growing spans hold half the times of the next, but never fewer values than there are `unknowns`: short orbits are
    nearly straight, and determine little, but what they determine they determine wherever the search begins. Segments
    (multiple shooting: Bock 1981) are half as many from stage to stage.
    """
    assert config.stages is not None
    count, steps = config.stages, data.steps
    if config.schedule in ("growing", "matching"):
        values = data.training[:steps].reshape(steps, -1).sum(1).cumsum(0)
        enough = int((values < unknowns + 1).sum()) + 1
        spans = [1 + math.ceil((steps - 1) / 2 ** (count - 1 - k)) for k in range(count)]
        lengths = sorted({min(max(span, enough, 3), steps) for span in spans})
        shapes = [(length, 1) for length in lengths]
    elif config.schedule == "shooting":
        most = max(1, (steps - 1) // _FEWEST_INTERVALS)
        pieces = sorted({min(2 ** (count - 1 - k), most) for k in range(count)}, reverse=True)
        shapes = [(steps, piece) for piece in pieces]
    else:
        shapes = [(steps, 1)]
    return tuple(
        Stage(number, times, segments, last=number == len(shapes))
        for number, (times, segments) in enumerate(shapes, start=1)
    )


@dataclass(frozen=True)
class Link:
    """Where one segment ends, at an index of its times, and the next of the same trajectory begins."""

    before: int
    index: int
    after: int


@dataclass(frozen=True)
class Segments:
    """Pieces of trajectories, R in all; one piece of one trajectory has no batch axis.

    Attributes
    ----------
    t
        Times, (L,) or (L, R).
    y, counted, weights
        Observed values, which of them count, and one over their standard deviations, (L, R, D) or (L, D); weights are
        None where no standard deviations are known.
    trajectories, starts
        Of which trajectory each piece is, and at which of its times it begins.
    links
        Pieces that go on where another ends.
    """

    t: Tensor
    y: Tensor
    counted: Tensor
    weights: Tensor | None
    trajectories: tuple[int, ...]
    starts: tuple[int, ...]
    links: tuple[Link, ...] = ()

    @property
    def batched(self) -> bool:
        """Whether there are several pieces."""
        return self.y.ndim == 3


def cut(data: FitData, stage: Stage) -> Segments:
    """Cut trajectories into a stage's segments, of equal numbers of times; a value counts in one of them only."""
    times, n = stage.times, data.y.shape[1] if data.batched else 1
    length = math.ceil((times - 1) / stage.segments)
    places = sorted({min(j * length, times - 1 - length) for j in range(stage.segments)})
    if len(places) == 1:
        weights = None if data.weights is None else data.weights[:times]
        whole = (data.t[:times], data.y[:times], data.training[:times], weights)
        return Segments(*whole, trajectories=tuple(range(n)), starts=(0,) * n)
    own = [(i, start) for i in range(n) for start in places]
    rows = torch.tensor([start for _, start in own], device=data.t.device) + torch.arange(
        length + 1, device=data.t.device
    ).unsqueeze(-1)
    which = torch.tensor([i for i, _ in own], device=data.t.device).expand_as(rows)

    def taken(values: Tensor, *, shared: bool) -> Tensor:
        return values[rows] if shared or not data.batched else values[rows, which]

    ends = torch.tensor([*places[1:], times], device=data.t.device).repeat(n)
    first = torch.tensor([0, *places[1:]], device=data.t.device).repeat(n)
    # The time at which a segment begins belongs to the one before; the first of all to the first.
    mine = (rows <= ends) & ((rows > first) | (first == 0))
    return Segments(
        t=taken(data.t, shared=data.t.ndim == 1),
        y=taken(data.y, shared=False),
        counted=taken(data.training, shared=False) & mine.unsqueeze(-1),
        weights=None if data.weights is None else taken(data.weights, shared=False),
        trajectories=tuple(i for i, _ in own),
        starts=tuple(start for _, start in own),
        links=tuple(
            Link(row - 1, own[row][1] - own[row - 1][1], row)
            for row in range(1, len(own))
            if own[row][0] == own[row - 1][0]
        ),
    )
