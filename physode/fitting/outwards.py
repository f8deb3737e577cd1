"""From a fitted constant outwards to one side: at which values it is held, and when that is far enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from physode.errors import SolveError
from physode.fitting.refits import Refit, Refits
from physode.typing import Progress

__all__ = ["Side", "outwards"]

_WIDENINGS, _WIDER = 5, 3.0  # how often the range grows, and by which factor
_LONGEST = 0.3  # of the constant itself: the first step, where the standard error asks for more or is unknown


@dataclass(frozen=True)
class Side:
    """The refits on one side, from the fitted value outwards, and why they end where they do not end by themselves."""

    refits: tuple[Refit, ...]
    stopped: str | None = None


def outwards(
    refits: Refits,
    *,
    sign: int,
    error: float | None,
    width: float,
    half: int,
    reaches: Callable[[float], bool],
    progress: Progress | None = None,
) -> Side:
    """Hold a constant at values farther and farther from the fitted one.

    These are at equal distances up to `width` standard errors, then at growing ones until a loss `reaches` the
    threshold. First steps are shorter than the constant itself: errors that are larger than it tell little.
    Constants kept above 0 are moved by factors.

    Parameters
    ----------
    refits
        The refits; they begin at the minimum.
    sign
        1 for larger values, -1 for smaller ones.
    error
        Standard error, where there is one.
    width, half
        How many standard errors to go at first, and in how many steps.
    reaches
        Whether a loss lies at the threshold or beyond.
    progress
        Called with the fraction of the first steps that are done.
    """
    begin = refits.start()
    fitted, found = begin.value, [begin]
    bound = refits.bounds[sign > 0]
    for count, distance in enumerate(_distances(_step(fitted, error, width / half, refits.positive), half)):
        if count >= half and any(reaches(each.loss) for each in found):
            break
        value = fitted * math.exp(sign * distance) if refits.positive else fitted + sign * distance
        at_bound = sign * value >= sign * bound
        value = bound if at_bound else value
        if value != fitted:
            try:
                found.append(refits.at(value, near=found[:-3:-1]))
            except SolveError as error_there:
                return Side(tuple(found[1:]), f"no fit with {refits.name} = {value:.6g}: {error_there}")
        if progress is not None:
            progress(min((count + 1) / half, 1.0))
        if at_bound:
            return Side(tuple(found[1:]), f"{refits.name} ends at its bound {bound:.6g}")
    return Side(tuple(found[1:]))


def _step(fitted: float, error: float | None, errors: float, positive: bool) -> float:
    """Return the first step, for constants above 0 that of the logarithm."""
    size = 1.0 if positive else abs(fitted)
    wanted = math.inf if error is None else error * errors / (fitted if positive else 1.0)
    step = min(wanted, _LONGEST * size or math.inf)
    return step if 0 < step < math.inf else _LONGEST


def _distances(step: float, half: int) -> Iterator[float]:
    """Yield distances: `half` equal steps, then half as many, at least 3, in growing steps for each widening."""
    yield from (step * count for count in range(1, half + 1))
    each = max(half // 2, 3)
    yield from (step * half * _WIDER ** (count / each) for count in range(1, _WIDENINGS * each + 1))
