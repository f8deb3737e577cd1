"""In which directions a program's numbers move: their derivatives by parameters that they are computed from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from physode.fused.inputs import Source, sample_rows
from physode.fused.lowering import Lowered
from physode.fused.unsupported import Unsupported

__all__ = ["Moving", "Seeds", "find_seeds"]

_MOST_SLOTS = 2048  # numbers with tangents


class Moving(NamedTuple):
    """Which of the shared numbers, and of each sample's own, have tangents."""

    shared: tuple[int, ...]
    sample: tuple[int, ...]


class Seeds(NamedTuple):
    """Tangents of numbers.

    Attributes
    ----------
    moving
        Which numbers.
    tangents
        ``(samples, columns, numbers)``, or ``(1, columns, numbers)`` where all samples have the same.
    """

    moving: Moving
    tangents: Tensor


def find_seeds(
    lowered: Lowered, inputs: Sequence[Tensor], parameters: Sequence[Tensor], *, own: bool, like: Tensor
) -> Seeds:
    """Return the derivatives of a program's numbers by parameters.

    Parameters
    ----------
    lowered
        The program.
    inputs
        What it takes, with graphs back to the parameters.
    parameters
        Tensors that require gradients.
    own
        Whether these have one row a sample: derivatives are then by each sample's own row.
    like
        A tensor of the states' precision and device, of as many rows as there are samples.

    Raises
    ------
    Unsupported
        If too many numbers move, these cannot be differentiated twice, or what samples share depends on one sample's
        own.
    """
    basis = _basis(parameters, own=own)
    shared: list[tuple[Source, Tensor]] = []
    sample: list[tuple[Source, Tensor]] = []
    for sources, moved in ((lowered.shared, shared), (lowered.sample, sample)):
        for source in sources:
            directions = _directions(inputs[source.input], parameters, basis)
            if directions is not None:
                moved.append((source, directions))
    if own and shared and len(like) > 1:
        raise Unsupported("what samples share depends on parameters that each has for itself")
    moving = Moving(*(tuple(x for source, _ in part for x in _slots(source)) for part in (shared, sample)))
    if sum(map(len, moving)) > _MOST_SLOTS:
        raise Unsupported(f"sensitivities of {sum(map(len, moving))} numbers are not fused")
    columns = len(basis)
    parts = [directions.reshape(1, columns, -1) for _, directions in shared]
    for source, directions in sample:
        rows = [sample_rows(source, column.reshape(inputs[source.input].shape)) for column in directions]
        parts.append(torch.stack(rows, 1) if rows else like.new_empty(len(like), 0, source.size))
    samples = len(like) if sample else 1
    parts = [part.to(like.dtype).expand(samples, -1, -1) for part in parts]
    return Seeds(moving, torch.cat([*parts, like.new_empty(samples, columns, 0)], -1).contiguous())


def _slots(source: Source) -> range:
    return range(source.offset, source.offset + source.size)


def _basis(parameters: Sequence[Tensor], *, own: bool) -> Tensor:
    """Return the directions, ``(columns, elements of all parameters)``: each element alone, or in all samples' rows."""
    if not own:
        count = sum(parameter.numel() for parameter in parameters)
        return torch.eye(count, dtype=torch.float64)
    sizes = [math.prod(parameter.shape[1:]) for parameter in parameters]
    columns = torch.eye(sum(sizes), dtype=torch.float64)
    parts = _split(columns, sizes)
    rows = [
        part.unsqueeze(1).expand(-1, len(parameter), -1).flatten(1)
        for part, parameter in zip(parts, parameters, strict=True)
    ]
    return torch.cat([*rows, columns[:, :0]], 1)


def _directions(x: Tensor, parameters: Sequence[Tensor], basis: Tensor) -> Tensor | None:
    """Return the derivatives of a tensor in some directions, ``(columns, elements)``; None where it does not move.

    The transpose of the pass back, which is linear in what is pulled back, is the pass forward.
    """
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, part in zip(parameters, _split(basis, sizes), strict=True):
        if x is parameter:
            return part.to(x.dtype)
    if not x.requires_grad:
        return None
    with torch.enable_grad():
        cotangent = torch.zeros_like(x, requires_grad=True)
        try:
            pulled = torch.autograd.grad(
                x, parameters, cotangent, create_graph=True, retain_graph=True, allow_unused=True
            )
        except RuntimeError as error:
            raise Unsupported(f"its numbers cannot be differentiated by the parameters: {error}") from error
    if all(part is None for part in pulled):
        return None
    rows = [
        part.new_zeros(len(basis), x.numel())
        if moved is None or not moved.requires_grad
        else _transposed(moved, cotangent, directions.to(moved.dtype).reshape(-1, *moved.shape))
        for part, moved, directions in zip(parameters, pulled, _split(basis, sizes), strict=True)
    ]
    total: Tensor = torch.stack([row.to(x.dtype) for row in rows]).sum(0)
    return total


def _split(basis: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = torch.split(basis, list(sizes), 1)
    return parts


def _transposed(moved: Tensor, cotangent: Tensor, directions: Tensor) -> Tensor:
    """Return ``directions @ d(moved)/d(cotangent)``, (columns, elements)."""

    def product(direction: Tensor, *, batched: bool) -> Tensor:
        (column,) = torch.autograd.grad(
            moved, cotangent, direction, retain_graph=True, is_grads_batched=batched, allow_unused=True,
            materialize_grads=True,
        )  # fmt: skip
        return column

    try:
        try:
            return product(directions, batched=True).reshape(len(directions), -1)
        except RuntimeError:  # of what cannot be mapped
            return torch.stack([product(direction, batched=False).flatten() for direction in directions])
    except RuntimeError as error:
        raise Unsupported(f"its numbers cannot be differentiated by the parameters: {error}") from error
