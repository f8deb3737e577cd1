"""Simulators: a right-hand side, initial states and constants given or drawn, and an observation model."""

from __future__ import annotations

from physode.rhs.physical.n_body import sample_bound_bodies
from physode.simulators.core import simulate, system_of
from physode.simulators.encounters import Encounter, closest_approach, find_encounters
from physode.simulators.hopper import simulate_hopper
from physode.simulators.periodic import simulate_periodic
from physode.simulators.sampling import sample_box, sample_masses
from physode.simulators.systems import (
    BOXES,
    Box,
    Simulation,
    SimulationOptions,
    simulate_in_box,
    simulate_lotka_volterra,
    simulate_system,
    simulate_van_der_pol,
)
from physode.simulators.three_body import simulate_three_body
from physode.simulators.times import random_times, time_grid

__all__ = [
    "BOXES",
    "Box",
    "Encounter",
    "Simulation",
    "SimulationOptions",
    "closest_approach",
    "find_encounters",
    "random_times",
    "sample_bound_bodies",
    "sample_box",
    "sample_masses",
    "simulate",
    "simulate_hopper",
    "simulate_in_box",
    "simulate_lotka_volterra",
    "simulate_periodic",
    "simulate_system",
    "simulate_three_body",
    "simulate_van_der_pol",
    "system_of",
    "time_grid",
]
