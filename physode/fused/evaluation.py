"""Programs evaluated operation by operation by PyTorch: what kernels are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from physode.fused.graph import Leaf, Node

__all__ = ["evaluate"]

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **{
        name: getattr(torch, name)
        for name in (
            "neg", "abs", "sign", "sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan",
            "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid",
            "floor", "ceil", "round", "trunc", "add", "sub", "mul", "div", "pow", "atan2", "fmod", "minimum",
            "maximum", "lt", "le", "gt", "ge", "eq", "ne", "where",
        )
    },
    "not": torch.logical_not,
    "and": torch.logical_and,
    "or": torch.logical_or,
}  # fmt: skip


def evaluate(nodes: Sequence[Node], leaves: Mapping[Leaf, Tensor], wanted: Sequence[int]) -> Tensor:
    """Evaluate some nodes of a graph.

    Parameters
    ----------
    nodes
        In an order of evaluation.
    leaves
        The numbers of each kind along the last axis, leading axes being those of samples or none: state (batch, D),
        shared (P,), time (batch, 1), ...
    wanted
        The nodes whose values are returned.

    Returns
    -------
    Tensor
        Shape (..., number of nodes wanted).
    """
    values: list[Tensor] = []
    like = next(iter(leaves.values()))
    for node in nodes:
        operands = [values[x] for x in node.operands]
        if node.op == "constant":
            value = like.new_tensor(node.value)
        elif node.op == "matvec":
            assert node.matrix is not None
            matrix = node.matrix
            weights = leaves["shared"].as_strided(
                (matrix.rows, matrix.columns),
                (matrix.by_row, matrix.by_column),
                leaves["shared"].storage_offset() + matrix.offset,
            )
            value = _together(operands) @ weights.mT
        elif node.op == "element":
            value = operands[0][..., node.place]
        elif node.op in _FUNCTIONS:
            value = _FUNCTIONS[node.op](*operands)
        else:
            value = leaves[node.op][..., node.place]  # type: ignore[index]
        values.append(value)
    return _together([values[node] for node in wanted])


def _together(values: Sequence[Tensor]) -> Tensor:
    shape = torch.broadcast_shapes(*(value.shape for value in values))  # type: ignore[no-untyped-call]
    return torch.stack([value.expand(shape) for value in values], -1)
