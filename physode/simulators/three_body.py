"""Trajectories of three bodies under gravitation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from physode.datasets import Trajectories
from physode.rhs import ThreeBody, pair_distances
from physode.simulators.arguments import Floats, check_constants, checked_count, checked_noise, repeated
from physode.simulators.core import simulate
from physode.simulators.encounters import close_encounters, measure_bodies
from physode.simulators.sampling import generator, sample_bound_bodies, sample_masses
from physode.simulators.times import Times, count_points, observation_times
from physode.typing import Progress

__all__ = ["simulate_three_body"]

_MASSES = (0.5, 1.5)
_GRID = (2.0, 2000)
_CLOSE = 0.1  # of the smallest initial distance


def simulate_three_body(
    *,
    n: int = 1,
    preset: str | None = None,
    masses: ArrayLike | None = None,
    y0: ArrayLike | None = None,
    G: float | None = None,
    velocity_scale: float | None = None,
    softening: float | None = None,
    t: ArrayLike | None = None,
    t_end: float | None = None,
    points: int | None = None,
    times: Times = "grid",
    noise: float | Sequence[float] = 0.0,
    seed: int = 0,
    method: str = "dopri8",
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 20_000,
    encounter_distance: float | None = None,
    progress: Progress | None = None,
) -> Trajectories:
    """Simulate `n` trajectories of :class:`physode.rhs.ThreeBody`.

    What is not given is drawn, trajectory by trajectory: masses between 0.5 and 1.5, and initial states of bound
    systems whose centre of mass rests at the origin (:func:`physode.simulators.sample_bound_bodies`). Units are AU,
    years and solar masses unless `G` or `velocity_scale` says otherwise.

    Parameters
    ----------
    n
        Number of trajectories.
    preset
        ``"aca"``, ``"figure-eight"`` or ``"pythagorean"``: constants, initial state and times, each of which a further
        argument replaces. All `n` trajectories start there and differ in their noise only.
    masses
        Shape (3,) for all trajectories, or (n, 3).
    y0
        Initial state of all, (18,), or of each, (n, 18): positions, then velocities.
    G, velocity_scale, softening
        As :class:`physode.rhs.ThreeBody`.
    t, t_end, points, times
        As :func:`physode.simulators.simulate_in_box`.
    noise, seed, method, rtol, atol, max_steps, progress
        As :func:`physode.simulators.simulate`.
    encounter_distance
        Pairs that come nearer than this are reported; by default a tenth of the trajectory's smallest initial distance.

    Returns
    -------
    Trajectories
        ``params`` hold ``masses``, and for each trajectory ``min_distance``, ``min_distance_time``,
        ``min_distance_pair`` (0: bodies 1 and 2, 1: 1 and 3, 2: 2 and 3), found between output times too, and
        ``energy_drift``, the largest relative change of the energy. ``attrs["close_encounters"]`` lists the close ones,
        ``attrs["failures"]`` the trajectories that ended early.

    Raises
    ------
    ValueError
        If an argument is out of range or the preset is unknown.
    SolveError
        If not one trajectory reached the end.
    """
    checked_count(n)
    checked_noise(noise, 18)
    if encounter_distance is not None and not encounter_distance >= 0:
        raise ValueError(f"`encounter_distance` must not be below 0, got {encounter_distance}")
    given = {"masses": masses, "G": G, "velocity_scale": velocity_scale, "softening": softening}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    grid = _GRID
    if preset is not None:
        start = ThreeBody.find_preset(preset)
        settings, grid = {**start.config, **settings}, (start.t_end, start.points)
        y0 = start.y0 if y0 is None else y0
    checked_count(n, points=count_points(t, points, grid[1]), columns=18)
    observed, begin = observation_times(t, times=times, t_end=t_end, points=points, default=grid, n=n, seed=seed)
    if "masses" not in settings:
        settings["masses"] = sample_masses(_MASSES, bodies=3, n=n, seed=seed)
    system = ThreeBody(**settings)
    check_constants(system, n)
    states = _bound_states(system, n=n, seed=seed) if y0 is None else repeated(y0, n, components=18)
    trajectories = simulate(
        system,
        states,
        observed,
        start=begin,
        noise=noise,
        seed=seed,
        method=method,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        measure=measure_bodies,
        progress=progress,
    )
    below = _CLOSE * pair_distances(torch.from_numpy(states)).amin(-1).numpy()
    if encounter_distance is not None:
        below = np.full(n, encounter_distance)
    return replace(trajectories, attrs=trajectories.attrs | _about_encounters(trajectories, system, below))


def _bound_states(system: ThreeBody, *, n: int, seed: int) -> Floats:
    """Draw one bound initial state a trajectory: (n, 18)."""
    masses = np.broadcast_to(system.masses.numpy(), (n, 3))
    draws = [
        sample_bound_bodies(
            generator(seed, "initial state", index),
            own,
            G=system.G,
            velocity_scale=system.velocity_scale,
            softening=system.softening,
        )
        for index, own in enumerate(masses)
    ]
    return np.stack(draws)


def _about_encounters(trajectories: Trajectories, system: ThreeBody, below: Floats) -> dict[str, Any]:
    """Return the attributes that report close encounters and explain the measured parameters."""
    units = {"min_distance": system.units[0], "min_distance_time": system.time_unit}
    return {
        "close_encounters": close_encounters(trajectories.params, below, bodies=3),
        "param_units": {**trajectories.attrs["param_units"], **units},
        "param_descriptions": {
            "min_distance": "smallest distance of two bodies at any time, between output times too",
            "min_distance_time": "when it was reached",
            "min_distance_pair": "which bodies: 0 for 1 and 2, 1 for 1 and 3, 2 for 2 and 3",
            "energy_drift": "largest relative change of the total energy",
        },
    }
