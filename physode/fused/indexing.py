"""Elements picked out of tensors, and put into them, by indices that depend on neither the time nor the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from physode.fused.arithmetic import Arithmetic, Indices, Operand
from physode.fused.inputs import Pending
from physode.fused.memory import Batch, Nodes, Value, one_sample
from physode.fused.rules import operation

_GROUP = "By indices"


@operation(_GROUP, "index.Tensor")
def _index(arithmetic: Arithmetic, x: Operand, indices: Sequence[Indices | None]) -> Value:
    value = arithmetic.value(x)
    full, batch = _full_index(arithmetic, value, indices)
    return Value(value.nodes[full], batch)


def _full_index(
    arithmetic: Arithmetic, value: Value, indices: Sequence[Indices | None]
) -> tuple[tuple[Any, ...], Batch | None]:
    """Return indices as NumPy takes them, and where the axis of samples is afterwards."""
    full = _expanded(indices)
    if value.batch is None:
        return full, None
    if value.batch.axis < len(full) and not isinstance(full[value.batch.axis], slice):
        raise arithmetic.mixing()
    return full, value.batch._replace(axis=_axis_after(full, value.batch.axis))


def _expanded(indices: Sequence[Indices | None]) -> tuple[Any, ...]:
    """Return one index for each axis, masks as the numbers of what they keep."""
    full: list[Any] = []
    for index in indices:
        if index is None:
            full.append(slice(None))
        elif index.dtype == np.bool_:
            full.extend(index.nonzero())
        else:
            full.append(index)
    return tuple(full)


def _axis_after(full: tuple[Any, ...], axis: int) -> int:
    """Return where an axis that is not indexed is afterwards; -1 for one that is."""
    taken = [place for place, index in enumerate(full) if not isinstance(index, slice)]
    if axis in taken:
        return -1
    width = len(np.broadcast_shapes(*(full[place].shape for place in taken)))
    adjacent = taken == list(range(taken[0], taken[-1] + 1))
    after = axis - sum(place < axis for place in taken)
    return after + width if not adjacent or axis > taken[0] else after


@operation(_GROUP, "index_put.default")
def _index_put(
    arithmetic: Arithmetic,
    x: Operand,
    indices: Sequence[Indices | None],
    values: Operand,
    accumulate: bool = False,
    unsafe: bool = False,
) -> Value:
    expanded = _expanded(indices)
    ndim = _places(arithmetic.value(x))[expanded].ndim
    value = _facing(arithmetic, x, values, ndim, lambda axis: _axis_after(expanded, axis))
    full, batch = _full_index(arithmetic, value, indices)
    change = _increase if accumulate else _set
    return change(arithmetic, value, _places(value)[full], batch, values)


def _set(arithmetic: Arithmetic, x: Value, places: Nodes, batch: Batch | None, source: Operand) -> Value:
    """Return a tensor with others in some places, which are shaped as these."""
    nodes = np.array(x.nodes).ravel()
    nodes[places] = _meeting(arithmetic, places, batch, source)
    return Value(nodes.reshape(x.nodes.shape), x.batch)


def _increase(
    arithmetic: Arithmetic, x: Value, places: Nodes, batch: Batch | None, source: Operand, factor: Operand = 1.0
) -> Value:
    """Return a tensor with others added in some places, in their order."""
    nodes = np.array(x.nodes).ravel()
    added = np.broadcast_to(_meeting(arithmetic, places, batch, source), places.shape)
    times = arithmetic.scalar(int(arithmetic.value(factor).nodes))
    for place, node in zip(places.ravel().tolist(), added.ravel().tolist(), strict=True):
        nodes[place] = (arithmetic.scalar(nodes[place]) + arithmetic.scalar(node) * times).node
    arithmetic.room(0)
    return Value(nodes.reshape(x.nodes.shape), x.batch)


def _meeting(arithmetic: Arithmetic, places: Nodes, batch: Batch | None, source: Operand) -> Nodes:
    """Return what is to be put in some places, its axis of samples on theirs."""
    if batch is None:
        return arithmetic.sampled(source, -1, 1, 1).nodes
    axis = batch.axis + arithmetic.ndim(source) - places.ndim
    return arithmetic.sampled(source, axis, places.shape[batch.axis], batch.inner).nodes


@operation(_GROUP, "index_select.default")
def _index_select(arithmetic: Arithmetic, x: Operand, dim: int, index: Indices) -> Value:
    value = arithmetic.value(x)
    [axis] = arithmetic.axes(value, dim)
    return Value(np.take(value.nodes, np.atleast_1d(index), axis), value.batch)


@operation(_GROUP, "gather.default")
def _gather(arithmetic: Arithmetic, x: Operand, dim: int, index: Nodes, sparse_grad: bool = False) -> Value:
    value = arithmetic.value(x)
    return Value(value.nodes[_along(arithmetic, value, dim, index)], value.batch)


def _along(arithmetic: Arithmetic, x: Value, dim: int, index: Nodes) -> tuple[Nodes, ...]:
    """Return the indices, one for each axis, of what indices along one axis name."""
    [axis] = arithmetic.axes(x, dim)
    if x.batch is not None:
        if index.shape[x.batch.axis] != x.nodes.shape[x.batch.axis] * arithmetic.samples:
            raise arithmetic.mixing()
        index = one_sample(index, x.batch.axis, x.batch.inner, arithmetic.samples)
    full: list[Nodes] = list(np.indices(index.shape, sparse=True))
    full[axis] = index
    return tuple(np.broadcast_arrays(*full))


def _facing(
    arithmetic: Arithmetic, x: Operand, source: Operand, ndim: int, axis_after: Callable[[int], int] = int
) -> Value:
    """Return a tensor that others are put into, samples told apart if they are there.

    ``axis_after`` returns which of the ``ndim`` axes of the places that are put into an axis of the tensor is.
    """
    value = arithmetic.value(x)
    if value.batch is not None or not isinstance(source, Value) or source.batch is None:
        return value
    wanted = source.batch.axis + ndim - source.nodes.ndim
    length = source.nodes.shape[source.batch.axis] * arithmetic.samples
    for axis, size in enumerate(value.nodes.shape):
        if size == length and axis_after(axis) == wanted:
            return arithmetic.sampled(value, axis, size // arithmetic.samples, source.batch.inner)
    raise arithmetic.mixing()


def _places(x: Value) -> Nodes:
    """Return the number of each element."""
    return np.arange(x.nodes.size).reshape(x.nodes.shape)


@operation(_GROUP, "scatter.src", "scatter.value")
def _scatter(arithmetic: Arithmetic, x: Operand, dim: int, index: Nodes, source: Operand) -> Value:
    value = _facing(arithmetic, x, source, index.ndim)
    places = _places(value)[_along(arithmetic, value, dim, index)]
    return _set(arithmetic, value, places, value.batch, _corner(source, index.shape))


@operation(_GROUP, "scatter_add.default")
def _scatter_add(arithmetic: Arithmetic, x: Operand, dim: int, index: Nodes, source: Operand) -> Value:
    value = _facing(arithmetic, x, source, index.ndim)
    places = _places(value)[_along(arithmetic, value, dim, index)]
    return _increase(arithmetic, value, places, value.batch, _corner(source, index.shape))


def _corner(source: Operand, shape: tuple[int, ...]) -> Operand:
    """Return as much of a tensor as there are indices."""
    if isinstance(source, Pending):
        return source._replace(ref=source.ref._replace(sizes=shape))
    if isinstance(source, Value) and source.nodes.ndim:
        axis = -1 if source.batch is None else source.batch.axis
        kept = tuple(slice(None) if i == axis else slice(size) for i, size in enumerate(shape))
        return source._replace(nodes=source.nodes[kept])
    return source


@operation(_GROUP, "index_add.default")
def _index_add(
    arithmetic: Arithmetic, x: Operand, dim: int, index: Indices, source: Operand, alpha: Operand = 1.0
) -> Value:
    value = _facing(arithmetic, x, source, arithmetic.ndim(x))
    [axis] = arithmetic.axes(value, dim)
    places = np.take(_places(value), np.atleast_1d(index), axis)
    return _increase(arithmetic, value, places, value.batch, source, alpha)


@operation(_GROUP, "index_fill.int_Scalar", "index_fill.int_Tensor")
def _index_fill(arithmetic: Arithmetic, x: Operand, dim: int, index: Indices, filler: Operand) -> Value:
    value = arithmetic.value(x)
    [axis] = arithmetic.axes(value, dim)
    return _set(arithmetic, value, np.take(_places(value), np.atleast_1d(index), axis), value.batch, filler)


@operation(_GROUP, "slice_scatter.default")
def _slice_scatter(
    arithmetic: Arithmetic,
    x: Operand,
    source: Operand,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    value = _facing(arithmetic, x, source, arithmetic.ndim(x))
    [axis] = arithmetic.axes(value, dim)
    places = _places(value)
    part = places[(slice(None),) * axis + (slice(start, end, step),)]
    return _set(arithmetic, value, part, value.batch, source)


@operation(_GROUP, "select_scatter.default")
def _select_scatter(arithmetic: Arithmetic, x: Operand, source: Operand, dim: int, index: int) -> Value:
    ndim = arithmetic.ndim(x)
    value = _facing(arithmetic, x, source, ndim - 1, lambda axis: axis - int(axis > dim % ndim))
    [axis] = arithmetic.axes(value, dim)
    places = np.take(_places(value), index, axis)
    batch = value.batch
    if batch is not None and batch.axis > axis:
        batch = batch._replace(axis=batch.axis - 1)
    return _set(arithmetic, value, places, batch, source)


@operation(_GROUP, "slice_backward.default")
def _slice_backward(
    arithmetic: Arithmetic, gradient: Operand, sizes: Sequence[int], dim: int, start: int, end: int, step: int
) -> Value:
    return _embedded(arithmetic, gradient, sizes, dim, slice(start, end, step))


@operation(_GROUP, "select_backward.default")
def _select_backward(arithmetic: Arithmetic, gradient: Operand, sizes: Sequence[int], dim: int, index: int) -> Value:
    value = arithmetic.value(gradient)
    axis = dim % len(sizes)
    batch = value.batch
    if batch is not None and batch.axis >= axis:
        batch = batch._replace(axis=batch.axis + 1)
    position = index % sizes[axis]
    return _embedded(
        arithmetic, Value(np.expand_dims(value.nodes, axis), batch), sizes, dim, slice(position, position + 1)
    )


def _embedded(arithmetic: Arithmetic, x: Operand, sizes: Sequence[int], dim: int, part: slice) -> Value:
    """Return zeros with a tensor in a part of them."""
    value = arithmetic.value(x)
    axis = dim % len(sizes)
    if value.batch is not None and value.batch.axis == axis:
        raise arithmetic.mixing()
    shape = list(value.nodes.shape)
    shape[axis] = sizes[axis]
    made = np.full(shape, arithmetic.graph.constant(0.0))
    made[(slice(None),) * axis + (part,)] = value.nodes
    return Value(made, value.batch)
