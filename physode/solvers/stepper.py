"""One explicit Runge-Kutta step as a pure function: stages, local error, interpolant.

Times and step sizes are one value a group (see :mod:`physode.solvers.groups`), floats or tensors
(:mod:`physode.solvers.numbers`), kept in float64 whatever the state's dtype; ``h`` is signed. Sums over stages are
chains of elementwise operations, so that the result for a sample does not depend on which other samples are in the
batch, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from physode.solvers.groups import expand
from physode.solvers.numbers import Number
from physode.solvers.tableaus import Tableau

__all__ = ["Rhs", "Step", "end_derivative", "interpolant", "local_errors", "take_step"]

Rhs = Callable[[Number, Tensor], Tensor]
"""The right-hand side as the engine calls it: the time, a float or float64 one a group, and the packed state."""


class Step(NamedTuple):
    """The result of one step: the state at its end and the stage derivatives."""

    y: Tensor
    ks: tuple[Tensor, ...]


class _Sum(NamedTuple):
    """A weighted sum over stages, ``lead * (ks[first] + sum_j ratios[j] ks[others[j]])``, without weights of 0.

    Only ``lead`` is multiplied by the step size: the rest is the same for every step.
    """

    lead: float
    first: int
    others: tuple[int, ...]
    ratios: tuple[float, ...]

    @classmethod
    def of(cls, row: tuple[float, ...]) -> _Sum:
        """Sort a row of weights out."""
        first, *others = (j for j, weight in enumerate(row) if weight != 0.0)
        return cls(row[first], first, tuple(others), tuple(row[j] / row[first] for j in others))

    def __call__(self, ks: Sequence[Tensor]) -> Tensor:
        """Return the sum over stages, ``lead`` left out."""
        total = ks[self.first]
        for j, ratio in zip(self.others, _factors(self.ratios, total), strict=True):
            total = torch.addcmul(total, ratio, ks[j]) if isinstance(ratio, Tensor) else total + ratio * ks[j]
        return total


Rows = tuple[tuple[float, ...], ...]


def _sums(rows: Rows) -> tuple[_Sum, ...]:
    return tuple(_Sum.of(row) for row in rows) if torch.compiler.is_compiling() else _remembered_sums(rows)


def _factors(values: tuple[float, ...], like: Tensor) -> Sequence[Tensor | float]:
    """Return constants as tensors, which multiply faster than numbers do; a compiler has them inlined."""
    return values if torch.compiler.is_compiling() else _constants(values, like.dtype, like.device)


@lru_cache(maxsize=256)
def _remembered_sums(rows: Rows) -> tuple[_Sum, ...]:
    return tuple(_Sum.of(row) for row in rows)


@lru_cache(maxsize=1024)
def _constants(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(values, dtype=dtype, device=device).unbind(0))


@lru_cache(maxsize=64)
def _column(values: tuple[float, ...], ndim: int, device: torch.device) -> Tensor:
    return expand(torch.tensor(values, dtype=torch.float64, device=device), ndim + 1)


def _scaled(values: tuple[float, ...], h: Number, like: Tensor) -> Sequence[Number]:
    """Return ``h * value`` for each value; as tensors in the state's dtype and shaped to broadcast against it."""
    if not isinstance(h, Tensor):
        return [h * value for value in values]
    if torch.compiler.is_compiling():  # numbers are inlined: no table of them in memory
        return [expand((h * value).to(like.dtype), like.ndim) for value in values]
    products = (_column(values, h.ndim, h.device) * h).to(like.dtype)
    return expand(products, like.ndim + 1).unbind(0) if h.ndim else products.unbind(0)


def _stage_times(nodes: tuple[float, ...], t: Number, h: Number) -> Sequence[Number]:
    if torch.compiler.is_compiling() or not isinstance(t, Tensor):
        return [node * h + t for node in nodes]
    times: Tensor = _column(nodes, t.ndim, t.device) * h + t
    return times.unbind(0)


def _added(y: Tensor, weight: Number, total: Tensor) -> Tensor:
    """Return ``y + weight * total``."""
    return torch.addcmul(y, weight, total) if isinstance(weight, Tensor) else torch.add(y, total, alpha=weight)


def _weighted_sums(rows: Rows, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
    """Return ``h * sum_j row[j] ks[j]`` for each row."""
    sums = _sums(rows)
    weights = _scaled(tuple(sum_.lead for sum_ in sums), h, ks[0])
    return [weight * sum_(ks) for weight, sum_ in zip(weights, sums, strict=True)]


def take_step(rhs: Rhs, tableau: Tableau, t: Number, y: Tensor, h: Number, k1: Tensor | None = None) -> Step:
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
    sums = _sums((*tableau.a[1:], tableau.b))
    weights = _scaled(tuple(sum_.lead for sum_ in sums), h, y)
    ks = [rhs(t, y) if k1 is None else k1]
    for time, weight, sum_ in zip(_stage_times(tableau.c[1:], t, h), weights, sums, strict=False):
        ks.append(rhs(time, _added(y, weight, sum_(ks))))
    return Step(_added(y, weights[-1], sums[-1](ks)), tuple(ks))


def end_derivative(rhs: Rhs, t: Number, h: Number, step: Step) -> Tensor:
    """Return the derivative at the step's end, :math:`k_{+} = f(t + h, y_{+})`."""
    return rhs(t + h, step.y)


def local_errors(tableau: Tableau, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
    """Return the local error estimates from the stages, followed by the end's derivative if the method is FSAL."""
    return _weighted_sums(tableau.b_err, h, ks)


def interpolant(rhs: Rhs, tableau: Tableau, t: Number, y: Tensor, h: Number, step: Step, k_end: Tensor) -> Tensor:
    r"""Return the interpolant's coefficients :math:`F_1, \dots, F_m` of a step, shape ``(m, *y.shape)``.

    The first three are cubic Hermite's, the others are :math:`h \sum_j d_j k_j` over all stages, the extra ones
    included (Hairer, Norsett & Wanner, Sect. II.6); see :mod:`physode.solvers.interpolation` for their basis.
    """
    ks = [*step.ks, k_end]
    for c, row in zip(tableau.c_extra, tableau.a_extra, strict=True):
        (increment,) = _weighted_sums((row,), h, ks)
        ks.append(rhs(t + c * h, y + increment))
    size = expand(h.to(y.dtype), y.ndim) if isinstance(h, Tensor) else h
    change = step.y - y
    first = size * ks[0]
    hermite = [change, first - change, 2 * change - first - size * k_end]
    return torch.stack(hermite + (_weighted_sums(tableau.d, h, ks) if tableau.d else []))
