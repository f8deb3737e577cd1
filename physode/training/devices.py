"""Where a run computes."""

from __future__ import annotations

import torch

from physode.errors import ConfigError

__all__ = ["usable"]


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
