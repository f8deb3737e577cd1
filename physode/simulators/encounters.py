"""How near bodies come to each other, between output times too, every close encounter, and how the energy is kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from physode.rhs import System, pair_distances
from physode.simulators.sampling import Floats
from physode.solution import Solution

__all__ = ["Encounter", "close_encounters", "closest_approach", "energy_drift", "find_encounters", "measure_bodies"]


_PARTS = 8  # points looked at in a step; a step resolves its own motion, so that no minimum hides between them
_ZOOMS = 4  # each looks 16 times closer
_BRACKETS = 4  # of a step, which resolves its own motion: the distance of a pair has no two minima within one
_HALVINGS = 28  # a minimum is flat: its time is known to half of the digits
_BLOCK = 4096  # times evaluated at once, to bound memory


def measure_bodies(system: System, solution: Solution) -> dict[str, Floats]:
    """Return the closest approach and the energy drift of each trajectory, by the names under which files keep them."""
    distance, time, pair = closest_approach(solution)
    return {
        "min_distance": distance.numpy(),
        "min_distance_time": time.numpy(),
        "min_distance_pair": pair.numpy(),
        "energy_drift": energy_drift(system, solution.y),
    }


def closest_approach(solution: Solution) -> tuple[Tensor, Tensor, Tensor]:
    """Find the smallest distance of any two bodies on a dense per-sample solution.

    The search runs over the accepted steps, which are short where bodies meet, and then zooms in on the smallest value.

    Returns
    -------
    tuple
        Distance and time, each (batch,), and the pair's number (batch,) in the order of
        :func:`physode.rhs.pair_distances`.
    """
    if len(solution.step_times) == 1:  # nobody took a step
        distance, pair = pair_distances(solution.y[0]).min(-1)
        return distance, solution.step_times[0], pair
    times = _subdivided(solution.step_times, _PARTS)
    best, index = torch.full_like(times[0], torch.inf), torch.zeros_like(times[0], dtype=torch.int64)
    for start in range(0, len(times), _BLOCK):
        value, row = _nearest(solution, times[start : start + _BLOCK])
        index = torch.where(value < best, row + start, index)
        best = torch.minimum(best, value)
    low = times.gather(0, (index - 1).clamp(min=0)[None])[0]
    high = times.gather(0, (index + 1).clamp(max=len(times) - 1)[None])[0]
    shares = torch.linspace(0.0, 1.0, 33, dtype=torch.float64)[:, None]
    for _ in range(_ZOOMS):
        near = low + shares * (high - low)
        value, row = _nearest(solution, near)
        time = near.gather(0, row[None])[0]
        reach = (high - low) / 32
        low, high = torch.maximum(low, time - reach), torch.minimum(high, time + reach)
    pair = pair_distances(solution(time[None])[0]).argmin(-1)
    return value, time, pair


def energy_drift(system: System, y: Tensor) -> Floats:
    """Return the largest relative change of the energy over the outputs `y` (T, N, D); NaN where unknown."""
    energy = system.invariants(y)["energy"].numpy()
    with np.errstate(invalid="ignore"):  # infinite where bodies coincide, NaN where a trajectory has ended
        change = np.abs(energy - energy[0]) / np.where(energy[0] == 0.0, 1.0, np.abs(energy[0]))
    drift: Floats = np.where(np.isnan(change), -np.inf, change).max(axis=0)
    return np.where(drift >= 0.0, drift, np.nan)


def close_encounters(params: dict[str, Floats], below: Floats, *, bodies: int) -> list[dict[str, Any]]:
    """List the trajectories whose closest approach is not above `below` (N,): index, bodies, time, distance."""
    i, j = np.triu_indices(bodies, 1)
    return [
        {
            "trajectory": int(index),
            "bodies": [int(i[pair]) + 1, int(j[pair]) + 1],
            "time": float(params["min_distance_time"][index]),
            "distance": float(params["min_distance"][index]),
        }
        for index in np.flatnonzero(params["min_distance"] <= below)
        for pair in [int(params["min_distance_pair"][index])]
    ]


def _subdivided(ends: Tensor, parts: int) -> Tensor:
    """Return times (parts * steps + 1, batch) that divide the steps between `ends` (steps + 1, batch)."""
    shares = torch.arange(parts, dtype=ends.dtype, device=ends.device)[:, None] / parts
    inner = ends[:-1, None] + shares * (ends[1:] - ends[:-1])[:, None]
    return torch.cat((inner.flatten(0, 1), ends[-1:]))


def _nearest(solution: Solution, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest distance at `times` (T, batch) and the row at which it is found, each (batch,)."""
    value, row = pair_distances(solution(times)).amin(-1).min(0)
    return value, row


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
        ends = solution.step_times
        ends = ends if ends.ndim == 2 else ends[:, None].expand(-1, _batch(solution))
        times = _subdivided(ends, _BRACKETS)
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
