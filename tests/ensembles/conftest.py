"""An ensemble of predators and prey, with constants, noise and missing values of each member's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from physode.simulators import simulate_lotka_volterra

SIGMA = 0.05


def lotka_volterra(t, x, alpha=1.0, beta=1.0, delta=1.0, gamma=1.0):
    return torch.stack([x[0] * (alpha - beta * x[1]), x[1] * (delta * x[0] - gamma)])


@pytest.fixture(scope="session")
def herds():
    """Eight members; of the third, values are missing, and its last times."""
    data = simulate_lotka_volterra(n=8, vary=0.2, points=31, t_end=6.0, noise=SIGMA, seed=1, rtol=1e-8)
    y = data.y.copy()
    y[2, 5:9, 0], y[2, 25:] = np.nan, np.nan
    return dataclasses.replace(data, y=y)
