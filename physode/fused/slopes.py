"""Derivatives of single operations, by their operands, with the conventions of PyTorch's autograd.

Ties of extremes are split in halves; the derivative of a magnitude is 0 at 0; what a choice does not choose gets 0 and
not a product with 0, which would be NaN beside an infinite slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from physode.fused.graph import Graph
from physode.fused.scalars import Scalar, apply, both, where

__all__ = ["Slope", "power_of", "slopes"]

_DEPTH = 5  # of products of products that are looked through for one power

Linear: TypeAlias = Callable[[Scalar], Scalar]


class Slope(NamedTuple):
    """A derivative.

    Attributes
    ----------
    operand
        The node that it is taken by.
    times
        Multiplies a number by it.
    """

    operand: int
    times: Linear


def slopes(graph: Graph, node: int) -> list[Slope]:
    """Return the derivatives of a node by what it is made of; products with matrices are none of these."""
    entry = graph.nodes[node]
    z = Scalar(graph, node)
    if entry.op == "mul":
        power = power_of(graph, node)
        if power is not None:
            base, exponent = power
            x = Scalar(graph, base)
            return [Slope(base, lambda g: g * (exponent * x ** (exponent - 1.0)))]
    if entry.op in _UNARY:
        x = Scalar(graph, entry.operands[0])
        function = _UNARY[entry.op]
        return [Slope(x.node, lambda g: function(g, x, z))]
    if entry.op in _BINARY:
        x, y = (Scalar(graph, operand) for operand in entry.operands)
        by_first, by_second = _BINARY[entry.op]
        return [Slope(x.node, lambda g: by_first(g, x, y, z)), Slope(y.node, lambda g: by_second(g, x, y, z))]
    if entry.op == "where":
        condition, x, y = (Scalar(graph, operand) for operand in entry.operands)
        return [Slope(x.node, lambda g: where(condition, g, 0.0)), Slope(y.node, lambda g: where(condition, 0.0, g))]
    return []


def power_of(graph: Graph, node: int) -> tuple[int, float] | None:
    """Return the number and the exponent, above 1, of a product of one number and its root: one power.

    Seen as one it has a derivative at 0 as well, and fewer operations.
    """
    factor = _factor(graph, node)
    return factor if factor is not None and factor[1] > 1.0 else None


def _factor(graph: Graph, node: int, depth: int = 0) -> tuple[int, float] | None:
    """Return a number and its exponent; None for a product of several."""
    entry = graph.nodes[node]
    if entry.op == "sqrt":
        return entry.operands[0], 0.5
    if entry.op != "mul" or depth > _DEPTH:
        return node, 1.0
    x, y = (_factor(graph, operand, depth + 1) for operand in entry.operands)
    first, second = entry.operands
    if x is not None and y is not None and x[0] == y[0]:
        return x[0], x[1] + y[1]
    # A number that is a product, or a root, itself counts as one where it meets itself or its root.
    for (own, other), power in (((first, second), y), ((second, first), x)):
        if power is not None and power[0] == own:
            return own, 1.0 + power[1]
        if own == other:
            return own, 2.0
    return None


def _extreme(g: Scalar, own: Scalar, other: Scalar, beaten: str) -> Scalar:
    half = where(own.eq(other), g * 0.5, g)
    return where(apply(beaten, own, other), 0.0, half)


def _power_by_base(g: Scalar, x: Scalar, y: Scalar, z: Scalar) -> Scalar:
    exponent = x.graph.number(y.node)
    if exponent is not None:
        return g * (exponent * x ** (exponent - 1.0))
    return where(y.eq(0.0), 0.0, g * (y * x ** (y - 1.0)))


def _power_by_exponent(g: Scalar, x: Scalar, y: Scalar, z: Scalar) -> Scalar:
    absent = both(x.eq(0.0), y >= 0.0)
    return where(absent, 0.0, g * z * apply("log", where(absent, 1.0, x)))


def _flat(g: Scalar, *operands: Scalar) -> Scalar:
    return g.like(0.0)


_UNARY: dict[str, Callable[[Scalar, Scalar, Scalar], Scalar]] = {
    "neg": lambda g, x, z: -g,
    "abs": lambda g, x, z: g * apply("sign", x),
    "sqrt": lambda g, x, z: g / (2.0 * z),
    "exp": lambda g, x, z: g * z,
    "exp2": lambda g, x, z: g * (z * math.log(2.0)),
    "expm1": lambda g, x, z: g * (z + 1.0),
    "log": lambda g, x, z: g / x,
    "log2": lambda g, x, z: g / (x * math.log(2.0)),
    "log10": lambda g, x, z: g / (x * math.log(10.0)),
    "log1p": lambda g, x, z: g / (x + 1.0),
    "sin": lambda g, x, z: g * apply("cos", x),
    "cos": lambda g, x, z: -(g * apply("sin", x)),
    "tan": lambda g, x, z: g * (1.0 + z * z),
    "asin": lambda g, x, z: g / apply("sqrt", 1.0 - x * x),
    "acos": lambda g, x, z: -(g / apply("sqrt", 1.0 - x * x)),
    "atan": lambda g, x, z: g / (x * x + 1.0),
    "sinh": lambda g, x, z: g * apply("cosh", x),
    "cosh": lambda g, x, z: g * apply("sinh", x),
    "tanh": lambda g, x, z: g * (1.0 - z * z),
    "asinh": lambda g, x, z: g / apply("sqrt", x * x + 1.0),
    "acosh": lambda g, x, z: g / apply("sqrt", x * x - 1.0),
    "atanh": lambda g, x, z: g / (1.0 - x * x),
    "erf": lambda g, x, z: g * (2.0 / math.sqrt(math.pi) * apply("exp", -(x * x))),
    "erfc": lambda g, x, z: g * (-2.0 / math.sqrt(math.pi) * apply("exp", -(x * x))),
    "sigmoid": lambda g, x, z: g * (z * (1.0 - z)),
}

_BINARY: dict[str, tuple[Callable[..., Scalar], Callable[..., Scalar]]] = {
    "add": (lambda g, x, y, z: g, lambda g, x, y, z: g),
    "sub": (lambda g, x, y, z: g, lambda g, x, y, z: -g),
    "mul": (lambda g, x, y, z: g * y, lambda g, x, y, z: g * x),
    "div": (lambda g, x, y, z: g / y, lambda g, x, y, z: -(g / y * z)),
    "pow": (_power_by_base, _power_by_exponent),
    "atan2": (
        lambda g, y, x, z: g * (x / (x * x + y * y)),
        lambda g, y, x, z: -(g * (y / (x * x + y * y))),
    ),
    "fmod": (lambda g, x, y, z: g, lambda g, x, y, z: -(g * apply("trunc", x / y))),
    "minimum": (lambda g, x, y, z: _extreme(g, x, y, "gt"), lambda g, x, y, z: _extreme(g, y, x, "gt")),
    "maximum": (lambda g, x, y, z: _extreme(g, x, y, "lt"), lambda g, x, y, z: _extreme(g, y, x, "lt")),
}
