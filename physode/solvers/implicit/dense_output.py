r"""Interpolants and first guesses of implicit Runge-Kutta methods, derived from their coefficients.

The interpolant is :math:`y(\theta) = y + \sum_i b_i(\theta) w_i` with :math:`w_i = h k_i` and polynomials
:math:`b_i(\theta) = \sum_p \beta_{ip} \theta^p` that meet the order conditions (Hairer, Norsett & Wanner, Sect. II.6),

.. math:: \sum_i b_i(\theta) \, \Phi_i(\tau) = \theta^{|\tau|} / \gamma(\tau) , \qquad b_i(1) = b_i ,

of the highest order there is. Where the first stage is explicit, one condition more keeps it bounded: as
:math:`h \lambda \to \infty` an error of the state grows by :math:`h \lambda` in :math:`w_1`, and by
:math:`-\hat A^{-1} \hat a_1 h \lambda` in the others, so that :math:`b_1 = \hat b^\top \hat A^{-1} \hat a_1`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from physode.solvers.tableaus.base import Row, in_basis

__all__ = ["dense_rows", "guess_rows"]

Array = NDArray[np.float64]

_MEETS = 1e-10


def dense_rows(a: Sequence[Row], b: Row, c: Row) -> tuple[tuple[Row, ...], int]:
    """Return the rows of weights of the interpolant's coefficients from the second on, and its order.

    The coefficients are those of :mod:`physode.solvers.interpolation`.
    """
    matrix, weights, nodes = _square(a), np.array(b), np.array(c)
    for order in (4, 3, 2):
        powers = _powers(matrix, weights, nodes, order)
        if powers is not None:
            return in_basis(powers.tolist())[1:], order
    return (), 1


def guess_rows(c: Row) -> tuple[Row, ...]:
    """Return for each stage the weights by which the states before it are extrapolated to it."""
    rows: list[Row] = []
    for i, node in enumerate(c):
        if i == 0:
            rows.append(())
            continue
        degrees = np.arange(min(len(np.unique(c[:i])), 3))[:, None]
        before = np.array(c[:i]) ** degrees
        weights, *_ = np.linalg.lstsq(before, (node**degrees)[:, 0], rcond=None)
        rows.append(tuple(weights.tolist()))
    return tuple(rows)


def _square(a: Sequence[Row]) -> Array:
    matrix = np.zeros((len(a), len(a)))
    for i, row in enumerate(a):
        matrix[i, : len(row)] = row
    return matrix


def _conditions(a: Array, c: Array, order: int) -> list[tuple[Array, int, float]]:
    """Return the stage weights of all trees up to order 4, with the tree's order and 1 / density."""
    ac = a @ c
    trees: list[tuple[Array, int, float]] = [
        (np.ones_like(c), 1, 1.0),
        (c, 2, 1 / 2),
        (c**2, 3, 1 / 3),
        (ac, 3, 1 / 6),
        (c**3, 4, 1 / 4),
        (c * ac, 4, 1 / 8),
        (a @ c**2, 4, 1 / 12),
        (a @ ac, 4, 1 / 24),
    ]
    return [tree for tree in trees if tree[1] <= order]


def _powers(a: Array, b: Array, c: Array, order: int) -> Array | None:
    """Return beta, ``(order, stages)``, of least norm; None where the conditions cannot be met."""
    trees = _conditions(a, c, order)
    rows = [stage for stage, _, _ in trees]
    if not a[0].any():
        rows.append(np.concatenate([[1.0], -np.linalg.solve(a[1:, 1:], a[1:, 0])]))
    system = np.array(rows)
    target = np.zeros((len(rows), order))
    for row, (_, power, value) in enumerate(trees):
        target[row, power - 1] = value
    powers = np.linalg.lstsq(system, target, rcond=1e-10)[0]
    powers[:, -1] = powers[:, -1] + b - powers.sum(1)
    if np.abs(system @ powers - target).max() > _MEETS:
        return None
    return np.asarray(powers.T, dtype=np.float64)
