r"""The derivatives of a right-hand side that implicit methods need: :math:`J = \partial f / \partial y`, and
:math:`\partial f / \partial t`.

Rows of J are pull-backs, made in one batch: as many as a block has components, or as the width of its band. They are
differentiable in turn. A right-hand side that couples everything on one clock has one block, the whole state: large
states need a clock for each sample (``step_control="per-sample"``) or a structure that is known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.solvers.implicit.blocks import Blocks
from physode.solvers.implicit.linear import transformed
from physode.solvers.implicit.structure import DENSE, Structure
from physode.solvers.numbers import Number

__all__ = ["Derivatives", "derivatives", "structure_for"]

_LARGEST = 2**28  # entries of all blocks' matrices together: 2 GB in double precision


class Derivatives(NamedTuple):
    """J, ``(blocks, D, D)``, and df/dt, ``(blocks, D)``, where it was asked for."""

    by_state: Tensor
    by_time: Tensor | None


def structure_for(rhs: Any) -> Structure:
    """Return what is known of a right-hand side's Jacobian."""
    found = getattr(rhs, "structure", DENSE)
    return found if isinstance(found, Structure) else DENSE


def derivatives(rhs: Any, t: Number, y: Tensor, blocks: Blocks, *, with_time: bool = False) -> Derivatives:
    """Differentiate a right-hand side at one point.

    Parameters
    ----------
    rhs
        Called as ``rhs(t, y)``, a :class:`~physode.dynamics.Dynamics` or a plain function. Of the former the user's
        Jacobian is taken where there is one, and its ``structure`` is believed; where it is ``opaque`` only plain
        autograd differentiates it.
    t, y
        The time, one value a group, and the state.
    blocks
        The state's blocks.
    with_time
        Whether df/dt is asked for.

    Raises
    ------
    ValueError
        If the state is complex, its matrices would not fit into memory, or the user's Jacobian has the wrong shape.
    """
    _check(y, blocks)
    time = t if isinstance(t, Tensor) else torch.full((), t, dtype=torch.float64, device=y.device)
    if getattr(rhs, "jac", None) is not None:
        matrix = _own(rhs.jacobian(time, y), blocks, y)
        return Derivatives(matrix, _by_time(rhs, time, y, blocks) if with_time else None)
    structure = structure_for(rhs)
    rows = structure.cotangents(blocks.dimension, y)
    rows = rows[:, None].expand(-1, blocks.number, -1).reshape(-1, *blocks.shape)
    aligned = with_time and rows.shape[0] == blocks.dimension and time.numel() == blocks.number
    pulled, slopes = _pulled(rhs, time, y, rows, aligned)
    by_state = structure.spread(pulled.reshape(len(rows), blocks.number, blocks.dimension))
    if not with_time:
        return Derivatives(by_state, None)
    if slopes is not None:
        return Derivatives(by_state, slopes.reshape(len(rows), blocks.number).T.to(y.dtype))
    return Derivatives(by_state, _by_time(rhs, time, y, blocks))


def _check(y: Tensor, blocks: Blocks) -> None:
    if y.is_complex():
        raise ValueError(f"implicit methods need a real state, got {y.dtype}; give real and imaginary parts")
    if blocks.number * blocks.dimension**2 > _LARGEST:
        raise ValueError(
            f"the Jacobian of {blocks.number} block(s) of {blocks.dimension} components is too large; use "
            "step_control='per-sample' or jac_structure='samples' for batches of small states, or an explicit method"
        )


def _pulled(rhs: Any, time: Tensor, y: Tensor, rows: Tensor, with_time: bool) -> tuple[Tensor, Tensor | None]:
    """Pull cotangents ``(products, *state)`` back to the state and, if asked, the time."""
    if not getattr(rhs, "opaque", False):
        try:
            return _by_func(rhs, time, y, rows, with_time)
        except (
            RuntimeError
        ):  # custom autograd functions and autograd inside f are refused; plain autograd may take them
            if transformed(y):  # inside a transform plain autograd is not to be used
                raise
    return _by_autograd(rhs, time, y, rows, with_time)


def _by_func(rhs: Any, time: Tensor, y: Tensor, rows: Tensor, with_time: bool) -> tuple[Tensor, Tensor | None]:
    if with_time:
        pull = torch.func.vjp(lambda y, t: rhs(t, y), y, time)[1]
        by_state, by_time = torch.func.vmap(pull)(rows)
        return by_state, by_time
    pull = torch.func.vjp(lambda y: rhs(time, y), y)[1]
    return torch.func.vmap(pull)(rows)[0], None


def _by_autograd(rhs: Any, time: Tensor, y: Tensor, rows: Tensor, with_time: bool) -> tuple[Tensor, Tensor | None]:
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        places = [part if keep and part.requires_grad else part.detach().requires_grad_() for part in (y, time)]
        value = rhs(places[1], places[0])
        wanted = places if with_time else places[:1]
        if not value.requires_grad:
            found: list[Tensor | None] = [None] * len(wanted)
        else:
            found = list(_batched_pull(value, wanted, rows, create_graph=keep))
    by_state = torch.zeros_like(rows) if found[0] is None else found[0]
    if not with_time:
        return by_state, None
    return by_state, rows.new_zeros(len(rows), *time.shape) if found[1] is None else found[1]


def _batched_pull(value: Tensor, wanted: list[Tensor], rows: Tensor, *, create_graph: bool) -> Any:
    options: dict[str, Any] = {"retain_graph": True, "create_graph": create_graph, "allow_unused": True}
    try:
        return torch.autograd.grad(value, wanted, rows, is_grads_batched=True, **options)
    except RuntimeError:  # a backward pass that cannot be mapped over: row by row
        each = [torch.autograd.grad(value, wanted, row, **options) for row in rows]
        return [None if parts[0] is None else torch.stack(parts) for parts in zip(*each, strict=True)]


def _by_time(rhs: Any, time: Tensor, y: Tensor, blocks: Blocks) -> Tensor:
    r"""Return df/dt, ``(blocks, D)``: the pull-back of the pull-back :math:`v \mapsto v^\top f_t`, which is linear."""
    zero = torch.zeros_like(y)
    if not getattr(rhs, "opaque", False):
        try:
            pull = torch.func.vjp(lambda t: rhs(t, y), time)[1]
            again = torch.func.vjp(lambda v: pull(v)[0], zero)[1]
            return blocks.split(again(torch.ones_like(time))[0].to(y.dtype))
        except RuntimeError:
            if transformed(y):
                raise
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        moment = time if keep and time.requires_grad else time.detach().requires_grad_()
        value = rhs(moment, y)
        if not value.requires_grad:
            return blocks.split(zero)
        ahead = zero.clone().requires_grad_()
        (pulled,) = torch.autograd.grad(value, [moment], ahead, create_graph=True, materialize_grads=True)
        if pulled.grad_fn is None:
            return blocks.split(zero)
        (slope,) = torch.autograd.grad(pulled.sum(), [ahead], create_graph=keep)
    return blocks.split(slope)


def _own(matrix: Any, blocks: Blocks, y: Tensor) -> Tensor:
    """Return the user's Jacobian as ``(blocks, D, D)``."""
    size, count = blocks.dimension, blocks.number
    allowed = [(count, size, size)] if count != 1 else [(size, size), (1, size, size)]
    if not isinstance(matrix, Tensor) or tuple(matrix.shape) not in allowed:
        got = tuple(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(f"`jac` must return a tensor of the shape {' or '.join(map(str, allowed))}, got {got}")
    return matrix.reshape(count, size, size).to(y.dtype)
