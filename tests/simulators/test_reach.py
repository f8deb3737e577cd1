"""Solves that cannot reach their end say so after a few steps; those that only begin slowly go on."""

from __future__ import annotations

import pytest
import torch

from physode.errors import SolveError
from physode.fitting import FitConfig, fit
from physode.rhs import SYSTEMS
from physode.simulators import simulate_hopper, simulate_periodic, simulate_three_body, simulate_van_der_pol
from physode.simulators.galaxies import simulate_galaxies
from physode.simulators.reach import check_reach

OPTIONS = {"method": "dopri5", "rtol": 1e-6, "atol": 1e-9, "max_steps": 20_000}


def turning(t, y):
    return torch.stack((y[..., 1], -y[..., 0]), -1)


def test_a_span_of_far_more_turns_than_steps_is_out_of_reach():
    y0 = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    with pytest.raises(
        SolveError, match=r"out of reach: 500 attempts go to t = .* of 1e[+]19, and so `max_steps` 20000"
    ):
        check_reach(turning, y0, torch.tensor([0.0, 1e19], dtype=torch.float64), **OPTIONS)
    check_reach(turning, y0, torch.tensor([0.0, 1e4], dtype=torch.float64), **OPTIONS)


def test_what_only_some_of_the_trajectories_cannot_reach_is_solved_for_the_others():
    y0 = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    rates = torch.tensor([[1e12], [1.0]], dtype=torch.float64)
    times = torch.tensor([0.0, 10.0], dtype=torch.float64)
    check_reach(lambda t, y: rates * turning(t, y), y0, times, **OPTIONS)


@pytest.mark.parametrize("name", ["robertson", "hires", "pollution", "oregonator"])
def test_stiff_systems_that_begin_fast_and_grow_slow_go_on(name):
    system = SYSTEMS[name]
    preset = next(iter(system.presets.values()))
    times = torch.tensor([0.0, 100 * preset.t_end], dtype=torch.float64)
    y0 = torch.tensor([preset.y0], dtype=torch.float64)
    check_reach(system(**preset.config), y0, times, **{**OPTIONS, "method": "rodas5p"})


def test_a_state_at_rest_is_looked_at_where_it_begins_to_move():
    """Van der Pol from y2 = 0: nothing of a damping of 1e19 shows in the first derivative."""
    with pytest.raises(SolveError, match="out of reach"):
        simulate_van_der_pol(preset="aca", mu=1e19)


@pytest.mark.parametrize("settings", [{"init": {"mu": (1e19,)}}, {"fix": {"mu": (1e12,)}}])
def test_a_fit_from_a_guess_out_of_reach_says_so(oscillation, settings):
    with pytest.raises(SolveError, match=r"cannot begin at the initial guess: the end time is out of reach.*`init`"):
        fit(oscillation, FitConfig(**settings))


@pytest.fixture
def oscillation():
    return simulate_van_der_pol(preset="aca", t_end=6.0, points=60)


@pytest.mark.parametrize(
    ("simulate", "message"),
    [
        (lambda: simulate_van_der_pol(n=10**10), r"10000000000 trajectories \(`n`\).* GiB are free; make fewer"),
        (lambda: simulate_three_body(points=10**12), "GiB are free; make fewer"),
        (lambda: simulate_periodic(n=10**12), "GiB are free; make fewer"),
        (lambda: simulate_hopper(n=10**12), "GiB are free; make fewer"),
        (lambda: simulate_hopper(steps=10**9), "`steps` must be at most 1000000"),
        (lambda: simulate_galaxies(10**12), r"galaxies \(`count`\) of 32 pixels a side take"),
        (lambda: simulate_galaxies(2, noise=1e-320), "`noise` below 1e-06 leaves nothing in 8 bits"),
        (lambda: simulate_three_body(softening=1e308), r"`softening` must not be above 1e\+150"),
        (lambda: simulate_van_der_pol(noise=1e308), r"`noise` must not be above 1e\+150"),
        (lambda: simulate_periodic(frequency=(1e300, 1e300)), "rounding decides the phase: lower it"),
        (lambda: simulate_periodic(t_end=1e-323), "has no room for 100 different times; raise it"),
        (lambda: simulate_van_der_pol(t_end=1e-323, points=100), "has no room for 100 different times; raise it"),
    ],
)
def test_what_memory_or_precision_do_not_hold_is_refused_before_the_work(simulate, message):
    with pytest.raises(ValueError, match=message):
        simulate()
