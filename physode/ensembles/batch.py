"""A batch of fits carried out: growing first parts of the data, then all of it; and what came of each member."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physode import fit_status
from physode.ensembles.least_squares import CONVERGED, EXHAUSTED, STUCK, Box, Normal, Searched, minimise
from physode.ensembles.members import Members, Part
from physode.ensembles.normal_equations import Cholesky, pairwise_sum
from physode.ensembles.problem import Fits, Posed
from physode.estimation.modes import OPEN

_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of a member's times, where it begins
_LOOSE, _FEW = 1e-2, 20
_ASTRAY = 100.0  # times the data's variance
_EXPLAINS = 0.5  # share of it
_WIDE = 5.0  # factor of the guess, within which further starts are drawn

UNSOLVED, REFUSED, OPEN_ENDED = "unsolved", "refused", "not determined"
"""Of a member: nothing could be solved at its start; its data cannot be fitted; they leave some constant open."""


@dataclass(frozen=True)
class Outcome:
    """What came of one fit.

    Attributes
    ----------
    status
        ``"converged"``, ``"max epochs"``, ``"no progress"``, ``"diverged"``, ``"not determined"``, ``"unsolved"`` or
        ``"refused"``.
    reason
        More of it, where it has not converged.
    values, errors
        What was fitted, and standard errors, (P,); NaN where there is none.
    loss
        -2 log L but for a constant: the sum of squares in standard deviations where these are known.
    explained
        Share of the data's variance about the columns' means: 1 less that of the residuals.
    n, evaluations
        How many values were fitted, and solves it took, from all starts.
    """

    status: str
    reason: str
    values: tuple[float, ...]
    errors: tuple[float, ...]
    loss: float
    explained: float
    n: int
    evaluations: int

    @property
    def satisfies(self) -> bool:
        """Whether no other start is needed: it has converged, and explains half of the data's variance."""
        return self.status == fit_status.CONVERGED and self.explained >= _EXPLAINS

    def better_than(self, other: Outcome) -> bool:
        """Whether it is to be preferred to what came of another start: it has a smaller loss, or the only one."""
        return self.loss < other.loss or (math.isfinite(self.loss) and not math.isfinite(other.loss))


def fit_rows(
    posed: Posed,
    members: Members,
    values: NDArray[np.float64],
    *,
    growing: bool = True,
    starts: int = 1,
    seed: int = 0,
    evaluations: int = 200,
    progress: Callable[[float], object] | None = None,
) -> list[Outcome]:
    """Fit some members, each row on its own.

    Those that do not converge, or explain less than half of the data's variance, are begun anew at other points, the
    same for all, and the best is kept.

    Parameters
    ----------
    posed, members
        What to fit to what.
    values
        Where each begins, with the values that are kept: (N, K + D).
    growing
        Whether a sixteenth of the times of a member is fitted first, and twice as much each time.
    starts, seed
        From how many points at most, and the seed of all but the first.
    evaluations
        Most of a member with all its data, from one start.
    progress
        Told the finished share of the first start.
    """
    reasons = [_refusal(posed, members, i, row) for i, row in enumerate(values)]
    rows = [i for i, reason in enumerate(reasons) if not reason]
    nothing = (math.nan,) * len(posed.free)
    found = [
        Outcome(REFUSED, reason, nothing, nothing, math.nan, math.nan, int(np.isfinite(members.y[i]).sum()), 0)
        for i, reason in enumerate(reasons)
    ]
    for numbers in ([0], list(range(1, starts))):
        if not rows or not numbers:
            break
        begun = np.concatenate([drawn(posed, values[rows], seed, k) if k else values[rows] for k in numbers])
        with torch.no_grad():
            fits = _Batch.of(posed, members.taken(rows * len(numbers)), torch.from_numpy(begun))
            later = fits.fitted(growing, evaluations, None if numbers[0] else progress)
        for i, outcome in zip(rows * len(numbers), later, strict=True):
            kept = outcome if found[i].status == REFUSED or outcome.better_than(found[i]) else found[i]
            found[i] = replace(kept, evaluations=found[i].evaluations + outcome.evaluations)
        rows = [i for i in rows if not found[i].satisfies]
    return found


