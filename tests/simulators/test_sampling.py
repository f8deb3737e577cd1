from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physode.rhs import NBody
from physode.simulators import sample_bound_bodies, sample_box, sample_masses, time_grid
from physode.simulators.sampling import generator

SCALES = st.sampled_from([{"G": 1.0}, {"G": 39.5}, {"G": 0.2, "velocity_scale": 7.2}, {"G": 2.0, "softening": 0.3}])


@given(seed=st.integers(0, 10_000), n=st.integers(2, 5), scales=SCALES)
def test_sampled_bodies_are_bound_and_at_rest_as_a_whole(seed, n, scales):
    rng = np.random.default_rng(seed)
    masses = rng.uniform(0.1, 3.0, n)
    state = sample_bound_bodies(rng, masses, **scales)
    invariants = NBody(masses, **scales).invariants(torch.from_numpy(state))
    centre = masses @ state[: 3 * n].reshape(n, 3)
    assert invariants["energy"].item() < 0
    np.testing.assert_allclose(centre, 0.0, atol=1e-12)
    np.testing.assert_allclose(invariants["momentum"].numpy(), 0.0, atol=1e-11)


def test_kinetic_energy_is_the_asked_share_of_the_potentials_depth():
    masses = np.array([1.0, 2.0, 0.5])
    state = sample_bound_bodies(np.random.default_rng(0), masses, G=3.0, kinetic_share=(0.5, 0.5))
    at_rest = state.copy()
    at_rest[9:] = 0.0
    system = NBody(masses, G=3.0)
    whole = system.invariants(torch.from_numpy(state))["energy"].item()
    potential = system.invariants(torch.from_numpy(at_rest))["energy"].item()
    assert whole == pytest.approx(0.5 * potential, rel=1e-12)


def test_sampled_bodies_keep_their_distance():
    for seed in range(50):
        state = sample_bound_bodies(np.random.default_rng(seed), np.ones(3), G=1.0, radius=2.0, separation=0.5)
        r = state[:9].reshape(3, 3)
        assert min(np.linalg.norm(r[i] - r[j]) for i, j in [(0, 1), (0, 2), (1, 2)]) >= 1.0


def test_a_ball_too_small_for_the_separations_is_refused():
    with pytest.raises(ValueError, match=r"`separation` of 3\.0 leaves no room for 3 bodies"):
        sample_bound_bodies(np.random.default_rng(0), np.ones(3), G=1.0, separation=3.0)


def test_bodies_without_mass_cannot_be_bound():
    with pytest.raises(ValueError, match="`masses` must have two above 0"):
        sample_bound_bodies(np.random.default_rng(0), np.array([1.0, 0.0, 0.0]), G=1.0)


def test_a_trajectorys_draw_does_not_depend_on_how_many_there_are():
    box = [(-1.0, 1.0), (2.0, 5.0)]
    assert np.array_equal(sample_box(box, n=3, seed=1), sample_box(box, n=10, seed=1)[:3])
    masses = sample_masses((0.5, 1.5), bodies=3, n=10, seed=1)
    assert np.array_equal(masses[:4], sample_masses((0.5, 1.5), bodies=3, n=4, seed=1))


def test_box_is_filled_evenly():
    states = sample_box([(-1.0, 1.0), (2.0, 5.0)], n=2000, seed=0)
    assert (states >= [-1.0, 2.0]).all()
    assert (states <= [1.0, 5.0]).all()
    np.testing.assert_allclose(states.mean(0), [0.0, 3.5], atol=5 * 3.0 / np.sqrt(12 * 2000))


def test_streams_and_indices_are_independent():
    draws = [
        generator(0, stream, index).standard_normal(3).tolist()
        for stream in ("initial state", "constants", "noise")
        for index in range(3)
    ]
    assert len({tuple(draw) for draw in draws}) == 9


def test_time_grid_includes_both_ends():
    assert time_grid(t_end=2.0, points=5).tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("t_end", [0.0, -1.0, float("nan"), float("inf")])
def test_time_grid_needs_a_positive_end(t_end):
    with pytest.raises(ValueError, match="`t_end` must be finite and above 0"):
        time_grid(t_end=t_end, points=5)


def test_time_grid_needs_two_points():
    with pytest.raises(ValueError, match="`points` must be at least 2, the start and the end, got 1"):
        time_grid(t_end=1.0, points=1)
