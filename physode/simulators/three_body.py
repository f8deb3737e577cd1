"""Trajectories of three bodies under gravitation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import ArrayLike

from physode.datasets import Trajectories
from physode.rhs import Span, ThreeBody, pair_distances
from physode.simulators.encounters import close_encounters, measure_bodies
from physode.simulators.noise_model import checked_noise
from physode.simulators.sampling import Floats, check_constants, checked_count, sample_masses
from physode.simulators.systems import Simulation, SimulationOptions

__all__ = ["simulate_three_body"]

_MASSES = (0.5, 1.5)
_CLOSE = 0.1  # of the smallest initial distance


def simulate_three_body(
    *,
    preset: str | None = None,
    masses: ArrayLike | None = None,
    G: float | None = None,
    velocity_scale: float | None = None,
    softening: float | None = None,
    encounter_distance: float | None = None,
    **options: Unpack[SimulationOptions],
) -> Trajectories:
    """Simulate `n` trajectories of :class:`physode.rhs.ThreeBody`.

    What is not given is drawn, trajectory by trajectory: masses between 0.5 and 1.5, and initial states of bound
    systems whose centre of mass rests at the origin (:func:`physode.simulators.sample_bound_bodies`). Units are AU,
    years and solar masses unless `G` or `velocity_scale` says otherwise.

    Parameters
    ----------
    preset
        ``"aca"``, ``"figure-eight"`` or ``"pythagorean"``: constants, initial state and times, each of which a further
        argument replaces. All `n` trajectories start there and differ in their noise only.
    masses
        Shape (3,) for all trajectories, or (n, 3).
    G, velocity_scale, softening
        As :class:`physode.rhs.ThreeBody`.
    encounter_distance
        Pairs that come nearer than this are reported; by default a tenth of the trajectory's smallest initial distance.

    options
        The fields of :class:`physode.simulators.Simulation`; ``y0`` is (18,) or (n, 18): positions, then velocities.

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
    simulation, span = Simulation(**options), ThreeBody.span
    n, seed = simulation.n, simulation.seed
    checked_count(n)
    checked_noise(simulation.noise, 18)
    if encounter_distance is not None and not encounter_distance >= 0:
        raise ValueError(f"`encounter_distance` must not be below 0, got {encounter_distance}")
    given = {"masses": masses, "G": G, "velocity_scale": velocity_scale, "softening": softening}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if preset is not None:
        start = ThreeBody.find_preset(preset)
        settings, span = {**start.config, **settings}, Span(start.t_end, start.points)
        simulation = replace(simulation, y0=start.y0 if simulation.y0 is None else simulation.y0)
    simulation.check_size(span, 18)
    times = simulation.observation_times(span)
    if "masses" not in settings:
        settings["masses"] = sample_masses(_MASSES, bodies=3, n=n, seed=seed)
    system = ThreeBody(**settings)
    check_constants(system, n)
    states = simulation.initial_states(system)
    trajectories = simulation.run(system, states, times, measure=measure_bodies)
    below = _CLOSE * pair_distances(torch.from_numpy(states)).amin(-1).numpy()
    if encounter_distance is not None:
        below = np.full(n, encounter_distance)
    return replace(trajectories, attrs=trajectories.attrs | _about_encounters(trajectories, system, below))


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
