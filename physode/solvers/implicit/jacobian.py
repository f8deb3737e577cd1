r"""The derivatives of a right-hand side that implicit methods need: :math:`J = \partial f / \partial y`, and
:math:`\partial f / \partial t`.

Rows of J are pull-backs of one evaluation, made in one batch: as many as a block has components, or as the width of its
band. They are differentiable in turn. The same pull-backs show whether the right-hand side depends on time at all.
Plain autograd makes them, at half the cost of ``torch.func``, which is left to solves that are transformed themselves.
A right-hand side that couples everything on one clock has one block, the whole state: large
states need a clock for each sample (``step_control="per-sample"``) or a structure that is known. What users say of it
is held against the right-hand side where a solve starts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from physode.autograd import transformed, with_graph
from physode.solvers.clock import Number
from physode.solvers.implicit.banded import Band
from physode.solvers.implicit.jacobian_structure import DENSE, Blocks, Structure, blocks_of
from physode.solvers.runge_kutta import Rhs

__all__ = ["Derivatives", "check_jacobian", "derivatives", "structure_for"]

_ROW_BY_ROW = 2  # pull-backs that cost less one by one than in a batch
_LARGEST = 2**28  # entries of all blocks' matrices together: 2 GB in double precision
_OFF = {torch.float64: 1e-6, torch.float32: 1e-3}  # of what df/dy is said to be, from what it is
_COARSE = 1e-1  # in half precision
_OFF_OF_OWN = 1e-2  # a user's Jacobian may be one of differences


class KnownRhs(Protocol):
    """A right-hand side of whose Jacobian something may be known, as of the engine's ``Dynamics``."""

    jac: Callable[..., Any] | None
    structure: Structure | None

    def __call__(self, t: Number, y: Tensor) -> Tensor:
        """Return dy/dt."""

    def jacobian(self, t: Number, y: Tensor) -> object:
        """Return what the user's ``jac`` returned."""


class Derivatives(NamedTuple):
    """J, ``(blocks, D, D)`` or a :class:`Band`; df/dt, ``(blocks, D)``, None where it is 0 or not asked for; f where it
    was evaluated.
    """

    by_state: Tensor | Band
    by_time: Tensor | None = None
    value: Tensor | None = None


def structure_for(rhs: Rhs | KnownRhs) -> Structure:
    """Return what is known of a right-hand side's Jacobian."""
    structure = getattr(rhs, "structure", DENSE)
    return structure if isinstance(structure, Structure) else DENSE


def derivatives(rhs: Rhs | KnownRhs, t: Number, y: Tensor, blocks: Blocks, *, with_time: bool = False) -> Derivatives:
    """Differentiate a right-hand side at one point.

    Parameters
    ----------
    rhs
        Called as ``rhs(t, y)``, a ``Dynamics`` or a plain function. Of the former the user's
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
        If the matrices would not fit into memory, or the user's Jacobian has the wrong shape.
    """
    structure = structure_for(rhs).of_pairs() if blocks.complex else structure_for(rhs)
    _check(blocks, structure)
    time = t if isinstance(t, Tensor) else torch.full((), t, dtype=torch.float64, device=y.device)
    if getattr(rhs, "jac", None) is not None:
        matrix = structure.kept(_own(rhs.jacobian(time, y), blocks, y))  # type: ignore[union-attr]
        return Derivatives(matrix, _by_time(rhs, time, y, blocks) if with_time else None)
    rows = structure.cotangents(blocks.dimension, y.real if blocks.complex else y)
    count = len(rows)
    rows = blocks.join_each(rows[:, None].expand(-1, blocks.number, -1) if blocks.number > 1 else rows)
    value, pulled, slopes = _pulled(rhs, time, y, rows, with_time)
    by_state = structure.spread(blocks.split_each(pulled))
    if slopes is None:
        return Derivatives(by_state, None, value)
    if count == blocks.dimension and time.numel() == blocks.number:
        return Derivatives(by_state, slopes.reshape(count, blocks.number).T.to(pulled.real.dtype), value)
    return Derivatives(by_state, _by_time(rhs, time, y, blocks), value)


def _check(blocks: Blocks, structure: Structure) -> None:
    if blocks.number * structure.entries(blocks.dimension) > _LARGEST:
        raise ValueError(
            f"the Jacobian of {blocks.number} block(s) of {blocks.dimension} components is too large; use "
            "step_control='per-sample' or jac_structure='samples' for batches of small states, 'diagonal' or "
            "('banded', lower, upper) where components act on their neighbours only, or an explicit method; "
            "gradient='aca' in place of 'adjoint', which solves for more than the state backwards"
        )


