"""Products of matrices and vectors: written out where they are small, whole where all samples share a large matrix."""

from __future__ import annotations

import numpy as np

from physode.fused.arithmetic import Arithmetic, Operand
from physode.fused.inputs import Pending
from physode.fused.memory import Batch, Nodes, Value
from physode.fused.reductions import length_of_square, total
from physode.fused.rules import operation

__all__ = ["UNROLLED"]

UNROLLED = 128
"""Multiplications up to which a product of a shared matrix and a vector is written out."""

_GROUP = "Products of matrices"


def _product(arithmetic: Arithmetic, x: Operand, y: Operand, form: str) -> Value:
    """Return a sum of products, as ``"nk,km->nm"`` has it, with ``k`` the axis that is summed along."""
    given, _, result = form.partition("->")
    first, second = given.split(",")
    label = _samples_label(arithmetic, ((x, first), (y, second)))
    for matrix, others, left, right in ((y, x, second, first), (x, y, first, second)):
        whole = _shared_matrix(arithmetic, matrix, left, label)
        if whole is not None and isinstance(others, Value):
            nodes = _with_matrix(arithmetic, whole, others, left, right, result)
            if nodes is not None:
                return _labelled(nodes, result, label)
    left_nodes = _resolved(arithmetic, x, first, label).nodes
    right_nodes = _resolved(arithmetic, y, second, label).nodes
    return _labelled(_written_out(arithmetic, left_nodes, right_nodes, (first, second, result)), result, label)


def _samples_label(arithmetic: Arithmetic, operands: tuple[tuple[Operand, str], ...]) -> tuple[str, int, int] | None:
    """Return the label of the axis of samples, how much of it is one sample's, and how that lies."""
    label: tuple[str, int, int] | None = None
    for x, labels in operands:
        if isinstance(x, Value) and x.batch is not None:
            axis = x.batch.axis
            own = labels[axis], x.nodes.shape[axis], x.batch.inner
            if own[0] == "k" or label not in (None, own):
                raise arithmetic.mixing()
            label = own
    return label


def _labelled(nodes: Nodes, labels: str, label: tuple[str, int, int] | None) -> Value:
    return Value(nodes, None if label is None else Batch(labels.index(label[0]), label[2]))


def _resolved(arithmetic: Arithmetic, x: Operand, labels: str, label: tuple[str, int, int] | None) -> Value:
    """Return an operand with its axis of samples where the product has it."""
    return arithmetic.sampled(x, labels.find(label[0]) if label else -1, *(label[1:] if label else (1, 1)))


def _shared_matrix(
    arithmetic: Arithmetic, x: Operand, labels: str, label: tuple[str, int, int] | None
) -> Pending | None:
    """Return a matrix of two axes that all samples share; None where it is none."""
    if not isinstance(x, Pending) or len(labels) < 2:
        return None
    sizes, strides = list(x.sizes), list(x.ref.strides)
    if len(labels) == 3:
        if sizes[0] != 1 and strides[0] != 0:
            return None
        sizes, strides, labels = sizes[1:], strides[1:], labels[1:]
    if label is not None and label[0] in labels:
        return None
    return x._replace(ref=x.ref._replace(sizes=tuple(sizes), strides=tuple(strides)))


def _with_matrix(
    arithmetic: Arithmetic, shared: Pending, vectors: Value, left: str, right: str, result: str
) -> Nodes | None:
    """Return the products of a matrix and vectors, one of them after another; None where they are to be written out."""
    rows, columns = shared.sizes
    if rows * columns <= UNROLLED:
        return None
    matrix = arithmetic.inputs.matrix(shared)
    if matrix is None:
        return None
    if left[-2] == "k":
        matrix = matrix.T
    along = np.moveaxis(vectors.nodes, right.index("k"), -1)
    arithmetic.room(along[..., 0].size * matrix.rows)
    made = np.empty((*along.shape[:-1], matrix.rows), dtype=np.int64)
    for place in np.ndindex(along.shape[:-1]):
        made[place] = arithmetic.graph.matvec(matrix, [int(node) for node in along[place]])
    labels = right.replace("k", "") + left.replace("k", "")[-1]
    return made.transpose([labels.index(label) for label in result])


