"""Operations that move elements, fill tensors, or convert them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from physode.fused.arithmetic import Arithmetic, Operand
from physode.fused.memory import Value
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


def _padding(name: str, mode: Any) -> None:
    def lower(arithmetic: Arithmetic, x: Operand, pad: Sequence[int]) -> Value:
        value = arithmetic.value(x)
        ndim = value.nodes.ndim
        width = [(0, 0)] * ndim
        for place in range(len(pad) // 2):
            width[ndim - 1 - place] = pad[2 * place], pad[2 * place + 1]
        arithmetic.axes(value, [ndim - 1 - place for place in range(len(pad) // 2)])
        return Value(np.pad(value.nodes, width, mode=mode), value.batch)

    operation(_GROUP, name)(lower)


for _axes in (1, 2):
    _padding(f"reflection_pad{_axes}d.default", "reflect")
    _padding(f"replication_pad{_axes}d.default", "edge")


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
