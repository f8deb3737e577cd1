"""Models of series from settings, and from checkpoints."""

from __future__ import annotations

import torch

from physode.models.series_models import build_series_model
from physode.series.config import SeriesConfig
from physode.series.standardised import Standardised
from physode.training.randomness import own_randomness

__all__ = ["make_model"]


def make_model(config: SeriesConfig, channels: int) -> Standardised:
    """Build a model; the seed alone decides its weights."""
    with own_randomness(config.seed, torch.device("cpu")):
        network = build_series_model(config.model, channels, **config.model_options())
    return Standardised(network, channels)
