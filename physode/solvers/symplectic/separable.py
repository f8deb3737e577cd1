"""Positions and momenta: which half of a state is which, and the right-hand side's part for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from physode.autograd import plain
from physode.problem.packing import Packing
from physode.rhs_state import Statistics
from physode.solvers.clock import Number
from physode.solvers.runge_kutta import Rhs

__all__ = ["check_halves", "force_of", "parts_of", "require_halves", "velocity_of"]

_PUSH = 1e-2  # of a half, to see that the other half's derivative does not notice
_NOTICED = 1e3  # roundings

Part = Callable[..., Tensor]


class PackedRhs(Protocol):
    """What is asked of a right-hand side: the user's function, how states are packed, evaluations of a half."""

    @property
    def f(self) -> Callable[..., Any]:
        """The user's function."""

    @property
    def packing(self) -> Packing:
        """How states are packed."""

    def __call__(self, t: Number, y: Tensor) -> Tensor:
        """Return dy/dt, packed."""

    def first(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate once and check what comes of it."""

    def part(self, part: Part, t: Number, q: Tensor, p: Tensor, *, force: bool) -> Tensor:
        """Return a half of dy/dt that is a function of its own."""


def parts_of(rhs: Rhs | PackedRhs) -> tuple[Part, Part] | None:
    """Return ``velocity(t, p, *args)`` and ``force(t, q, *args)`` of a right-hand side that calls itself separable."""
    f = getattr(rhs, "f", None)
    if not hasattr(rhs, "part") or getattr(f, "separable", None) is not True:
        return None
    return f.velocity, f.force  # type: ignore[union-attr]


def velocity_of(rhs: Rhs | PackedRhs, t: Number, q: Tensor, p: Tensor) -> Tensor:
    """Return dq/dt, which the momenta decide."""
    parts = parts_of(rhs)
    if parts is None:
        return rhs(t, torch.cat((q, p), -1))[..., : q.shape[-1]]
    return rhs.part(parts[0], t, q, p, force=False)  # type: ignore[union-attr]


def force_of(rhs: Rhs | PackedRhs, t: Number, q: Tensor, p: Tensor) -> Tensor:
    """Return dp/dt, which the positions decide."""
    parts = parts_of(rhs)
    if parts is None:
        return rhs(t, torch.cat((q, p), -1))[..., q.shape[-1] :]
    return rhs.part(parts[1], t, q, p, force=True)  # type: ignore[union-attr]


def check_halves(name: str, rhs: PackedRhs, t: Tensor, y: Tensor, statistics: Statistics) -> None:
    """Check that a state has two halves, and, beside its start, that neither acts on its own derivative.

    Both halves are pushed first: at rest, or at the origin, what depends on both may vanish.

    Raises
    ------
    ValueError
        If the halves are unknown, or the force depends on momenta, or the velocity on positions.
    """
    require_halves(name, rhs, y)
    with torch.no_grad(), statistics.preserved():
        rhs.first(t, y)
        q, p = torch.split(y, y.shape[-1] // 2, -1)
        q, p = _pushed(q, p), _pushed(p, q)
        velocity, force = torch.split(rhs(t, torch.cat((q, p), -1)), q.shape[-1], -1)
        pushed = velocity_of(rhs, t, _pushed(q, p), p), force_of(rhs, t, q, _pushed(p, q))
    for what, cause, before, after in (
        ("velocity", "positions", velocity, pushed[0]),
        ("force", "velocities", force, pushed[1]),
    ):
        change = float(plain(after - before).abs().max()) if before.numel() else 0.0  # NaN where a push left f's domain
        if change > _NOTICED * torch.finfo(before.dtype).eps * float(plain(before).abs().max()):
            raise ValueError(
                f"`method` {name!r} needs a force that depends on positions and a velocity that depends on momenta "
                f"only; other {cause} changed the {what} by {change:.3g} near y0: use method='dopri8' or 'alf'"
            )


def require_halves(name: str, rhs: PackedRhs, y: Tensor) -> None:
    """Check that a state has two halves; raise ``ValueError`` if they are unknown."""
    if not _has_halves(rhs, y):
        if getattr(rhs.f, "separable", None) is False:
            raise ValueError(
                f"`method` {name!r} needs kicks and drifts of their own: {type(rhs.f).__name__}(..., separable=True) "
                "if the energy is T(p) + V(q), else method='alf' or 'gl4'"
            )
        raise ValueError(
            f"`method` {name!r} must know positions from velocities: give `y0` as a pair (q, p) of one shape, or an "
            f"`f` that says so, as rhs.NBody, rhs.Hamiltonian and rhs.SecondOrder do; got {_described(rhs)}"
        )


def _has_halves(rhs: PackedRhs, y: Tensor) -> bool:
    packing = rhs.packing
    if packing.keys is not None:
        return len(packing.shapes) == 2 and packing.shapes[0] == packing.shapes[1]
    if y.ndim == int(packing.per_sample) or y.shape[-1] % 2:
        return False
    columns = getattr(rhs.f, "columns", ())
    named = tuple(columns[: len(columns) // 2]) == tuple(getattr(rhs.f, "kinematic", ())) != ()
    return parts_of(rhs) is not None or named


def _pushed(half: Tensor, other: Tensor) -> Tensor:
    """Push a half by a share of its size; one that vanishes by a share of the other's, or of 1."""
    size = half.abs().mean()
    for stand_in in (other.abs().mean(), torch.ones_like(size)):
        size = torch.where(size > 0, size, stand_in)
    return half + _PUSH * (half.abs() + size)


def _described(rhs: PackedRhs) -> str:
    shapes = ", ".join(str(tuple(shape)) for shape in rhs.packing.shapes)
    kind = "one tensor" if rhs.packing.keys is None else f"parts of shapes {shapes}"
    return f"{kind} and {getattr(rhs.f, '__name__', type(rhs.f).__name__)}"
