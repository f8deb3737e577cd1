"""One explicit Runge-Kutta step as a pure function: stages, local error, interpolant.

Times and step sizes are one value a group (see :mod:`physode.solvers.groups`), kept in float64 whatever the state's
dtype; ``h`` is signed. Sums over stages are chains of elementwise operations, so that the result for a sample does not
depend on which other samples are in the batch, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from physode.solvers.groups import expand
from physode.solvers.tableaus import Tableau

__all__ = ["Rhs", "Step", "end_derivative", "interpolant", "local_errors", "take_step"]

Rhs = Callable[[Tensor, Tensor], Tensor]
"""The right-hand side as the engine calls it: times in float64, one a group, and the packed state."""


class Step(NamedTuple):
    """The result of one step: the state at its end and the stage derivatives."""

    y: Tensor
    ks: tuple[Tensor, ...]


@lru_cache(maxsize=64)
def _constants(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=device)


def _scaled(values: tuple[float, ...], h: Tensor, like: Tensor) -> Sequence[Tensor]:
    """Return ``h * value`` for each value, in the state's dtype and shaped to broadcast against it."""
    if torch.compiler.is_compiling():  # numbers are inlined: no table of them in memory
        return [expand((h * value).to(like.dtype), like.ndim) for value in values]
    constants = _constants(values, h.device)
    products = (expand(constants, h.ndim + 1) * h).to(like.dtype)
    return expand(products, like.ndim + 1).unbind(0) if h.ndim else products.unbind(0)


def _stage_times(nodes: tuple[float, ...], t: Tensor, h: Tensor) -> Sequence[Tensor]:
    if torch.compiler.is_compiling():
        return [node * h + t for node in nodes]
    return (expand(_constants(nodes, t.device), t.ndim + 1) * h + t).unbind(0)


def _combine(weights: Sequence[Tensor], ks: Sequence[Tensor]) -> Tensor:
    total = weights[0] * ks[0]
    for weight, k in zip(weights[1:], ks[1:], strict=True):
        total = torch.addcmul(total, weight, k)
    return total


class _Terms(NamedTuple):
    """The weights of several sums that are not zero: the stages that each sum uses, and all weights in that order."""

    used: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]


def _terms(rows: tuple[tuple[float, ...], ...]) -> _Terms:
    return _sorted_out(rows) if torch.compiler.is_compiling() else _remembered(rows)


def _sorted_out(rows: tuple[tuple[float, ...], ...]) -> _Terms:
    used = tuple(tuple(j for j, weight in enumerate(row) if weight != 0.0) for row in rows)
    return _Terms(used, tuple(row[j] for row, js in zip(rows, used, strict=True) for j in js))


_remembered = lru_cache(maxsize=256)(_sorted_out)


def _weighted_sums(rows: tuple[tuple[float, ...], ...], h: Tensor, ks: Sequence[Tensor]) -> list[Tensor]:
    """Return ``h * sum_j row[j] ks[j]`` for each row."""
    used, values = _terms(rows)
    weights = iter(_scaled(values, h, ks[0]))
    return [_combine([next(weights) for _ in js], [ks[j] for j in js]) for js in used]


def take_step(rhs: Rhs, tableau: Tableau, t: Tensor, y: Tensor, h: Tensor, k1: Tensor | None = None) -> Step:
    r"""Take one step: :math:`y_{+} = y + h \sum_i b_i k_i`.

    Parameters
    ----------
    rhs, tableau
        The right-hand side and the method.
    t, h
        The step's start and signed size, float64, ``()`` or ``(batch,)``.
    y
        The state at ``t``.
    k1
        The derivative at ``(t, y)`` where it is known, else evaluated here.
    """
    used, values = _terms((*tableau.a[1:], tableau.b))
    weights = iter(_scaled(values, h, y))
    times = _stage_times(tableau.c, t, h)
    ks = [rhs(t, y) if k1 is None else k1]
    for js, time in zip(used, (*times[1:], None), strict=True):
        state = y + _combine([next(weights) for _ in js], [ks[j] for j in js])
        if time is not None:
            ks.append(rhs(time, state))
    return Step(state, tuple(ks))


def end_derivative(rhs: Rhs, t: Tensor, h: Tensor, step: Step) -> Tensor:
    """Return the derivative at the step's end, :math:`k_{+} = f(t + h, y_{+})`."""
    return rhs(t + h, step.y)


def local_errors(tableau: Tableau, h: Tensor, ks: Sequence[Tensor]) -> list[Tensor]:
    """Return the local error estimates from the stages, followed by the end's derivative if the method is FSAL."""
    return _weighted_sums(tableau.b_err, h, ks)


def interpolant(rhs: Rhs, tableau: Tableau, t: Tensor, y: Tensor, h: Tensor, step: Step, k_end: Tensor) -> Tensor:
    r"""Return the interpolant's coefficients :math:`F_1, \dots, F_m` of a step, shape ``(m, *y.shape)``.

    The first three are cubic Hermite's, the others are :math:`h \sum_j d_j k_j` over all stages, the extra ones
    included (Hairer, Norsett & Wanner, Sect. II.6); see :mod:`physode.solvers.interpolation` for their basis.
    """
    ks = [*step.ks, k_end]
    for c, row in zip(tableau.c_extra, tableau.a_extra, strict=True):
        (increment,) = _weighted_sums((row,), h, ks)
        ks.append(rhs(t + c * h, y + increment))
    size = expand(h.to(y.dtype), y.ndim)
    change = step.y - y
    first = size * ks[0]
    hermite = [change, first - change, 2 * change - first - size * k_end]
    return torch.stack(hermite + (_weighted_sums(tableau.d, h, ks) if tableau.d else []))
