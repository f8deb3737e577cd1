from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from physode.rhs import HarmonicOscillator, VanDerPol
from physode.simulators import (
    random_times,
    simulate,
    simulate_lotka_volterra,
    simulate_three_body,
    simulate_van_der_pol,
)
from physode.simulators.encounters import pair_distances


def test_random_times_rise_strictly_inside_the_span():
    t = random_times(t_end=3.0, points=500, n=20, seed=1)
    assert t.shape == (20, 500)
    assert (np.diff(t) > 0).all()
    assert (t > 0).all()
    assert (t <= 3.0).all()


def test_random_times_fill_the_span_evenly():
    t = random_times(t_end=4.0, points=1000, n=20, seed=0)
    counts, _ = np.histogram(t, bins=10, range=(0.0, 4.0))
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000 * 0.9)


def test_random_times_of_a_trajectory_depend_on_seed_and_index_only():
    few, many = (random_times(t_end=1.0, points=5, n=n, seed=4) for n in (3, 8))
    assert np.array_equal(few, many[:3])
    assert len(np.unique(many)) == many.size
    assert not np.array_equal(few, random_times(t_end=1.0, points=5, n=3, seed=5))


@pytest.mark.parametrize(
    ("simulator", "arguments"),
    [
        (simulate_van_der_pol, {"t_end": 3.0, "points": 20}),
        (simulate_lotka_volterra, {"t_end": 3.0, "points": 20, "vary": 0.2}),
        (simulate_three_body, {"t_end": 0.1, "points": 5}),
    ],
)
def test_trajectory_at_random_times_is_the_same_in_every_bit_among_any_number(simulator, arguments):
    few, many = (simulator(n=n, times="random", noise=0.1, seed=3, **arguments) for n in (2, 5))
    assert np.array_equal(few.t, many.t[:2])
    assert np.array_equal(few.y, many.y[:2])
    assert np.array_equal(few.y_clean, many.y_clean[:2])


def test_lotka_volterra_at_random_times_is_scipys():
    simulated = simulate_lotka_volterra(n=3, times="random", t_end=8.0, points=40, vary=0.3, seed=2)
    grid = simulate_lotka_volterra(n=3, t_end=8.0, points=2, vary=0.3, seed=2)
    for k in range(3):
        a, b, d, g = (simulated.params[name][k] for name in ("alpha", "beta", "delta", "gamma"))
        reference = solve_ivp(
            lambda t, y, a=a, b=b, d=d, g=g: [y[0] * (a - b * y[1]), y[1] * (d * y[0] - g)],
            (0.0, 8.0),
            grid.y[k, 0],
            method="DOP853",
            t_eval=simulated.t[k],
            rtol=1e-12,
            atol=1e-13,
        )
        np.testing.assert_allclose(simulated.y[k], reference.y.T, rtol=0, atol=1e-8)


def test_lotka_volterra_keeps_its_rates_where_nothing_varies():
    simulated = simulate_lotka_volterra(n=2, alpha=[1.0, 2.0], t_end=1.0, points=3)
    assert simulated.params["alpha"].tolist() == [1.0, 2.0]
    assert simulated.params["gamma"].tolist() == [3.0, 3.0]


def test_energy_and_encounters_of_bodies_count_from_the_start_of_random_times():
    simulated = simulate_three_body(n=2, times="random", t_end=0.2, points=4, seed=1)
    grid = simulate_three_body(n=2, t=[0.0, 0.2], seed=1)
    starts = pair_distances(torch.from_numpy(grid.y[:, 0])).amin(-1).numpy()
    assert (simulated.params["min_distance"] <= starts).all()
    assert (simulated.params["energy_drift"] < 1e-7).all()
    assert simulated.attrs["start"] == 0.0


def test_given_times_of_each_trajectory_are_used():
    t = np.array([[0.0, 0.5, 2.0], [1.0, 1.5, 1.75]])
    simulated = simulate(HarmonicOscillator(), [[1.0, 0.0], [1.0, 0.0]], t)
    np.testing.assert_allclose(simulated.y[..., 0], np.cos(t - t[:, :1]), atol=1e-9)
    assert np.array_equal(simulated.t, t)
    assert np.array_equal(simulate_van_der_pol(n=2, t=t).t, t)


def test_chunks_take_their_own_rows_of_times():
    t = random_times(t_end=2.0, points=7, n=5, seed=0)
    y0 = np.arange(10.0).reshape(5, 2)
    whole = simulate(VanDerPol(), y0, t, start=0.0)
    assert np.array_equal(simulate(VanDerPol(), y0, t, start=0.0, chunk_size=2).y, whole.y)


@pytest.mark.parametrize("t", [[1.0, 2.0], [[1.0, 2.0]], [1.0]])
def test_initial_state_may_stand_before_all_outputs(t):
    simulated = simulate(HarmonicOscillator(), [1.0, 0.0], t, start=0.5)
    expected = np.cos(np.ravel(t) - 0.5)
    np.testing.assert_allclose(simulated.y[0, :, 0], expected, atol=1e-9)


def test_initial_state_stands_behind_falling_times():
    simulated = simulate(HarmonicOscillator(), [1.0, 0.0], [-1.0, -2.0], start=0.0)
    np.testing.assert_allclose(simulated.y[0, :, 0], np.cos([1.0, 2.0]), atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t": [[0.0, 1.0]] * 3}, r"`t` must have shape \(T,\), or \(n, T\) for n = 2 trajectories, got \(3, 2\)"),
        ({"t": [0.0, 1.0], "start": 0.0}, "`start` must come before every time of `t`, got 0"),
        ({"t": [0.0, 1.0], "start": float("nan")}, "`start` must come before every time of `t`, got nan"),
        ({"t": [[0.0, 1.0], [2.0, 2.0]]}, "`t` must be strictly increasing"),
    ],
)
def test_bad_times_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(HarmonicOscillator(), np.ones((2, 2)), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": "poisson"}, "`times` must be one of: grid, random; got 'poisson'"),
        ({"times": "random", "t": [0.0, 1.0]}, "give either `t` or `t_end`, `points` and `times`, not both"),
        ({"times": "random", "points": 0}, "`points` must be at least 1, got 0"),
        ({"times": "random", "t_end": -1.0}, "`t_end` must be finite and above 0, got -1"),
        ({"vary": 1.0}, r"`vary` must be at least 0 and below 1, got 1\.0"),
        ({"vary": 0.5, "alpha": [1.0, 2.0]}, "`alpha` must be given once, or for each of n = 1 trajectories, got 2"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_lotka_volterra(**arguments)
