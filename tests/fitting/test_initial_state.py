"""States guessed from observations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physode.fitting import FitConfig, effective_config
from physode.fitting.initial_state import complete_states, estimate_state
from physode.fitting.problem import pose_fit
from physode.rhs import HarmonicOscillator, LotkaVolterra
from physode.simulators import simulate_in_box, simulate_three_body, system_of

T = np.linspace(0.0, 3.0, 31)


@pytest.mark.parametrize("index", [0, 15, 30])
def test_velocities_come_from_positions(index):
    data = simulate_three_body(preset="aca", t_end=0.2, points=201)
    y = np.where(np.arange(18) < 9, data.y[0], np.nan)
    found = estimate_state(system_of(data), data.t, y, index)
    np.testing.assert_array_equal(found[:9], data.y[0, index, :9])
    np.testing.assert_allclose(found[9:], data.y[0, index, 9:], atol=1e-3 * np.abs(data.y[0, :, 9:]).max())


def test_what_was_observed_is_taken_as_it_is():
    y = np.stack([np.sin(T), np.cos(T)], -1)
    assert estimate_state(HarmonicOscillator(), T, y, 7).tolist() == y[7].tolist()


def test_missing_values_are_those_of_a_polynomial_through_their_neighbours():
    y = np.stack([T**2, 2 * T], -1)
    y[4:6, 0] = np.nan
    found = estimate_state(HarmonicOscillator(), T, y, 5)
    np.testing.assert_allclose(found, [T[5] ** 2, 2 * T[5]], rtol=1e-12)


def test_any_system_gives_back_what_was_not_observed():
    """Predators from prey: x' / x = alpha - beta y, to the slope's accuracy."""
    data = simulate_in_box(LotkaVolterra(), y0=[1.0, 1.5], t_end=2.0, points=201)
    y = data.y[0].copy()
    y[:, 1] = np.nan
    found = estimate_state(LotkaVolterra(), data.t, y, 60)
    assert found[1] == pytest.approx(data.y[0, 60, 1], rel=1e-3)


def test_what_leaves_no_trace_in_the_slopes_stays_0():
    y = np.stack([np.full(31, np.nan), np.cos(T)], -1)
    found = estimate_state(HarmonicOscillator(omega=0.0), T, y, 3)
    assert found.tolist() == [0.0, np.cos(T[3])]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_observations_give_finite_guesses(count):
    y = np.stack([np.sin(T[:count]), np.full(count, np.nan)], -1)
    found = estimate_state(HarmonicOscillator(), T[:count], y, 0)
    assert np.isfinite(found).all()
    if count > 1:
        assert found[1] == pytest.approx(1.0, abs=0.05)


def test_states_at_all_times_are_completed_at_once():
    states, slopes = np.stack([np.sin(T), 0 * T], -1), np.stack([np.cos(T), 0 * T], -1)
    found = complete_states(HarmonicOscillator(), T, states, slopes, np.array([True, False]))
    np.testing.assert_allclose(found, np.stack([np.sin(T), np.cos(T)], -1), atol=1e-12)


def test_a_fit_of_segments_begins_at_estimates(bodies):
    """Positions as observed, velocities to a few per cent, though none of these were in the data."""
    y = bodies.y.copy()
    y[..., 9:] = np.nan
    data = dataclasses.replace(bodies, y=y)
    config = effective_config(FitConfig(schedule="shooting", stages=3, initial_state="fit"), data)
    problem = pose_fit(data, config)
    objective = problem.begin(problem.stages[0])
    starts = list(objective.segments.starts)
    states = objective.parameters.states.detach().numpy()
    np.testing.assert_array_equal(states[:, :9], bodies.y[0, starts, :9])
    scale = np.abs(bodies.y[0, :, 9:]).max()
    np.testing.assert_allclose(states[:, 9:], bodies.y[0, starts, 9:], atol=0.05 * scale)
