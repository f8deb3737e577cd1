"""Pull-backs: cotangents of a solve's outputs carried back to its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Cotangents", "Gradients", "Steps", "add", "pull"]


class Steps(NamedTuple):
    """Successive accepted steps: the states between them, of which the last is not needed, starts and signed sizes.

    ``ends``: where steps ended in the solve, to hold their replays against, as far as that is known.
    """

    nodes: Sequence[Tensor]
    starts: Tensor
    sizes: Tensor
    ends: Mapping[int, Tensor] = MappingProxyType({})


class Cotangents(NamedTuple):
    """dL/d(states) by node and dL/d(interpolant coefficients) by step, of those that outputs read."""

    nodes: Mapping[int, Tensor]
    dense: Mapping[int, Tensor]


class Gradients(NamedTuple):
    """dL/d(starts), dL/d(sizes), dL/d(initial state), dL/d(inputs)."""

    starts: Tensor | None
    sizes: Tensor | None
    state: Tensor
    inputs: list[Tensor | None]


def pull(
    outputs: Tensor | Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor], *, keep: bool
) -> tuple[Tensor | None, ...]:
    """Return the vector-Jacobian products; None for inputs that need none or have no part in the outputs."""
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    if not wanted:
        return (None,) * len(inputs)
    pulled = iter(torch.autograd.grad(outputs, wanted, cotangents, retain_graph=keep, allow_unused=True))
    return tuple(next(pulled) if tensor.requires_grad else None for tensor in inputs)


def add(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    """Return the sum, None standing for zero."""
    if total is None or part is None:
        return part if total is None else total
    return total + part
