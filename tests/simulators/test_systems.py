from __future__ import annotations

import numpy as np
import pytest

from physode.rhs import SYSTEMS, Lorenz, Pendulum, ThreeBody
from physode.simulators import BOXES, simulate_in_box, simulate_van_der_pol


@pytest.mark.parametrize("name", BOXES)
def test_every_box_fits_its_system_and_starts_inside(name):
    simulated = simulate_in_box(SYSTEMS[name](), n=3, t_end=0.5, points=4)
    low, high = np.array(BOXES[name].bounds).T
    assert simulated.y.shape == (3, 4, len(simulated.columns))
    assert (simulated.y[:, 0] >= low).all()
    assert (simulated.y[:, 0] <= high).all()
    assert not simulated.attrs["failures"]


def test_default_times_are_the_boxs():
    simulated = simulate_in_box(Pendulum())
    assert (simulated.t[-1], len(simulated.t)) == (BOXES["pendulum"].t_end, BOXES["pendulum"].points)


def test_given_states_are_used():
    simulated = simulate_in_box(Lorenz(), n=2, y0=[1.0, 2.0, 3.0], t=[0.0, 0.1])
    assert simulated.y[:, 0].tolist() == [[1.0, 2.0, 3.0]] * 2


def test_a_system_without_a_box_is_refused():
    with pytest.raises(ValueError, match="`system` must be one of: lorenz, lotka_volterra, harmonic_oscillator"):
        simulate_in_box(ThreeBody([1.0, 1.0, 1.0]))


def test_van_der_pol_preset_is_the_papers_form():
    simulated = simulate_van_der_pol(preset="aca", points=11)
    assert simulated.y[0, 0].tolist() == [2.0, 0.0]
    assert simulated.attrs["rhs"] == {"mu": 1.0, "threshold": 0.15}
    assert (simulated.t[-1], len(simulated.t)) == (25.0, 11)


def test_van_der_pol_settles_on_an_amplitude_of_two():
    simulated = simulate_van_der_pol(n=4, mu=0.1, t_end=100.0, points=2000)
    assert np.abs(simulated.y[:, 1500:, 0]).max(1) == pytest.approx(2.0, abs=0.02)


def test_van_der_pol_takes_one_mu_a_trajectory():
    simulated = simulate_van_der_pol(n=2, mu=[0.5, 2.0], t_end=1.0, points=3)
    assert simulated.params["mu"].tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "`n` must be at least 1"),
        ({"mu": float("inf")}, "`mu` must be finite"),
        ({"n": 3, "mu": [1.0, 2.0]}, "`mu` must be given once, or for each of n = 3 trajectories, got 2"),
        ({"n": 1, "mu": [1.0, 2.0]}, "`mu` must be given once, or for each of n = 1 trajectories, got 2"),
        ({"preset": "stiff"}, "`preset` of van_der_pol must be one of: aca, classic, relaxation"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_van_der_pol(**arguments)
