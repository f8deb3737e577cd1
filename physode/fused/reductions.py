"""Sums, products, extremes and lengths along axes; softmax; running sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from physode.fused.arithmetic import Arithmetic, Operand
from physode.fused.memory import Value
from physode.fused.rules import operation
from physode.fused.scalars import Scalar, apply, both, either, where

_GROUP = "Along axes"


def _numbers(row: Sequence[Scalar]) -> list[Scalar]:
    return [x.as_number for x in row]


def total(row: Sequence[Scalar]) -> Scalar:
    """Return a sum, from the first term to the last."""
    return reduce(lambda x, y: x + y, _numbers(row))


def _reduction(function: Callable[[list[Scalar]], Scalar], *names: str) -> None:
    """Enter an operation ``(x, dim, keepdim)``."""

    def lower(arithmetic: Arithmetic, x: Operand, dim: Any = None, keepdim: bool = False) -> Value:
        return arithmetic.reduced(arithmetic.value(x), dim, keepdim, function)

    operation(_GROUP, *names)(lower)


def _mean(row: list[Scalar]) -> Scalar:
    return total(row) / float(len(row))


def _product(row: list[Scalar]) -> Scalar:
    return reduce(lambda x, y: x * y, _numbers(row))


def _largest(row: Sequence[Scalar]) -> Scalar:
    return reduce(lambda x, y: apply("maximum", x, y), row)


def _smallest(row: Sequence[Scalar]) -> Scalar:
    return reduce(lambda x, y: apply("minimum", x, y), row)


def _shift(row: Sequence[Scalar]) -> Scalar:
    """Return the largest of some numbers, 0 in place of what is infinite."""
    largest = _largest(row)
    return where(apply("abs", largest).eq(math.inf), 0.0, largest)


def _logsumexp(row: list[Scalar]) -> Scalar:
    shift = _shift(row)
    return shift + apply("log", total([apply("exp", x - shift) for x in row]))


_reduction(total, "sum.default", "sum.dim_IntList")
_reduction(_mean, "mean.default", "mean.dim")
_reduction(_product, "prod.default", "prod.dim_int")
_reduction(_largest, "amax.default", "max.default")
_reduction(_smallest, "amin.default", "min.default")
_reduction(_logsumexp, "logsumexp.default")
_reduction(lambda row: reduce(both, [x.as_verdict for x in row]), "all.default", "all.dim", "all.dims")
_reduction(lambda row: reduce(either, [x.as_verdict for x in row]), "any.default", "any.dim", "any.dims")


def _first(better: str) -> Callable[[list[Scalar]], Scalar]:
    """Return a choice of the first of the best, which alone has a derivative; NaN is better than all."""

    def choose(best: Scalar, x: Scalar) -> Scalar:
        return where(either(apply(better, x, best), both(x.ne(x), best.eq(best))), x, best)

    return lambda row: reduce(choose, row)


def _extreme(better: str, *names: str) -> None:
    def lower(arithmetic: Arithmetic, x: Operand, dim: int, keepdim: bool = False) -> tuple[Value, None]:
        return arithmetic.reduced(arithmetic.value(x), dim, keepdim, _first(better)), None

    operation(_GROUP, *names)(lower)


_extreme("gt", "max.dim")
_extreme("lt", "min.dim")


def _variance(row: list[Scalar], correction: float) -> Scalar:
    mean = _mean(row)
    return total([(x - mean) ** 2.0 for x in row]) / max(len(row) - correction, 0.0)


@operation(_GROUP, "var.correction")
def _var(
    arithmetic: Arithmetic, x: Operand, dim: Any = None, correction: float | None = 1, keepdim: bool = False
) -> Value:
    amount = 1.0 if correction is None else float(correction)
    return arithmetic.reduced(arithmetic.value(x), dim, keepdim, lambda row: _variance(row, amount))


@operation(_GROUP, "std.correction")
def _std(
    arithmetic: Arithmetic, x: Operand, dim: Any = None, correction: float | None = 1, keepdim: bool = False
) -> Value:
    amount = 1.0 if correction is None else float(correction)

    def deviation(row: list[Scalar]) -> Scalar:
        return length_of_square(_variance(row, amount))

    return arithmetic.reduced(arithmetic.value(x), dim, keepdim, deviation)


def length_of_square(square: Scalar) -> Scalar:
    """Return a root whose derivative is 0 at 0."""
    zero = square.eq(0.0)
    return where(zero, 0.0, apply("sqrt", where(zero, 1.0, square)))


@operation(_GROUP, "linalg_vector_norm.default")
def _norm(arithmetic: Arithmetic, x: Operand, ord: float | None = 2, dim: Any = None, keepdim: bool = False) -> Value:  # noqa: A002
    order = 2.0 if ord is None else float(ord)

    def norm(row: list[Scalar]) -> Scalar:
        sizes = [apply("abs", y) for y in row]
        if order == 1.0:
            return total(sizes)
        if math.isinf(order):
            return _largest(sizes) if order > 0.0 else _smallest(sizes)
        return length_of_square(total([y**2.0 for y in row]))

    if order not in (1.0, 2.0) and not math.isinf(order):
        raise arithmetic.refusal(f"of order {order:g} is not supported")
    return arithmetic.reduced(arithmetic.value(x), dim, keepdim, norm)


@operation(_GROUP, "_softmax.default")
def _softmax(arithmetic: Arithmetic, x: Operand, dim: int, half: bool = False) -> Value:
    def shares(row: list[Scalar]) -> list[Scalar]:
        largest = _largest(row)
        sizes = [apply("exp", y - largest) for y in row]
        whole = total(sizes)
        return [size / whole for size in sizes]

    return arithmetic.along(arithmetic.value(x), dim, shares)


@operation(_GROUP, "_log_softmax.default")
def _log_softmax(arithmetic: Arithmetic, x: Operand, dim: int, half: bool = False) -> Value:
    def logarithms(row: list[Scalar]) -> list[Scalar]:
        largest = _largest(row)
        whole = apply("log", total([apply("exp", y - largest) for y in row]))
        return [y - largest - whole for y in row]

    return arithmetic.along(arithmetic.value(x), dim, logarithms)


def _running(function: Callable[[Scalar, Scalar], Scalar], name: str) -> None:
    def lower(arithmetic: Arithmetic, x: Operand, dim: int) -> Value:
        def of_row(row: list[Scalar]) -> list[Scalar]:
            made = _numbers(row)[:1]
            for y in _numbers(row)[1:]:
                made.append(function(made[-1], y))
            return made

        return arithmetic.along(arithmetic.value(x), dim, of_row)

    operation(_GROUP, name)(lower)


_running(lambda x, y: x + y, "cumsum.default")
_running(lambda x, y: x * y, "cumprod.default")


@operation(_GROUP, "native_layer_norm.default")
def _layer_norm(
    arithmetic: Arithmetic, x: Operand, shape: Sequence[int], weight: Operand | None, bias: Operand | None, eps: Any
) -> tuple[Value, None, None]:
    value = arithmetic.value(x)
    axes = arithmetic.axes(value, list(range(-len(shape), 0)))
    small = arithmetic.scalar(int(arithmetic.value(eps).nodes))
    mean = arithmetic.reduced(value, axes, True, _mean)
    scale = arithmetic.reduced(value, axes, True, lambda row: 1.0 / apply("sqrt", _variance(row, 0.0) + small))
    result = arithmetic.mapped(lambda y, m, s: (y - m) * s, [value, mean, scale])
    if weight is not None:
        result = arithmetic.mapped(lambda y, w: y * w, [result, weight])
    if bias is not None:
        result = arithmetic.mapped(lambda y, b: y + b, [result, bias])
    return result, None, None


@operation(_GROUP, "trace.default")
def _trace(arithmetic: Arithmetic, x: Operand) -> Value:
    value = arithmetic.value(x)
    arithmetic.axes(value, None)
    return arithmetic.reduced(Value(np.diagonal(value.nodes)), None, False, total)
