"""Simulators: a right-hand side, initial states and constants given or drawn, and an observation model."""

from __future__ import annotations

from physode.simulators.boxes import BOXES, Box, simulate_in_box
from physode.simulators.core import simulate, system_of
from physode.simulators.encounter_log import Encounter, find_encounters
from physode.simulators.encounters import closest_approach
from physode.simulators.hopper import simulate_hopper
from physode.simulators.lotka_volterra import simulate_lotka_volterra
from physode.simulators.periodic import simulate_periodic
from physode.simulators.sampling import sample_bound_bodies, sample_box, sample_masses
from physode.simulators.three_body import simulate_three_body
from physode.simulators.times import random_times, time_grid
from physode.simulators.van_der_pol import simulate_van_der_pol

__all__ = [
    "BOXES",
    "Box",
    "Encounter",
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
    "simulate_three_body",
    "simulate_van_der_pol",
    "system_of",
    "time_grid",
]