def drawn(posed: Posed, values: NDArray[np.float64], seed: int, number: int) -> NDArray[np.float64]:
    """Return values (N, K + D) with the constants that are fitted drawn anew, by the same factors for all members.

    They are drawn between their bounds or, without, within a factor of five of the guess, which keeps its sign; within
    1 of a guess of 0.
    """
    unit = np.random.default_rng([seed, number]).random(posed.constants)
    begun = values.copy()
    for place in posed.free:
        if place >= posed.constants:
            continue
        unknown, guess, share = posed.unknowns[place], values[:, place], unit[place]
        factor = _WIDE ** (2.0 * share - 1.0)
        if math.isfinite(unknown.low) and math.isfinite(unknown.high):
            low, high = unknown.low, unknown.high
            begun[:, place] = low * (high / low) ** share if low > 0 else low + (high - low) * share
        else:
            begun[:, place] = np.where(guess == 0.0, 2.0 * share - 1.0, guess * factor)
    return begun


def _refusal(posed: Posed, members: Members, i: int, values: NDArray[np.float64]) -> str:
    """Return why a member cannot be fitted; nothing where it can."""
    count, free = int(np.isfinite(members.y[i]).sum()), len(posed.free)
    if members.lengths[i] < 2:
        return "it has fewer than two times; leave it out, or add data"
    if count < free:
        return f"its {count} values do not determine {free} unknowns; fix some, or add data"
    if not np.isfinite(values).all():
        name = posed.values[int(np.flatnonzero(~np.isfinite(values))[0])]
        return f"{name} is missing where it begins; fit the initial state too (`start` 'fit')"
    for place in posed.free:
        unknown = posed.unknowns[place]
        if unknown.scale == "log" and values[place] <= 0:
            return (
                f"the guess of {unknown.name} is {values[place]:g}, and must be above 0 to be searched as a logarithm"
            )
    return ""


