"""What users say of df/dy, held against the right-hand side where a solve starts."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from physode.solvers.implicit.band import Band
from physode.solvers.implicit.blocks import blocks_of
from physode.solvers.implicit.jacobian import derivatives
from physode.transforms import transformed

__all__ = ["check_claims"]

_OFF = {torch.float64: 1e-6, torch.float32: 1e-3}
_OFF_OF_OWN = 1e-2  # a user's Jacobian may be one of differences


def check_claims(dynamics: Any, t: Tensor, y: Tensor, hint: Any) -> None:
    r"""Compare :math:`v^\top J` with the pull-back of :math:`v`, for one :math:`v`.

    With a structure that does not hold, or a wrong Jacobian, steps become tiny and gradients wrong. Entries that are 0
    at the start are not seen; nor is anything inside of ``torch.func``, or where ``f`` cannot be differentiated.

    Parameters
    ----------
    dynamics
        The right-hand side, with the user's Jacobian and structure.
    t, y
        Where the solve starts.
    hint
        The structure as it was given.

    Raises
    ------
    ValueError
        If the structure does not hold.
    """
    own = dynamics.jac is not None
    if not (own or hint != "dense") or not y.numel() or transformed():
        return
    time, state = t.detach(), y.detach()
    blocks = blocks_of(state, time, dynamics.structure)
    with torch.enable_grad():
        place = state.clone().requires_grad_()
        value = dynamics(time, place)
        if value.shape != state.shape or value.dtype != state.dtype or not value.requires_grad:
            return
        parts = torch.arange(2.0, 2.0 + blocks.number * blocks.dimension, dtype=torch.float64, device=y.device)
        v = blocks.join((torch.cos(parts**2) + 1.5).reshape(blocks.number, -1).to(state.real.dtype))
        (pulled,) = torch.autograd.grad(value, [place], v, materialize_grads=True)
    with torch.no_grad():
        matrix = derivatives(dynamics, time, state, blocks).by_state
        rows = blocks.split(v)
        claimed = matrix.pulled(rows) if isinstance(matrix, Band) else (rows.unsqueeze(-1) * matrix).sum(1)
        right = blocks.split(pulled)
    off = float((claimed - right).abs().max() / right.abs().max().clamp(min=torch.finfo(right.dtype).tiny))
    if not own and off > _OFF.get(right.dtype, 1e-1):
        raise ValueError(
            f"`jac_structure` {hint!r} does not hold where the solve starts: df/dy has entries outside of it; "
            "widen it, or leave it out"
        )
    if own and off > _OFF_OF_OWN:
        warnings.warn(
            f"`jac` is off by {off:.1g} of df/dy where the solve starts: steps may be many and gradients wrong; "
            "correct it, or leave it out",
            RuntimeWarning,
            stacklevel=4,
        )
