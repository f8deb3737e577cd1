from __future__ import annotations

import numpy as np
import pytest

from physode.simulators import simulate_periodic


def test_series_turn_as_often_as_their_frequency_says():
    simulated = simulate_periodic(n=4, times="grid", t_end=100.0, points=4001, noise=0.0)
    spectrum = np.abs(np.fft.rfft(simulated.y[:, :-1, 0]))
    frequencies = np.fft.rfftfreq(4000, 100.0 / 4000)
    np.testing.assert_allclose(frequencies[spectrum.argmax(1)], simulated.params["frequency"], atol=0.01)
    np.testing.assert_allclose(simulated.y[..., 0].max(1), simulated.params["amplitude"], rtol=1e-2)


def test_phase_is_the_angle_at_time_zero():
    simulated = simulate_periodic(n=4, t=[0.0, 1.0], times="grid", noise=0.0)
    amplitude, phase = simulated.params["amplitude"], simulated.params["phase"]
    np.testing.assert_allclose(simulated.y[:, 0, 0], amplitude * np.sin(phase), atol=1e-14)


def test_what_is_drawn_stays_between_its_bounds_and_fills_them():
    params = simulate_periodic(points=2).params
    for name, (low, high) in {"amplitude": (0.5, 1.5), "frequency": (0.2, 0.8), "phase": (0.0, 2 * np.pi)}.items():
        assert params[name].shape == (1000,)
        assert low <= params[name].min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < params[name].max() <= high


def test_series_are_the_same_in_every_bit_among_any_number():
    few, many = simulate_periodic(n=3, seed=7), simulate_periodic(n=40, seed=7)
    for name in ("t", "y", "y_clean"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:3])
    assert not np.array_equal(few.y, simulate_periodic(n=3, seed=8).y)


def test_noise_has_its_standard_deviation_and_the_exact_values_are_kept():
    simulated = simulate_periodic(noise=0.2)
    error = simulated.y - simulated.y_clean
    assert abs(error.std() / 0.2 - 1) < 5 / np.sqrt(2 * error.size)
    assert simulate_periodic(n=2, noise=0.0).y_clean is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "`n` must be at least 1"),
        ({"amplitude": (0.0, 1.0)}, "`amplitude` must be two finite bounds above 0, the lower one first, got 0 and 1"),
        ({"frequency": (1.0, float("inf"))}, "`frequency` must be two finite bounds above 0"),
        ({"noise": -1.0}, "`noise` must be finite and not below 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_periodic(**arguments)
