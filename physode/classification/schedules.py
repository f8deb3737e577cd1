r"""Learning rates as functions of the share of the training that is over, :math:`s \in [0, 1)`."""

from __future__ import annotations

import math

from physode.classification.config import TrainConfig

__all__ = ["learning_rate"]

_RISE, _FIRST, _LAST = 0.3, 25.0, 1e4


def learning_rate(config: TrainConfig, share: float) -> float:
    """Return the learning rate of a training that is over to `share`."""
    return _one_cycle(config, share) if config.schedule == "one-cycle" else _step(config, share)


def _step(config: TrainConfig, share: float) -> float:
    # Half an update's rounding must not move a milestone.
    return config.lr * config.decay ** sum(share >= milestone - 1e-9 for milestone in config.milestones)


def _one_cycle(config: TrainConfig, share: float) -> float:
    first = config.lr / _FIRST
    if share < _RISE:
        return _cosine(first, config.lr, share / _RISE)
    return _cosine(config.lr, first / _LAST, (share - _RISE) / (1 - _RISE))


def _cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
