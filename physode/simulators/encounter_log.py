"""Every close encounter of bodies: which pair, when, how near."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physode.rhs import pair_distances
from physode.solution import Solution

__all__ = ["Encounter", "find_encounters"]

_PARTS = 4  # of a step, which resolves its own motion: the distance of a pair has no two minima within one
_HALVINGS = 28  # a minimum is flat: its time is known to half of the digits


class Encounter(NamedTuple):
    """A pair of bodies as near one another as they come before they part again.

    ``trajectory``: row of the batch; ``bodies``: the pair, numbered from 1; ``time``; ``distance``.
    """

    trajectory: int
    bodies: tuple[int, int]
    time: float
    distance: float


def find_encounters(solution: Solution, *, below: float) -> list[Encounter]:
    """Find all closest approaches of pairs of bodies that are nearer than ``below``, in order of time.

    Minima of each pair's distance are bracketed between parts of the accepted steps, which are short where bodies meet,
    and then found by shrinking the brackets.

    Parameters
    ----------
    solution
        Of bodies, (time, 6 n) or (time, batch, 6 n): :func:`physode.solve_regularised`'s, or one with ``dense=True``.
    below
        The distance from which on an approach counts as close.

    Raises
    ------
    ValueError
        If ``below`` is not positive, or the solution keeps no interpolants.
    """
    if not below > 0.0:
        raise ValueError(f"`below` must be a distance above 0, got {below}")
    with torch.no_grad():
        times = _divided(solution.step_times, _batch(solution))
        distance = _distances(solution, times)
        inner, after = distance[1:-1], distance[2:]
        earlier = _earlier(times)
        before = distance.gather(0, earlier[..., None].expand_as(inner))
        lowest = 2.0 * inner - torch.maximum(before, after)  # by the chords, as if times were even
        found = ((inner <= before) & (inner < after) & (lowest < below)).nonzero()
        row, trajectory, pair = found.unbind(1)
        low, high = times[earlier[row, trajectory], trajectory], times[row + 2, trajectory]
        time = _bisected(solution, low, high, trajectory, pair)
        nearest = _at(solution, time, trajectory, pair)
    return _listed(solution, time, nearest, trajectory, pair, below)


def _divided(ends: Tensor, batch: int) -> Tensor:
    """Return times (parts * steps + 1, batch) that divide the steps between `ends`, (steps + 1,) or with a batch."""
    ends = ends if ends.ndim == 2 else ends[:, None].expand(-1, batch)
    shares = torch.arange(_PARTS, dtype=ends.dtype, device=ends.device)[:, None] / _PARTS
    inner = ends[:-1, None] + shares * (ends[1:] - ends[:-1])[:, None]
    return torch.cat((inner.flatten(0, 1), ends[-1:]))


def _earlier(times: Tensor) -> Tensor:
    """Return the row of the time before each inner one, (times - 2, batch): samples stand still while others step."""
    rows = torch.arange(len(times) - 2, device=times.device)[:, None]
    return torch.where(times[1:-1] != times[:-2], rows, 0).cummax(0).values


def _distances(solution: Solution, times: Tensor) -> Tensor:
    """Return all pairs' distances, (times, batch, pairs), at `times`, (times, batch): equal ones for a shared clock."""
    if solution.y.ndim == 2:
        return pair_distances(solution(times[:, 0]))[:, None]
    return pair_distances(solution(times if solution.step_times.ndim == 2 else times[:, 0]))


def _at(solution: Solution, time: Tensor, trajectory: Tensor, pair: Tensor) -> Tensor:
    """Return the distance of one pair of one trajectory at each time."""
    found = _distances(solution, time[:, None].expand(-1, _batch(solution)))
    return found[torch.arange(len(time), device=time.device), trajectory, pair]


def _batch(solution: Solution) -> int:
    return 1 if solution.y.ndim == 2 else solution.y.shape[1]


def _bisected(solution: Solution, low: Tensor, high: Tensor, trajectory: Tensor, pair: Tensor) -> Tensor:
    """Return where the distance is smallest: each bracket keeps the half of it around its smallest value."""
    for _ in range(_HALVINGS if len(low) else 0):
        quarter = 0.25 * (high - low)
        values = [_at(solution, low + part * quarter, trajectory, pair) for part in (1.0, 2.0, 3.0)]
        left = (values[0] < values[1]) & (values[0] <= values[2])
        right = (values[2] < values[1]) & ~left
        low, high = (
            torch.where(left, low, torch.where(right, low + 2.0 * quarter, low + quarter)),
            torch.where(left, low + 2.0 * quarter, torch.where(right, high, low + 3.0 * quarter)),
        )
    return 0.5 * (low + high)


def _listed(
    solution: Solution, time: Tensor, nearest: Tensor, trajectory: Tensor, pair: Tensor, below: float
) -> list[Encounter]:
    bodies = torch.triu_indices(solution.y.shape[-1] // 6, solution.y.shape[-1] // 6, 1).T + 1
    rows = zip(time.tolist(), nearest.tolist(), trajectory.tolist(), pair.tolist(), strict=True)
    return [
        Encounter(row, (int(bodies[number][0]), int(bodies[number][1])), when, how_near)
        for when, how_near, row, number in sorted(rows)
        if how_near < below
    ]
