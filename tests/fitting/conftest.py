"""Small data that fits take a fraction of a second on."""

from __future__ import annotations

import pytest

from physode.simulators import simulate_three_body, simulate_van_der_pol


@pytest.fixture(scope="session")
def oscillation():
    """Van der Pol with mu = 1, threshold = 0.15, exact, at 60 times."""
    return simulate_van_der_pol(preset="aca", t_end=6.0, points=60)


@pytest.fixture(scope="session")
def bodies():
    """Three bodies of masses 1.1, 1.1, 0.9, exact, at 80 times."""
    return simulate_three_body(preset="aca", t_end=0.4, points=80)
