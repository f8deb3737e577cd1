"""One explicit Runge-Kutta step as a pure function: stages, local error, interpolant.

Times and step sizes are one value a group (see :mod:`physode.solvers.clock`), floats or tensors
(:mod:`physode.solvers.clock`), kept in float64 whatever the state's dtype; ``h`` is signed. Sums over stages are
chains of elementwise operations, so that the result for a sample does not depend on which other samples are in the
batch, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from physode.autograd import to_keep
from physode.solvers.clock import Number, expand, sized
from physode.solvers.method import Method, StepMethod
from physode.solvers.tableaus.base import Sum, Sums

__all__ = [
    "Rhs",
    "Row",
    "Step",
    "added",
    "coefficients",
    "column",
    "end_derivative",
    "identity",
    "interpolant",
    "local_errors",
    "stage_times",
    "take_step",
]


Rhs = Callable[[Number, Tensor], Tensor]
"""The right-hand side as the engine calls it: the time, a float or float64 one a group, and the packed state."""


class Step(NamedTuple):
    """The result of one step: the state at its end, the stage derivatives, and the end's where the step knows it."""

    y: Tensor
    ks: tuple[Tensor, ...]
    end: Tensor | None = None


Factor = Tensor | float


@lru_cache(maxsize=256)
def _remembered_ratios(sums: Sums, dtype: torch.dtype, device: torch.device) -> tuple[Sequence[Factor], ...]:
    with to_keep():
        return tuple(torch.tensor(one.ratios, dtype=dtype, device=device).unbind(0) for one in sums.each)


def _ratios(sums: Sums, like: Tensor) -> Sequence[Sequence[Factor]]:
    """Return each sum's constants, as tensors, which multiply faster than numbers do; a compiler has them inlined."""
    if torch.compiler.is_compiling():
        return [one.ratios for one in sums.each]
    return _remembered_ratios(sums, like.dtype, like.device)


def _total(one: Sum, ratios: Sequence[Factor], ks: Sequence[Tensor]) -> Tensor:
    """Return a sum over stages, its lead left out."""
    total = ks[one.first]
    for j, value, ratio in zip(one.others, one.ratios, ratios, strict=True):
        if value == 1.0:  # spares a gradient one pass over the state
            total = total + ks[j]
        else:
            total = torch.addcmul(total, ratio, ks[j]) if isinstance(ratio, Tensor) else total + ratio * ks[j]
    return total


def _scaled(values: tuple[float, ...], h: Number, like: Tensor) -> Sequence[Number]:
    """Return ``h * value`` for each value; as tensors in the state's dtype and shaped to broadcast against it."""
    if not isinstance(h, Tensor):
        return [h * value for value in values]
    if torch.compiler.is_compiling():  # numbers are inlined: no table of them in memory
        return [expand((h * value).to(like.dtype), like.ndim) for value in values]
    products = (column(values, h.ndim, torch.float64, h.device) * h).to(like.dtype)
    return expand(products, like.ndim + 1).unbind(0) if h.ndim else products.unbind(0)


def added(y: Tensor, weight: Number, total: Tensor) -> Tensor:
    """Return ``y + weight * total``."""
    return torch.addcmul(y, weight, total) if isinstance(weight, Tensor) else torch.add(y, total, alpha=weight)


