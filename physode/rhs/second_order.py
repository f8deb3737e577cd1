"""Motion by an acceleration: one's own force, in the form that symplectic methods use best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SecondOrder", "halves", "joined"]


class SecondOrder(nn.Module):
    r"""Motion under an acceleration that depends on positions alone.

    .. math:: \dot q = v, \qquad \dot v = a(t, q)

    Parameters
    ----------
    acceleration
        ``acceleration(t, q, *args)``, shaped like ``q``: a module or any callable in PyTorch.

    Notes
    -----
    The state is a pair (q, v) of tensors of one shape, or one tensor (..., 2 D) with q in the first half of its last
    axis. Further arguments come from ``solve``'s ``args``.
    """

    separable = True

    def __init__(self, acceleration: Callable[..., Tensor]) -> None:
        super().__init__()
        self.acceleration = acceleration

    def velocity(self, t: Tensor, p: Tensor, *args: Any) -> Tensor:
        """Return dq/dt, which is the velocity itself."""
        return p

    def force(self, t: Tensor, q: Tensor, *args: Any) -> Tensor:
        """Return dv/dt."""
        return self.acceleration(t, q, *args)

    def forward(self, t: Tensor, y: Any, *args: Any) -> Any:
        """Return dy/dt, in the structure of ``y``."""
        q, v = halves(y)
        return joined(y, self.velocity(t, v, *args), self.force(t, q, *args))


def halves(y: Any) -> tuple[Tensor, Tensor]:
    """Return positions and momenta of a pair (tuple, list or dict), or of the two halves of a tensor's last axis.

    Raises
    ------
    ValueError
        If there are no two halves.
    """
    if isinstance(y, Tensor):
        if y.ndim == 0 or y.shape[-1] % 2:
            raise ValueError(f"`y` must have positions and momenta along its last axis, got the shape {tuple(y.shape)}")
        q, p = torch.split(y, y.shape[-1] // 2, -1)
        return q, p
    parts = list(y.values()) if isinstance(y, dict) else list(y)
    if len(parts) != 2:
        raise ValueError(f"`y` must be a pair of positions and momenta, got {len(parts)} parts")
    return parts[0], parts[1]


def joined(y: Any, q: Tensor, p: Tensor) -> Any:
    """Return a pair in the structure of ``y``."""
    if isinstance(y, Tensor):
        return torch.cat((q, p), -1)
    if isinstance(y, dict):
        return dict(zip(y, (q, p), strict=True))
    return type(y)(q, p) if hasattr(y, "_fields") else type(y)((q, p))
