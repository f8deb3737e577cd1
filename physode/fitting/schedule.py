"""The stages of a fit: how much of the data each looks at, and in how many pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass

from physode.fitting.config import FitConfig
from physode.fitting.data import FitData

__all__ = ["Stage", "stages"]

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
