"""Operations that move elements, fill tensors, or convert them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from physode.fused.arithmetic import Arithmetic, Indices, Operand
from physode.fused.memory import Batch, Nodes, Value, one_sample
from physode.fused.rules import operation, pointwise

_GROUP = "Moving and filling"

pointwise("clone.default", "_to_copy.default", verdicts=True, group=_GROUP)(lambda x: x)


@operation(_GROUP, "copy.default")
def _copy(arithmetic: Arithmetic, x: Operand, source: Operand, non_blocking: bool = False) -> Value:
    return arithmetic.value(source)


@operation(_GROUP, "fill.Scalar", "fill.Tensor")
def _fill(arithmetic: Arithmetic, x: Operand, value: Operand) -> Value:
    return arithmetic.value(value)


def _filled(arithmetic: Arithmetic, value: Operand) -> Value:
    [node] = arithmetic.value(value).nodes.ravel()
    return Value(np.broadcast_to(np.array(node), arithmetic.sizes))


@operation(_GROUP, "zero.default", "zeros.default", "zeros_like.default", "new_zeros.default")
def _zeros(arithmetic: Arithmetic, *args: Any, **kwargs: Any) -> Value:
    return _filled(arithmetic, 0.0)


@operation(_GROUP, "ones.default", "ones_like.default", "new_ones.default")
def _ones(arithmetic: Arithmetic, *args: Any, **kwargs: Any) -> Value:
    return _filled(arithmetic, 1.0)


@operation(_GROUP, "full.default", "full_like.default")
def _full(arithmetic: Arithmetic, like: Any, value: Operand, **kwargs: Any) -> Value:
    return _filled(arithmetic, value)


@operation(_GROUP, "new_full.default")
def _new_full(arithmetic: Arithmetic, x: Any, sizes: Any, value: Operand, **kwargs: Any) -> Value:
    return _filled(arithmetic, value)


@operation(_GROUP, "scalar_tensor.default")
def _scalar_tensor(arithmetic: Arithmetic, value: Operand, **kwargs: Any) -> Value:
    return arithmetic.value(value)


@operation(
    _GROUP,
    *("empty.memory_format", "empty_like.default", "new_empty.default", "empty_strided.default"),
    "new_empty_strided.default",
)
def _empty(arithmetic: Arithmetic, *args: Any, **kwargs: Any) -> Value:
    return Value(np.broadcast_to(np.array(-1), arithmetic.sizes))


@operation(_GROUP, "cat.default")
def _cat(arithmetic: Arithmetic, tensors: Sequence[Operand], dim: int = 0) -> Value:
    values, batch = arithmetic.aligned(tensors)
    values = [value for value in values if value.nodes.shape != (0,)]
    ndim = values[0].nodes.ndim
    axis = dim % ndim
    if batch is not None and batch.axis == axis:
        raise arithmetic.mixing()
    return Value(np.concatenate([value.nodes for value in values], axis), batch)


@operation(_GROUP, "stack.default")
def _stack(arithmetic: Arithmetic, tensors: Sequence[Operand], dim: int = 0) -> Value:
    values, batch = arithmetic.aligned(tensors)
    axis = dim % (values[0].nodes.ndim + 1)
    if batch is not None and axis <= batch.axis:
        batch = batch._replace(axis=batch.axis + 1)
    return Value(np.stack([value.nodes for value in values], axis), batch)


@operation(_GROUP, "flip.default")
def _flip(arithmetic: Arithmetic, x: Operand, dims: Sequence[int]) -> Value:
    value = arithmetic.value(x)
    return Value(np.flip(value.nodes, tuple(arithmetic.axes(value, list(dims)))), value.batch)


@operation(_GROUP, "roll.default")
def _roll(arithmetic: Arithmetic, x: Operand, shifts: Sequence[int], dims: Sequence[int] = ()) -> Value:
    value = arithmetic.value(x)
    arithmetic.axes(value, list(dims) or None)
    steps, axes = tuple(shifts), tuple(dims)
    return Value(np.roll(value.nodes, steps, axes) if axes else np.roll(value.nodes, steps[0]), value.batch)


@operation(_GROUP, "repeat.default")
def _repeat(arithmetic: Arithmetic, x: Operand, repeats: Sequence[int]) -> Value:
    value = arithmetic.value(x)
    batch = value.batch
    if batch is not None:
        batch = batch._replace(axis=batch.axis + len(repeats) - value.nodes.ndim)
        if repeats[batch.axis] != 1:
            raise arithmetic.mixing()
    return Value(np.tile(value.nodes, tuple(repeats)), batch)


@operation(_GROUP, "index.Tensor")
def _index(arithmetic: Arithmetic, x: Operand, indices: Sequence[Indices | None]) -> Value:
    value = arithmetic.value(x)
    full, batch = _full_index(arithmetic, value, indices)
    return Value(value.nodes[full], batch)


def _full_index(
    arithmetic: Arithmetic, value: Value, indices: Sequence[Indices | None]
) -> tuple[tuple[Any, ...], Batch | None]:
    """Return indices as NumPy takes them, and where the axis of samples is afterwards."""
    full: list[Any] = []
    for index in indices:
        if index is None:
            full.append(slice(None))
        elif index.dtype == np.bool_:
            full.extend(index.nonzero())
        else:
            full.append(index)
    batch = value.batch
    if batch is None:
        return tuple(full), None
    taken = [axis for axis, index in enumerate(full) if not isinstance(index, slice)]
    if batch.axis in taken:
        raise arithmetic.mixing()
    width = np.broadcast_shapes(*(full[axis].shape for axis in taken))
    adjacent = taken == list(range(taken[0], taken[-1] + 1))
    before = batch.axis - sum(axis < batch.axis for axis in taken)
    if not adjacent or batch.axis > taken[0]:
        before += len(width)
    return tuple(full), batch._replace(axis=before)


@operation(_GROUP, "index_put.default")
def _index_put(
    arithmetic: Arithmetic,
    x: Operand,
    indices: Sequence[Indices | None],
    values: Operand,
    accumulate: bool = False,
    unsafe: bool = False,
) -> Value:
    if accumulate:
        raise arithmetic.refusal("with accumulate=True is not supported")
    value = arithmetic.value(x)
    full, batch = _full_index(arithmetic, value, indices)
    places = np.arange(value.nodes.size).reshape(value.nodes.shape)[full]
    return _set(arithmetic, value, places, batch, values)


def _set(arithmetic: Arithmetic, x: Value, places: Nodes, batch: Batch | None, source: Operand) -> Value:
    """Return a tensor with others in some places, which are shaped as these."""
    axis, inner = (batch.axis, batch.inner) if batch is not None else (-1, 1)
    shape = source.nodes.shape if isinstance(source, Value) else getattr(source, "sizes", ())
    own = axis + len(shape) - places.ndim if axis >= 0 else -1
    new = arithmetic.sampled(source, own, places.shape[axis] if axis >= 0 else 1, inner)
    nodes = np.array(x.nodes).ravel()
    nodes[places] = new.nodes
    return Value(nodes.reshape(x.nodes.shape), x.batch)


@operation(_GROUP, "index_select.default")
def _index_select(arithmetic: Arithmetic, x: Operand, dim: int, index: Indices) -> Value:
    value = arithmetic.value(x)
    [axis] = arithmetic.axes(value, dim)
    return Value(np.take(value.nodes, np.atleast_1d(index), axis), value.batch)


@operation(_GROUP, "gather.default")
def _gather(arithmetic: Arithmetic, x: Operand, dim: int, index: Nodes, sparse_grad: bool = False) -> Value:
    value = arithmetic.value(x)
    [axis] = arithmetic.axes(value, dim)
    if value.batch is not None:
        if index.shape[value.batch.axis] != value.nodes.shape[value.batch.axis] * arithmetic.samples:
            raise arithmetic.mixing()
        index = one_sample(index, value.batch.axis, value.batch.inner, arithmetic.samples)
    corner = tuple(slice(None) if i == axis else slice(size) for i, size in enumerate(index.shape))
    return Value(np.take_along_axis(value.nodes[corner], index, axis), value.batch)


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
    value = arithmetic.value(x)
    [axis] = arithmetic.axes(value, dim)
    places = np.arange(value.nodes.size).reshape(value.nodes.shape)
    part = places[(slice(None),) * axis + (slice(start, end, step),)]
    return _set(arithmetic, value, part, value.batch, source)


@operation(_GROUP, "select_scatter.default")
def _select_scatter(arithmetic: Arithmetic, x: Operand, source: Operand, dim: int, index: int) -> Value:
    value = arithmetic.value(x)
    [axis] = arithmetic.axes(value, dim)
    places = np.take(np.arange(value.nodes.size).reshape(value.nodes.shape), index, axis)
    batch = value.batch
    if batch is not None and batch.axis > axis:
        batch = batch._replace(axis=batch.axis - 1)
    return _set(arithmetic, value, places, batch, source)


@operation(_GROUP, "constant_pad_nd.default")
def _pad(arithmetic: Arithmetic, x: Operand, pad: Sequence[int], value: Operand = 0.0) -> Value:
    given = arithmetic.value(x)
    [filler] = arithmetic.value(value).nodes.ravel()
    nodes = given.nodes
    for place in range(len(pad) // 2):
        axis, before, after = nodes.ndim - 1 - place, pad[2 * place], pad[2 * place + 1]
        if not before and not after:
            continue
        arithmetic.axes(given, axis)
        width = [(max(before, 0), max(after, 0)) if i == axis else (0, 0) for i in range(nodes.ndim)]
        nodes = np.pad(nodes, width, constant_values=filler)
        kept = slice(max(-before, 0), nodes.shape[axis] - max(-after, 0))
        nodes = nodes[(slice(None),) * axis + (kept,)]
    return Value(nodes, given.batch)


@operation(_GROUP, "tril.default")
def _tril(arithmetic: Arithmetic, x: Operand, diagonal: int = 0) -> Value:
    return _triangle(arithmetic, arithmetic.value(x), diagonal, lower=True)


@operation(_GROUP, "triu.default")
def _triu(arithmetic: Arithmetic, x: Operand, diagonal: int = 0) -> Value:
    return _triangle(arithmetic, arithmetic.value(x), diagonal, lower=False)


def _triangle(arithmetic: Arithmetic, x: Value, diagonal: int, *, lower: bool) -> Value:
    arithmetic.axes(x, [-2, -1])
    every = np.ones(x.nodes.shape[-2:], dtype=bool)
    kept = np.tril(every, diagonal) if lower else np.triu(every, diagonal)
    return Value(np.where(kept, x.nodes, arithmetic.graph.constant(0.0)), x.batch)


@operation(_GROUP, "diag_embed.default")
def _diag_embed(arithmetic: Arithmetic, x: Operand, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Value:
    value = arithmetic.value(x)
    arithmetic.axes(value, -1)
    size = value.nodes.shape[-1] + abs(offset)
    made = np.full((*value.nodes.shape[:-1], size, size), arithmetic.graph.constant(0.0))
    places = np.arange(value.nodes.shape[-1])
    made[..., places + max(-offset, 0), places + max(offset, 0)] = value.nodes
    first, second = dim1 % made.ndim, dim2 % made.ndim
    batch = value.batch
    if batch is not None:
        others = [axis for axis in range(made.ndim) if axis not in (first, second)]
        batch = batch._replace(axis=others[batch.axis])
    return Value(np.moveaxis(made, (-2, -1), (first, second)), batch)
