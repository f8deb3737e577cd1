r"""Learning rates as functions of the share of the training that is over, :math:`s \in [0, 1)`."""

from __future__ import annotations

from physode.images.config import TrainConfig
from physode.training.rates import one_cycle

__all__ = ["learning_rate"]


def learning_rate(config: TrainConfig, share: float) -> float:
    """Return the learning rate of a training that is over to `share`."""
    return one_cycle(config.lr, share) if config.schedule == "one-cycle" else _step(config, share)


def _step(config: TrainConfig, share: float) -> float:
    # Half an update's rounding must not move a milestone.
    return config.lr * config.decay ** sum(share >= milestone - 1e-9 for milestone in config.milestones)
