"""Small series that are learnt in a fraction of a second an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from physode.datasets.series import IrregularSeries
from physode.series import SeriesConfig

SMALL = {"latent": 3, "units": (8,), "hidden": 6, "encoder_units": (8,), "method": "rk4", "step": 0.2}


def sines(count=20, points=8, *, seed=0, noise=0.0, channels=2, missing=0.0, t=None):
    """Sines of any phase at random times in [0, 2], in units of their own, as ``(t, y)``."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 2, (count, points))) if t is None else t
    angle = np.pi * t[..., None] + rng.uniform(0, 2 * np.pi, (count, 1, 1)) + np.arange(channels)
    y = 3.0 + 2.0 * np.sin(angle) + noise * rng.standard_normal(angle.shape)
    y[rng.uniform(size=y.shape) < missing] = np.nan
    return t, y


def make_series(*args, **options):
    return IrregularSeries.of_arrays(*sines(*args, **options))


def make_config(**settings):
    """Settings of a small model and training; a recurrent model has no use for those of a latent path."""
    model = settings.get("model", "latent-ode")
    sizes = SMALL if model == "latent-ode" else {"hidden": 6}
    return SeriesConfig(**{**sizes, "epochs": 3, "batch": 8, **settings})


@pytest.fixture
def sines_of():
    return sines


@pytest.fixture
def series_of():
    return make_series


@pytest.fixture
def config_of():
    return make_config