Pulled = tuple[Tensor, Tensor, Tensor | None]
"""The right-hand side's value; cotangents pulled back to the state and to the time, None where it does not count."""


def _pulled(rhs: Rhs | KnownRhs, time: Tensor, y: Tensor, rows: Tensor, with_time: bool) -> Pulled:
    """Pull cotangents ``(products, *state)`` back to the state and, if asked, the time."""
    if _plainly(rhs):
        return _by_autograd(rhs, time, y, rows, with_time)
    if with_time:
        value, pull = _value_and_pull(lambda y, t: rhs(t, y), y, time)
        by_state, by_time = torch.func.vmap(pull)(rows)
        return value, by_state, by_time
    value, pull = _value_and_pull(lambda y: rhs(time, y), y)
    return value, torch.func.vmap(pull)(rows)[0], None


def _value_and_pull(f: Callable[..., Tensor], *places: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    return torch.func.vjp(f, *places)  # type: ignore[return-value]


def _plainly(rhs: Rhs | KnownRhs) -> bool:
    """Whether plain autograd differentiates: where no transform is at work, or the right-hand side refuses them."""
    if getattr(rhs, "opaque", False):
        return True
    return not (transformed() or torch.compiler.is_compiling())


def _by_autograd(rhs: Rhs | KnownRhs, time: Tensor, y: Tensor, rows: Tensor, with_time: bool) -> Pulled:
    keep = torch.is_grad_enabled()
    if keep and not (y.requires_grad or time.requires_grad):
        keep = rhs(time, y).requires_grad  # parameters may be all that there is to differentiate, or nothing

    def pulled() -> tuple[Tensor, list[Tensor | None]]:
        places = [_place(y, y, keep), _place(time, y, keep)] if with_time else [_place(y, y, keep)]
        value = rhs(places[1] if with_time else time, places[0])
        if not (value.requires_grad and len(rows)):
            return value, [None] * len(places)
        return value, _batched_pull(value, places, rows, create_graph=keep)

    value, products = with_graph(pulled)
    if products[0] is None:
        _check_constant(rhs, time, y, value)
    by_state = torch.zeros_like(rows) if products[0] is None else products[0]
    return value if keep else value.detach(), by_state, products[1] if with_time else None


def _check_constant(rhs: Rhs | KnownRhs, time: Tensor, y: Tensor, value: Tensor) -> None:
    """Raise if a value whose graph does not lead to the state depends on it all the same: df/dy would count as 0.

    A component that changes at each of four small moves depends on the state by a slope. One that is read from a table
    or chosen by a condition stays as it is, but for a move that passes a jump: its derivative is 0.
    """
    if not y.numel():
        return
    with torch.no_grad():
        state, middle = y.detach(), value.detach().nan_to_num()
        size, share = state.abs(), torch.finfo(y.dtype).eps ** 0.5
        move = share * torch.where(size > 0, size, size.amax() if bool(size.any()) else 1.0)
        if y.is_complex():
            move = torch.complex(move, move)
        changes: Tensor | None = None
        for sign in (1.0, -1.0):
            before = middle
            for count in (1.0, 2.0):
                after = rhs(time, state + (sign * count) * move).nan_to_num()
                moved = after != before
                changes, before = moved if changes is None else changes & moved, after
                if not bool(changes.any()):
                    return
    raise ValueError(
        "the right-hand side cannot be differentiated (numpy, detach() or no_grad() inside?), which implicit "
        "methods need: compute in torch, or give its derivative as `jac`"
    )


def _place(x: Tensor, y: Tensor, keep: bool) -> Tensor:
    """Return a copy of ``x`` that only this evaluation depends on, to be differentiated with respect to.

    Where the derivative is differentiated in turn, its graph leads back to ``x``, or else to the state, with derivative
    0: a new leaf would look like something that the right-hand side depends on.
    """
    if keep and x.requires_grad:
        return x.view_as(x)
    if keep and y.requires_grad:
        nothing = (y.real if y.is_complex() else y).sum().to(x.dtype)
        return torch.where(torch.zeros_like(x, dtype=torch.bool), nothing, x)
    return x.detach().requires_grad_()


def _batched_pull(value: Tensor, wanted: list[Tensor], rows: Tensor, *, create_graph: bool) -> list[Tensor | None]:
    options: dict[str, Any] = {"retain_graph": True, "create_graph": create_graph, "allow_unused": True}
    if len(rows) > _ROW_BY_ROW:
        try:
            return list(torch.autograd.grad(value, wanted, rows, is_grads_batched=True, **options))
        except RuntimeError:  # a backward pass that cannot be mapped over
            pass
    products = [torch.autograd.grad(value, wanted, row, **options) for row in rows.unbind(0)]
    return [None if parts[0] is None else torch.stack(parts) for parts in zip(*products, strict=True)]


def _by_time(rhs: Rhs | KnownRhs, time: Tensor, y: Tensor, blocks: Blocks) -> Tensor:
    r"""Return df/dt, ``(blocks, D)``: the pull-back of the pull-back :math:`v \mapsto v^\top f_t`, which is linear."""
    zero = torch.zeros_like(y)
    if not _plainly(rhs):
        pull = torch.func.vjp(lambda t: rhs(t, y), time)[1]
        again = torch.func.vjp(lambda v: pull(v)[0], zero)[1]
        return blocks.split(again(torch.ones_like(time))[0].to(y.dtype))
    keep = torch.is_grad_enabled()

    def slope() -> Tensor:
        moment = _place(time, y, keep)
        value = rhs(moment, y)
        if not value.requires_grad:
            return zero
        ahead = torch.zeros_like(y).requires_grad_()
        (pulled,) = torch.autograd.grad(value, [moment], ahead, create_graph=True, materialize_grads=True)
        if pulled.grad_fn is None:
            return zero
        return torch.autograd.grad(pulled.sum(), [ahead], create_graph=keep)[0]

    return blocks.split(with_graph(slope))


def _own(matrix: object, blocks: Blocks, y: Tensor) -> Tensor:
    """Return the user's Jacobian as ``(blocks, D, D)``; a complex one of complex components as that of their parts."""
    size, count = blocks.dimension // (1 + blocks.complex), blocks.number
    allowed = [(count, size, size)] if count != 1 else [(size, size), (1, size, size)]
    if not isinstance(matrix, Tensor) or tuple(matrix.shape) not in allowed:
        got = tuple(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(f"`jac` must return a tensor of the shape {' or '.join(map(str, allowed))}, got {got}")
    if matrix.is_complex() and not blocks.complex:
        raise ValueError(f"`jac` must be real for a real state, got {matrix.dtype}")
    square = matrix.reshape(count, size, size).to(y.dtype)
    if not blocks.complex:
        return square
    turned = torch.stack([torch.view_as_real(square), torch.view_as_real(1j * square)], -1)  # the parts of a z, a i z
    return turned.permute(0, 1, 3, 2, 4).reshape(count, 2 * size, 2 * size)


def check_jacobian(dynamics: KnownRhs, t: Tensor, y: Tensor, hint: object) -> None:
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
    structure = structure_for(dynamics)
    blocks = blocks_of(state, time, structure)

    def pulled(rows: Tensor) -> Tensor | None:
        """Return the pull-back of a cotangent ``(blocks, D)``; None where there is none."""

        def pull() -> Tensor | None:
            leaf = state.clone().requires_grad_()
            value = dynamics(time, leaf)
            if value.shape != state.shape or value.dtype != state.dtype or not value.requires_grad:
                return None
            return torch.autograd.grad(value, [leaf], blocks.join(rows), materialize_grads=True)[0]

        product = with_graph(pull)
        return None if product is None else blocks.split(product)

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
        outside = pulled(torch.where(_rows_allowed(structure, blocks, block, column, v), 0.0, v))
        if outside is not None and float(outside[block, column].abs() / size) > allowed:
            raise ValueError(
                f"`jac_structure` {hint!r} does not hold where the solve starts: df/dy has entries outside of it; "
                "widen it, or leave it out"
            )


def _rows_allowed(structure: Structure, blocks: Blocks, block: int, column: int, like: Tensor) -> Tensor:
    """Return which rows a column may have entries in.

    The others' pull-back is 0 if they have none: exactly so, in whatever precision the right-hand side computes.
    """
    paired = structure.of_pairs() if blocks.complex else structure
    inside = torch.zeros_like(like, dtype=torch.bool)
    if paired.kind in ("diagonal", "banded"):
        inside[block, max(column - paired.upper, 0) : column + paired.lower + 1] = True
    else:
        inside[block] = True
    return inside
