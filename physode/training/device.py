"""Where a run computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from physode.errors import ConfigError

__all__ = ["own_randomness", "seed_of", "usable"]


def usable(device: str | torch.device) -> torch.device:
    """Return a device that tensors can be made on.

    Raises
    ------
    ConfigError
        If there is no such device here.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"the device {str(device)!r} cannot be used here: {reason}; choose --device cpu") from error


def seed_of(*numbers: int) -> int:
    """Return a seed of its own for every row of numbers, such as a seed and an epoch."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, and give them back as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
