"""Determinants, inverses and solutions of linear systems of up to three equations, by cofactors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physode.fused.arithmetic import Arithmetic, Operand
from physode.fused.inputs import Pending
from physode.fused.memory import Nodes, Value
from physode.fused.reductions import total
from physode.fused.rules import operation
from physode.fused.scalars import Scalar

_GROUP = "Linear systems of up to three equations"
_LARGEST = 3


def _square(arithmetic: Arithmetic, x: Operand) -> Value:
    value = arithmetic.value(x)
    arithmetic.axes(value, [-2, -1])
    if value.nodes.shape[-1] > _LARGEST:
        raise arithmetic.refusal(f"of {value.nodes.shape[-1]} equations is not supported")
    return value


def _cofactors(arithmetic: Arithmetic, nodes: Nodes) -> tuple[Scalar, NDArray[np.object_]]:
    """Return the determinant of a matrix and its adjugate: the inverse but for the determinant."""
    size = len(nodes)
    a = np.empty((size, size), dtype=object)
    for i, k in np.ndindex(size, size):
        a[i, k] = arithmetic.scalar(int(nodes[i, k]))
    adjugate = np.empty_like(a)
    for i, k in np.ndindex(size, size):
        if size == 1:
            adjugate[i, k] = a[0, 0].like(1.0)
        elif size == 2:
            adjugate[k, i] = a[1 - i, 1 - k] if i == k else -a[1 - i, 1 - k]
        else:
            p, q, r, s = (i + 1) % 3, (i + 2) % 3, (k + 1) % 3, (k + 2) % 3
            adjugate[k, i] = a[p, r] * a[q, s] - a[p, s] * a[q, r]
    return total([a[0, k] * adjugate[k, 0] for k in range(size)]), adjugate


@operation(_GROUP, "_linalg_det.default")
def _det(arithmetic: Arithmetic, x: Operand) -> tuple[Value, None, None]:
    value = _square(arithmetic, x)
    made = np.empty(value.nodes.shape[:-2], dtype=np.int64)
    for place in np.ndindex(made.shape):
        made[place] = _cofactors(arithmetic, value.nodes[place])[0].node
    return Value(made, value.batch), None, None


@operation(_GROUP, "linalg_inv_ex.default")
def _inverse(arithmetic: Arithmetic, x: Operand, check_errors: bool = False) -> tuple[Value, None]:
    value = _square(arithmetic, x)
    made = np.empty_like(value.nodes)
    for place in np.ndindex(made.shape[:-2]):
        determinant, adjugate = _cofactors(arithmetic, value.nodes[place])
        for i, k in np.ndindex(adjugate.shape):
            made[(*place, i, k)] = (adjugate[i, k] / determinant).node
    return Value(made, value.batch), None


@operation(_GROUP, "_linalg_solve_ex.default")
def _solve(
    arithmetic: Arithmetic, x: Operand, y: Operand, left: bool = True, check_errors: bool = False
) -> tuple[Value, None, None, None]:
    if not left:
        raise arithmetic.refusal("from the right is not supported")
    vectors = arithmetic.ndim(y) == arithmetic.ndim(x) - 1
    (matrices, right), batch = arithmetic.aligned([x, _with_column(y) if vectors else y])
    matrices = _square(arithmetic, matrices)
    if batch is not None and batch.axis == max(matrices.nodes.ndim, right.nodes.ndim) - 2:
        raise arithmetic.mixing()
    shape = (*np.broadcast_shapes(matrices.nodes.shape[:-2], right.nodes.shape[:-2]), *right.nodes.shape[-2:])
    a = np.broadcast_to(matrices.nodes, (*shape[:-2], *matrices.nodes.shape[-2:]))
    b = np.broadcast_to(right.nodes, shape)
    made = np.empty(shape, dtype=np.int64)
    for place in np.ndindex(shape[:-2]):
        determinant, adjugate = _cofactors(arithmetic, a[place])
        for i, k in np.ndindex(shape[-2:]):
            column = b[place][:, k]
            terms = [adjugate[i, j] * arithmetic.scalar(column[j]) for j in range(len(column))]
            made[(*place, i, k)] = (total(terms) / determinant).node
    return Value(made[..., 0] if vectors else made, batch), None, None, None


def _with_column(x: Operand) -> Operand:
    """Return vectors as matrices of one column."""
    if isinstance(x, Pending):
        return x._replace(ref=x.ref._replace(sizes=(*x.ref.sizes, 1), strides=(*x.ref.strides, 1)))
    assert isinstance(x, Value)
    return x._replace(nodes=x.nodes[..., None])