def _written_out(arithmetic: Arithmetic, x: Nodes, y: Nodes, forms: tuple[str, str, str]) -> Nodes:
    first, second, result = forms
    sizes = dict(zip(first + second, x.shape + y.shape, strict=True))
    lines = x.transpose([first.index(label) for label in result if label in first] + [first.index("k")])
    columns = y.transpose([second.index(label) for label in result if label in second] + [second.index("k")])
    shape = tuple(sizes[label] for label in result)
    arithmetic.room(int(np.prod(shape)) * sizes["k"])
    made = np.empty(shape, dtype=np.int64)
    for place in np.ndindex(shape):
        at = dict(zip(result, place, strict=True))
        line = lines[tuple(at[label] for label in result if label in first)]
        column = columns[tuple(at[label] for label in result if label in second)]
        terms = [arithmetic.scalar(a) * arithmetic.scalar(b) for a, b in zip(line, column, strict=True)]
        made[place] = total(terms).node if terms else arithmetic.graph.constant(0.0)
    arithmetic.room(0)
    return made


@operation(_GROUP, "mm.default")
def _mm(arithmetic: Arithmetic, x: Operand, y: Operand) -> Value:
    return _product(arithmetic, x, y, "nk,km->nm")


@operation(_GROUP, "bmm.default")
def _bmm(arithmetic: Arithmetic, x: Operand, y: Operand) -> Value:
    return _product(arithmetic, x, y, "bnk,bkm->bnm")


@operation(_GROUP, "mv.default")
def _mv(arithmetic: Arithmetic, x: Operand, y: Operand) -> Value:
    return _product(arithmetic, x, y, "nk,k->n")


@operation(_GROUP, "dot.default")
def _dot(arithmetic: Arithmetic, x: Operand, y: Operand) -> Value:
    return _product(arithmetic, x, y, "k,k->")


def _add_product(name: str, form: str) -> None:
    def lower(
        arithmetic: Arithmetic, bias: Operand, x: Operand, y: Operand, beta: Operand = 1.0, alpha: Operand = 1.0
    ) -> Value:
        product = _product(arithmetic, x, y, form)
        return arithmetic.mapped(lambda b, p, u, v: b * u + p * v, [bias, product, beta, alpha])

    operation(_GROUP, name)(lower)


_add_product("addmm.default", "nk,km->nm")
_add_product("baddbmm.default", "bnk,bkm->bnm")
_add_product("addmv.default", "nk,k->n")


@operation(_GROUP, "_cdist_forward.default")
def _distances(arithmetic: Arithmetic, x: Operand, y: Operand, p: float, mode: int | None = None) -> Value:
    if p != 2.0:
        raise arithmetic.refusal(f"of order {p:g} is not supported")
    (first, second), batch = arithmetic.aligned([x, y])
    if batch is not None and batch.axis >= first.nodes.ndim - 2:
        raise arithmetic.mixing()
    pairs = np.broadcast_arrays(first.nodes[..., :, None, :], second.nodes[..., None, :, :])
    differences = arithmetic.mapped(lambda u, v: u - v, [Value(nodes) for nodes in pairs])
    lengths = arithmetic.reduced(differences, -1, False, lambda row: length_of_square(total([u**2.0 for u in row])))
    return lengths._replace(batch=batch)


@operation(_GROUP, "linalg_cross.default")
def _cross(arithmetic: Arithmetic, x: Operand, y: Operand, dim: int = -1) -> Value:
    (u, v), batch = arithmetic.aligned([x, y])
    first, second = np.broadcast_arrays(u.nodes, v.nodes)
    [axis] = arithmetic.axes(Value(first, batch), dim)
    a, b = np.moveaxis(first, axis, 0), np.moveaxis(second, axis, 0)

    def part(i: int, j: int) -> Nodes:
        pairs = [Value(nodes) for nodes in (a[i], b[j], a[j], b[i])]
        return arithmetic.mapped(lambda p, q, r, s: p * q - r * s, pairs).nodes

    return Value(np.stack([part(1, 2), part(2, 0), part(0, 1)], axis), batch)
