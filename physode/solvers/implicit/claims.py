"""What users say of df/dy, held against the right-hand side where a solve starts."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from physode.solvers.implicit.band import Band
from physode.solvers.implicit.blocks import Blocks, blocks_of
from physode.solvers.implicit.jacobian import derivatives
from physode.solvers.implicit.recorded import with_graph
from physode.solvers.implicit.structure import Structure
from physode.transforms import transformed

__all__ = ["check_claims"]

_OFF = {torch.float64: 1e-6, torch.float32: 1e-3}
_COARSE = 1e-1  # in half precision
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

    def pulled(rows: Tensor) -> Tensor | None:
        """Return the pull-back of a cotangent ``(blocks, D)``; None where there is none."""

        def pull() -> Tensor | None:
            place = state.clone().requires_grad_()
            value = dynamics(time, place)
            if value.shape != state.shape or value.dtype != state.dtype or not value.requires_grad:
                return None
            return torch.autograd.grad(value, [place], blocks.join(rows), materialize_grads=True)[0]

        found = with_graph(pull)
        return None if found is None else blocks.split(found)

    parts = torch.arange(2.0, 2.0 + blocks.number * blocks.dimension, dtype=torch.float64, device=y.device)
    v = (torch.cos(parts**2) + 1.5).reshape(blocks.number, -1).to(state.real.dtype)
    right = pulled(v)
    if right is None:
        return
    with torch.no_grad():
        matrix = derivatives(dynamics, time, state, blocks).by_state
        claimed = matrix.pulled(v) if isinstance(matrix, Band) else (v.unsqueeze(-1) * matrix).sum(1)
        difference = (claimed - right).abs()
    size = right.abs().max().clamp(min=torch.finfo(right.dtype).tiny)
    off, allowed = float(difference.max() / size), _OFF.get(right.dtype, _COARSE)
    if own:
        allowed = _COARSE if torch.is_autocast_enabled(y.device.type) else max(allowed, _OFF_OF_OWN)
        if off > allowed:
            warnings.warn(
                f"`jac` is off by {off:.1g} of df/dy where the solve starts: steps may be many and gradients wrong; "
                "correct it, or leave it out",
                RuntimeWarning,
                stacklevel=4,
            )
        return
    if off > allowed:
        block, column = divmod(int(difference.argmax()), blocks.dimension)
        outside = pulled(torch.where(_inside(dynamics.structure, blocks, block, column, v), 0.0, v))
        if outside is not None and float(outside[block, column].abs() / size) > allowed:
            raise ValueError(
                f"`jac_structure` {hint!r} does not hold where the solve starts: df/dy has entries outside of it; "
                "widen it, or leave it out"
            )


def _inside(structure: Structure, blocks: Blocks, block: int, column: int, like: Tensor) -> Tensor:
    """Return which rows a column may have entries in.

    The others' pull-back is 0 if they have none: exactly so, in whatever precision the right-hand side computes.
    """
    known = structure.of_pairs() if blocks.complex else structure
    inside = torch.zeros_like(like, dtype=torch.bool)
    if known.kind in ("diagonal", "banded"):
        inside[block, max(column - known.upper, 0) : column + known.lower + 1] = True
    else:
        inside[block] = True
    return inside