def _weighted_sums(sums: Sums, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
    """Return ``h * sum_j row[j] ks[j]`` for each row."""
    parts = zip(_scaled(sums.leads, h, ks[0]), sums.each, _ratios(sums, ks[0]), strict=True)
    return [weight * _total(one, ratios, ks) for weight, one, ratios in parts]


def take_step(rhs: Rhs, tableau: Method, t: Number, y: Tensor, h: Number, k1: Tensor | None = None) -> Step:
    r"""Take one step: :math:`y_{+} = y + h \sum_i b_i k_i`.

    Parameters
    ----------
    rhs, tableau
        The right-hand side and the method.
    t, h
        The step's start and signed size: floats, or float64 tensors, ``()`` or ``(batch,)``.
    y
        The state at ``t``.
    k1
        The derivative at ``(t, y)`` where it is known, else evaluated here.
    """
    if isinstance(tableau, StepMethod):
        return tableau.take(rhs, t, y, h, k1)
    sums = tableau.step_sums
    weights, ratios = _scaled(sums.leads, h, y), _ratios(sums, y)
    times = (*stage_times(tableau.c[1:], t, h), None)
    ks = [rhs(t, y) if k1 is None else k1]
    for time, weight, one, constants in zip(times, weights, sums.each, ratios, strict=True):
        state = added(y, weight, _total(one, constants, ks))
        if time is not None:
            ks.append(rhs(time, state))
    return Step(state, tuple(ks))


def end_derivative(rhs: Rhs, t: Number, h: Number, step: Step) -> Tensor:
    """Return the derivative at the step's end, :math:`k_{+} = f(t + h, y_{+})`."""
    return rhs(t + h, step.y) if step.end is None else step.end


def local_errors(tableau: Method, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
    """Return the local error estimates from the stages, followed by the end's derivative if the method is FSAL."""
    if isinstance(tableau, StepMethod):
        return tableau.local_errors(h, ks)
    return _weighted_sums(tableau.error_sums, h, ks)


def interpolant(rhs: Rhs, tableau: Method, t: Number, y: Tensor, h: Number, step: Step, k_end: Tensor) -> Tensor:
    r"""Return the interpolant's coefficients :math:`F_1, \dots, F_m` of a step, shape ``(m, *y.shape)``.

    The first three are cubic Hermite's, the others are :math:`h \sum_j d_j k_j` over all stages, the extra ones
    included (Hairer, Norsett & Wanner, Sect. II.6); see :mod:`physode.solvers.interpolation` for their basis.
    """
    return torch.stack(coefficients(rhs, tableau, t, y, h, step, k_end))


def coefficients(rhs: Rhs, tableau: Method, t: Number, y: Tensor, h: Number, step: Step, k_end: Tensor) -> list[Tensor]:
    """Return :func:`interpolant`'s coefficients one by one."""
    if isinstance(tableau, StepMethod):
        own = tableau.coefficients(y, step)
        return _hermite(y, h, step, k_end) if own is None else own
    hermite = _hermite(y, h, step, k_end)
    ks = [*step.ks, k_end]
    for c, sums in zip(tableau.c_extra, tableau.extra_sums, strict=True):
        (increment,) = _weighted_sums(sums, h, ks)
        ks.append(rhs(t + c * h, y + increment))
    return hermite + _weighted_sums(tableau.dense_sums, h, ks)


def _hermite(y: Tensor, h: Number, step: Step, k_end: Tensor) -> list[Tensor]:
    """Return the coefficients of the cubic through both ends with the derivatives there."""
    size = sized(h, y)
    change = step.y - y
    first = size * step.ks[0]
    return [change, first - change, 2 * change - first - size * k_end]


Row = tuple[float, ...]


@lru_cache(maxsize=256)
def column(values: Row, ndim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as ``(n, 1, ..., 1)``, with ``ndim`` axes behind the first."""
    with to_keep():
        return expand(torch.tensor(values, dtype=dtype, device=device), ndim + 1)


@lru_cache(maxsize=64)
def identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the identity matrix."""
    with to_keep():
        return torch.eye(size, dtype=dtype, device=device)


def stage_times(nodes: Row, t: Number, h: Number) -> Sequence[Number]:
    """Return the times ``t + c_i h``."""
    if torch.compiler.is_compiling() or not isinstance(t, Tensor):  # a compiler has numbers inlined
        return [node * h + t for node in nodes]
    times: Tensor = column(nodes, t.ndim, torch.float64, t.device) * h + t
    return times.unbind(0)
