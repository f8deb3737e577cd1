"""Small models of series, and series whose values depend on a seed only."""

from __future__ import annotations

import pytest
import torch

from physode.models import Solver, build_series_model
from physode.models.latent_ode import Posterior
from physode.models.observations import Points

SIZES = {
    "latent-ode": {"latent": 3, "units": (6,), "hidden": 5, "encoder_units": (6,)},
    "ode-rnn": {"hidden": 5, "units": (6,)},
    "rnn": {"hidden": 5},
    "gru": {"hidden": 5},
    "gru-d": {"hidden": 5},
}


def make_points(batch=4, places=6, channels=2, *, seed=0, missing=0.3, single=False):
    """Series at random times in [0, 1] of which some channels are missing, no place all of them."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(batch, places, generator=generator, dtype=torch.float64).sort(1).values
    x = torch.randn(batch, places, channels, generator=generator, dtype=torch.float64)
    mask = torch.rand(batch, places, channels, generator=generator) >= missing
    mask[..., 0] |= ~mask.any(-1)
    if single:
        mask[0, 1:] = False  # a series of one point
    return Points(t, torch.where(mask, x, 0.0), mask)


def make_model(name, channels=2, *, seed=3, spread=0.4, **options):
    """A model whose right-hand sides are far from 0, so that whatever moves its states is seen."""
    torch.manual_seed(seed)
    if name == "latent-ode" and "solver" not in options:
        options["solver"] = Solver("dopri5", rtol=1e-6, atol=1e-8)
    model = build_series_model(name, channels, **{**SIZES[name], **options})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return model


@pytest.fixture
def points_of():
    return make_points


@pytest.fixture
def model_of():
    return make_model


@pytest.fixture
def fixed_draws(monkeypatch):
    """Draws of the initial state that are the same for every series, whatever its batch."""

    def draw(self, count):
        noise = torch.randn(count, 1, self.mean.shape[1], generator=torch.Generator().manual_seed(5))
        return self.mean + self.log_sigma.exp() * noise.to(self.mean)

    monkeypatch.setattr(Posterior, "draw", draw)