@dataclass(frozen=True)
class _Batch:
    """Members that can be fitted, and where they begin: (S, P) as searched for."""

    posed: Posed
    members: Members
    values: Tensor
    start: Tensor
    box: Box

    @staticmethod
    def of(posed: Posed, members: Members, values: Tensor) -> _Batch:
        start = posed.searched(values[:, list(posed.free)])
        return _Batch(posed, members, values, start, posed.box(len(values)))

    def part(self, rows: Sequence[int], counts: Sequence[int]) -> Fits:
        """Return the fits of some members' first times."""
        own = Part.of(self.members, rows, counts)
        known = torch.from_numpy(np.isfinite(self.members.sigma[list(rows)]).any(1).T.copy())
        return Fits(self.posed, own, self.values[list(rows)], known)

    def fitted(self, growing: bool, evaluations: int, progress: Callable[[float], object] | None) -> list[Outcome]:
        """Fit, and return what came of each."""
        lengths = self.members.lengths.tolist()
        everyone = list(range(len(lengths)))
        z, spent = self.start, torch.zeros(len(lengths), dtype=torch.int64)
        stages = _SHARES if growing else ()
        for number, share in enumerate(stages):
            counts = [self._count(i, share) for i in everyone]
            rows = [i for i in everyone if 2 <= counts[i] < lengths[i]]
            if rows:
                found = self._search(self.part(rows, [counts[i] for i in rows]), z, rows, _LOOSE, _FEW, None)
                solved = torch.isfinite(found.normal.loss)
                at = torch.tensor(rows)
                z = z.index_copy(0, at, torch.where(solved.unsqueeze(1), found.z, z[at]))
                spent = spent.index_add(0, at, found.evaluations)
            if progress is not None:
                progress((number + 1) / (2 * len(stages)))
        fits = self.part(everyone, lengths)
        if growing:
            z, taken = self._better_start(fits, z)
            spent = spent + taken
        told = None if progress is None else lambda share: progress(0.5 * share + 0.5 if growing else share)
        found = self._search(fits, z, everyone, 1e-12, evaluations, told)
        return self._outcomes(fits, found, spent + found.evaluations)

    def _count(self, i: int, share: float) -> int:
        """Return how many of a member's times a stage looks at; 0 where they determine too little."""
        count = 1 + math.ceil(share * (int(self.members.lengths[i]) - 1))
        enough = np.isfinite(self.members.y[i, :count]).sum() > 2 * len(self.posed.free)
        return count if enough else 0

    def _search(
        self, fits: Fits, z: Tensor, rows: list[int], arrived: float, most: int, told: Callable[[float], object] | None
    ) -> Searched:
        """Search for some members' unknowns from z."""
        values = fits.part.counted.sum((0, 1)).double()
        at = torch.tensor(rows)
        return minimise(fits.loss, z[at], self.box.taken(at), values, arrived=arrived, evaluations=most, progress=told)

    def _better_start(self, fits: Fits, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the guesses where these fit all data better than where shorter spans have led, and solves taken."""
        moved = (z != self.start).any(1).nonzero().flatten()
        taken = torch.zeros(len(z), dtype=torch.int64)
        if not len(moved):
            return z, taken
        here, there = (fits.loss(own[moved], moved).loss for own in (self.start, z))
        kept = torch.where((here < there).unsqueeze(1), self.start[moved], z[moved])
        taken[moved] = 2
        return z.index_copy(0, moved, kept), taken

    def _outcomes(self, fits: Fits, found: Searched, spent: Tensor) -> list[Outcome]:
        posed, count = self.posed, len(found.z)
        everyone = torch.arange(count)
        final = fits.loss(found.z, everyone, corrected=True)
        squares, spread = pairwise_sum(fits.squares(found.z).T), pairwise_sum(_centred(fits.part))
        physical = posed.physical(found.z)
        errors, open_ones = _errors(final, found.z, self.box)
        errors = errors * posed.slopes(physical).abs()
        n = fits.part.counted.sum((0, 1)).tolist()
        rows = zip(
            found.ended.tolist(), found.normal.loss.tolist(), (squares > _ASTRAY * spread).tolist(),
            squares.tolist(), spread.tolist(), open_ones.tolist(), strict=True,
        )  # fmt: skip
        unknowns = [posed.unknowns[i] for i in posed.free]
        outcomes = []
        for i, (ended, loss, far, off, size, left) in enumerate(rows):
            names = [unknown.name for unknown, one in zip(unknowns, left, strict=True) if one]
            status, reason = _verdict(ended, loss, far, off, size, names)
            own = tuple(physical[i].tolist())
            explained = 1.0 - off / size if size > 0 else math.nan
            if status == fit_status.CONVERGED and explained < _EXPLAINS:
                reason = f"it explains {max(explained, 0.0):.0%} of the data's variance: start closer, or bound it"
            outcomes.append(
                Outcome(status, reason, own, tuple(errors[i].tolist()), loss, explained, n[i], int(spent[i]))
            )
        return outcomes


def _centred(part: Part) -> Tensor:
    """Return squared distances of values from their columns' means, in standard deviations, by column: (C, S)."""
    count = part.counted.sum(0).double().clamp_min(1.0)
    mean = pairwise_sum(part.y) / count
    away = torch.where(part.counted, (part.y - mean) * part.weights, 0.0)
    return pairwise_sum(away * away)


def _errors(normal: Normal, z: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    r"""Return standard errors from :math:`M^{-1}`, and which unknowns are not determined, (S, P).

    Of what is at a bound, or not determined, there is none; the others' are those with it fixed at its bound.
    """
    there = torch.isfinite(normal.loss)
    matrix = torch.where(there[:, None, None], normal.matrix, 0.0)
    bound = (z <= box.low) | (z >= box.high)
    factor = Cholesky.of(matrix, bound)
    variance = factor.inverse_diagonal()
    blind = ~bound & ~torch.isfinite(factor.scale)
    # 1 over a diagonal of the inverse is what an unknown does that no combination of the others can do.
    inflated = variance * factor.scale * factor.scale
    left = there.unsqueeze(1) & (blind | (~bound & (inflated > 1.0 / OPEN)))
    usable = there.unsqueeze(1) & ~bound & ~left
    return torch.where(usable, variance.sqrt(), torch.nan), left


def _verdict(ended: int, loss: float, far: bool, off: float, size: float, left: list[str]) -> tuple[str, str]:
    """Return the status of a fit and why, its claims held against the data."""
    if not math.isfinite(loss):
        return UNSOLVED, "the solve fails, or predictions are not finite, at its start; start closer"
    if far:
        return (
            fit_status.DIVERGED,
            f"the search came to rest where squares sum to {off / size:.3g} times the data's; start closer"
            if size > 0
            else "the search came to rest far from data that are all the same; start closer",
        )
    if ended == EXHAUSTED:
        return fit_status.MAX_EPOCHS, "all evaluations used up before it converged; raise `iterations`"
    if left:
        return OPEN_ENDED, f"the data leave {', '.join(left)} open; fix some, or add data"
    if ended == STUCK:
        return fit_status.NO_PROGRESS, "no step lowers the loss any more; start closer"
    assert ended == CONVERGED
    return fit_status.CONVERGED, ""
