"""How near bodies come to each other, between output times too, and how well the energy is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.rhs import System, pair_distances
from physode.simulators.arguments import Floats
from physode.solution import Solution

__all__ = ["close_encounters", "closest_approach", "energy_drift", "measure_bodies"]

_PARTS = 8  # points looked at in a step; a step resolves its own motion, so that no minimum hides between them
_ZOOMS = 4  # each looks 16 times closer
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
    times = _subdivided(solution.step_times)
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


def _subdivided(ends: Tensor) -> Tensor:
    """Return times (parts * steps + 1, batch) that divide the steps between `ends` (steps + 1, batch)."""
    shares = torch.arange(_PARTS, dtype=torch.float64)[:, None] / _PARTS
    inner = ends[:-1, None] + shares * (ends[1:] - ends[:-1])[:, None]
    return torch.cat((inner.flatten(0, 1), ends[-1:]))


def _nearest(solution: Solution, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest distance at `times` (T, batch) and the row at which it is found, each (batch,)."""
    value, row = pair_distances(solution(times)).amin(-1).min(0)
    return value, row
