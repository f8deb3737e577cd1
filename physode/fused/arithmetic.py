"""Operations on tensors as operations on the numbers of one sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from physode.fused.graph import Graph
from physode.fused.inputs import Inputs, Pending
from physode.fused.memory import Batch, Nodes, Value, one_sample
from physode.fused.scalars import Scalar
from physode.fused.unsupported import MixesSamples, Unsupported

__all__ = ["MOST_NODES", "Arithmetic", "Indices", "Operand"]

MOST_NODES = 20_000
"""Operations in a program."""

Indices: TypeAlias = NDArray[np.int64] | NDArray[np.bool_]
"""A tensor of integers or verdicts that depends on neither time nor state."""

Operand: TypeAlias = Value | Pending | float
"""What an operation takes: a tensor, or a number."""


class Arithmetic:
    """What the rules of operations stand on.

    Parameters
    ----------
    graph
        Where nodes are put.
    samples
        The batch's size; 1 for a state that is one sample.
    guess
        Whether tensors that meet no state yet are taken as one row a sample where an axis is as long as the batch.

    Attributes
    ----------
    op
        The operation that is lowered, as PyTorch names it.
    sizes
        The shape of its (first) result.
    """

    def __init__(self, graph: Graph, samples: int, *, guess: bool) -> None:
        self.graph = graph
        self.samples = samples
        self.inputs = Inputs(graph, samples)
        self.guess = guess
        self.op = ""
        self.sizes: tuple[int, ...] = ()

    def mixing(self) -> MixesSamples:
        """Return the refusal of what tells samples apart."""
        return MixesSamples(self.op.rpartition(".")[0] or self.op)

    def refusal(self, what: str) -> Unsupported:
        """Return a refusal that names the operation."""
        return Unsupported(f"{self.op} {what}")

    def scalar(self, node: int) -> Scalar:
        """Return a node as a number to calculate with."""
        return Scalar(self.graph, int(node))

    def constant(self, x: float) -> Value:
        """Return a number as a tensor without axes."""
        return Value(np.array(self.graph.constant(x)))

    def room(self, operations: int) -> None:
        """Raise if operations are too many to be written out."""
        count = operations + len(self.graph.nodes)
        if count > MOST_NODES:
            raise Unsupported(f"the right-hand side is too large: {count} operations")

    def aligned(self, operands: Sequence[Operand]) -> tuple[list[Value], Batch | None]:
        """Return tensors whose axes of samples lie on one another, counted from the last, and that axis.

        Inputs that are as long as the batch there are one row a sample.

        Raises
        ------
        Unsupported
            Where they lie on different axes.
        """
        ndim = max((len(_shape(x)) for x in operands), default=0)
        batch, length = self._axis(operands, ndim)
        if batch is None:
            return [self._resolved(x) for x in operands], None
        return [self.sampled(x, batch.axis + len(_shape(x)) - ndim, length, batch.inner) for x in operands], batch

    def sampled(self, x: Operand, axis: int, length: int, inner: int) -> Value:
        """Return a tensor whose axis of samples is said, negative for none; ``length`` of it are one sample's."""
        if isinstance(x, Value) and x.batch is not None:
            if x.batch != Batch(axis, inner):
                raise self.mixing()
            return x
        shape = _shape(x)
        if axis < 0 or shape[axis] == 1 or shape[axis] != length * self.samples:
            return self._resolved(x)
        batch = Batch(axis, inner)
        if isinstance(x, Pending) and x.ref.strides[axis]:
            return self.inputs.value(x, batch)
        return Value(self._same(self._resolved(x).nodes, batch), batch)

    def _same(self, nodes: Nodes, own: Batch) -> Nodes:
        return one_sample(nodes, own.axis, own.inner, self.samples)

    def _axis(self, operands: Sequence[Operand], ndim: int) -> tuple[Batch | None, int]:
        """Return the axis of samples among ``ndim``, and how much of it is one sample's."""
        batch: Batch | None = None
        length = 1
        for x in operands:
            if isinstance(x, Value) and x.batch is not None:
                axis = Batch(x.batch.axis + ndim - x.nodes.ndim, x.batch.inner)
                if batch is not None and (axis != batch or length != x.nodes.shape[x.batch.axis]):
                    raise self.mixing()
                batch, length = axis, x.nodes.shape[x.batch.axis]
        if batch is None and self.guess and self.samples > 1:
            for x in operands:
                if isinstance(x, Pending):
                    axes = [i for i, n in enumerate(x.sizes) if n == self.samples and x.ref.strides[i]]
                    if len(axes) == 1:
                        return Batch(axes[0] + ndim - len(x.sizes)), 1
        return batch, length

    def _resolved(self, x: Operand) -> Value:
        if isinstance(x, Pending):
            return self.inputs.value(x)
        return x if isinstance(x, Value) else self.constant(x)

    def ndim(self, x: Operand) -> int:
        """Return how many axes an operand has."""
        return len(_shape(x))

    def value(self, x: Operand) -> Value:
        """Return an operand alone."""
        return self.aligned([x])[0][0]

    def mapped(self, function: Callable[..., Scalar], operands: Sequence[Operand]) -> Value:
        """Return a function of numbers, applied to each element of tensors that are broadcast against one another."""
        values, batch = self.aligned(operands)
        arrays = np.broadcast_arrays(*(value.nodes for value in values))
        self.room(arrays[0].size if arrays[0].size > MOST_NODES else 0)
        made = np.empty(arrays[0].shape, dtype=np.int64)
        kept: dict[tuple[int, ...], int] = {}
        for place, nodes in enumerate(zip(*(array.ravel().tolist() for array in arrays), strict=True)):
            if nodes not in kept:
                kept[nodes] = function(*(Scalar(self.graph, node) for node in nodes)).node
            made.flat[place] = kept[nodes]
        self.room(0)
        return Value(made, batch)

    def axes(self, x: Value, dims: Any) -> list[int]:
        """Return the axes that an operation works along, none of them that of samples.

        Raises
        ------
        Unsupported
            If it works along the axis of samples.
        """
        ndim = x.nodes.ndim
        if dims is None or dims == ():
            dims = range(ndim)
        elif isinstance(dims, int):
            dims = [dims]
        axes = sorted({int(dim) % ndim if ndim else 0 for dim in dims}) if ndim else []
        if x.batch is not None and x.batch.axis in axes:
            raise self.mixing()
        return axes

    def reduced(self, x: Value, dims: Any, keepdim: bool, function: Callable[[list[Scalar]], Scalar]) -> Value:
        """Return a function of all elements along some axes."""
        axes = self.axes(x, dims)
        kept = [axis for axis in range(x.nodes.ndim) if axis not in axes]
        rows = x.nodes.transpose(*kept, *axes).reshape([x.nodes.shape[axis] for axis in kept] + [-1])
        made = np.empty(rows.shape[:-1], dtype=np.int64)
        for place in np.ndindex(made.shape):
            made[place] = function([self.scalar(node) for node in rows[place]]).node
        self.room(0)
        if keepdim:
            return Value(np.expand_dims(made, tuple(axes)), x.batch)
        return Value(made, None if x.batch is None else x.batch._replace(axis=kept.index(x.batch.axis)))

    def along(self, x: Value, dim: int, function: Callable[[list[Scalar]], list[Scalar]]) -> Value:
        """Return functions of the elements along an axis, as many as these."""
        if not x.nodes.ndim:
            return Value(np.array(function([self.scalar(int(x.nodes))])[0].node))
        [axis] = self.axes(x, dim)
        rows = np.moveaxis(x.nodes, axis, -1)
        made = np.empty(rows.shape, dtype=np.int64)
        for place in np.ndindex(rows.shape[:-1]):
            made[place] = [y.node for y in function([self.scalar(node) for node in rows[place]])]
        self.room(0)
        return Value(np.moveaxis(made, -1, axis), x.batch)


def _shape(x: Operand) -> tuple[int, ...]:
    """Return an operand's shape; along the axis of samples, one sample's."""
    if isinstance(x, Pending):
        return x.sizes
    return x.nodes.shape if isinstance(x, Value) else ()
