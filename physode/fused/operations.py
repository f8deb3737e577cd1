"""Operations that work on each element by itself.

NaN goes where PyTorch lets it go. Where a root, a logarithm or an exponential is not chosen, its argument is not taken
either: its slope, which may be infinite, is then no part of the derivative.
"""

from __future__ import annotations

import math

from physode.fused.rules import pointwise
from physode.fused.scalars import Number, Scalar, apply, both, either, where
from physode.fused.unsupported import Unsupported

_UNARY = (
    "neg", "abs", "sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos",
    "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid", "floor", "ceil", "trunc",
    "round", "sign",
)  # fmt: skip


def _enter(name: str, op: str) -> None:
    pointwise(name)(lambda x: apply(op, x))


for _op in _UNARY:
    _enter(f"{_op}.default", _op)
_enter("sgn.default", "sign")

pointwise("frac.default")(lambda x: x - apply("trunc", x))
pointwise("reciprocal.default")(lambda x: 1.0 / x)
pointwise("rsqrt.default")(lambda x: 1.0 / apply("sqrt", x))
pointwise("deg2rad.default")(lambda x: x * (math.pi / 180.0))
pointwise("rad2deg.default")(lambda x: x * (180.0 / math.pi))

pointwise("add.Tensor", "add.Scalar")(lambda x, y, alpha=1.0: x + y * alpha)
pointwise("sub.Tensor", "sub.Scalar")(lambda x, y, alpha=1.0: x - y * alpha)
pointwise("rsub.Tensor", "rsub.Scalar")(lambda x, y, alpha=1.0: y - x * alpha)
pointwise("mul.Tensor", "mul.Scalar")(lambda x, y: x * y)
pointwise("pow.Tensor_Scalar", "pow.Scalar", "pow.Tensor_Tensor")(lambda x, y: x**y)
pointwise("addcmul.default")(lambda x, y, z, value=1.0: x + y * z * value)
pointwise("addcdiv.default")(lambda x, y, z, value=1.0: x + y / z * value)
pointwise("hypot.default")(lambda x, y: _root(x**2.0 + y**2.0))
pointwise("atan2.default")(lambda y, x: apply("atan2", y, x))
pointwise("fmod.Tensor", "fmod.Scalar")(lambda x, y: apply("fmod", x, y))
pointwise("maximum.default")(lambda x, y: apply("maximum", x, y))
pointwise("minimum.default")(lambda x, y: apply("minimum", x, y))


def _root(x: Scalar) -> Scalar:
    """Return a square root whose derivative is 0 at 0, as those of lengths are."""
    return where(x.eq(0.0), 0.0, apply("sqrt", where(x.eq(0.0), 1.0, x)))


@pointwise("lerp.Tensor", "lerp.Scalar")
def _lerp(x: Scalar, y: Scalar, weight: Scalar) -> Scalar:
    """Return a mean that is exact at both ends."""
    from_first, from_second = x + weight * (y - x), y - (y - x) * (1.0 - weight)
    number = weight.graph.number(weight.node)
    if number is not None:
        return from_first if abs(number) < 0.5 else from_second
    return where(apply("abs", weight) < 0.5, from_first, from_second)


@pointwise("div.Tensor", "div.Scalar", "div.Tensor_mode", "div.Scalar_mode")
def _div(x: Scalar, y: Scalar, rounding_mode: str | None = None) -> Scalar:
    if rounding_mode is None:
        return x / y
    return apply("trunc", x / y) if rounding_mode == "trunc" else _floor_division(x, y)


@pointwise("floor_divide.default", "floor_divide.Scalar")
def _floor_division(x: Scalar, y: Scalar) -> Scalar:
    """Return the floor of the exact quotient, not of the rounded one."""
    rest = apply("fmod", x, y)
    quotient = (x - rest) / y - where(both(rest.ne(0.0), _differ(rest, y)), 1.0, 0.0)
    whole = apply("floor", quotient)
    return where(y.eq(0.0), x / y, where(quotient - whole > 0.5, whole + 1.0, whole))


@pointwise("remainder.Tensor", "remainder.Scalar", "remainder.Scalar_Tensor")
def _remainder(x: Scalar, y: Scalar) -> Scalar:
    rest = apply("fmod", x, y)
    return where(both(rest.ne(0.0), _differ(rest, y)), rest + y, rest)


def _differ(x: Scalar, y: Scalar) -> Scalar:
    """Return whether one of two numbers is negative."""
    return either(both(x < 0.0, y >= 0.0), both(x >= 0.0, y < 0.0))


@pointwise("xlogy.Tensor", "xlogy.Scalar_Self", "xlogy.Scalar_Other")
def _xlogy(x: Scalar, y: Scalar) -> Scalar:
    absent = both(x.eq(0.0), either(y <= 0.0, y.eq(math.inf)))
    return where(absent, 0.0, x * apply("log", where(absent, 1.0, y)))


@pointwise("logaddexp.default")
def _logaddexp(x: Scalar, y: Scalar) -> Scalar:
    difference = where(x.eq(y), 0.0, apply("abs", x - y))
    return apply("maximum", x, y) + apply("log1p", apply("exp", -difference))


@pointwise("sinc.default")
def _sinc(x: Scalar) -> Scalar:
    phase = math.pi * where(x.eq(0.0), 1.0, x)
    return where(x.eq(0.0), 1.0, apply("sin", phase) / phase)


@pointwise("clamp.default", "clamp.Tensor")
def _clamp(x: Scalar, low: Scalar | None = None, high: Scalar | None = None, **bounds: Scalar | None) -> Scalar:
    low, high = bounds.get("min", low), bounds.get("max", high)
    if low is not None:
        x = _clamp_min(x, low)
    return x if high is None else _clamp_max(x, high)


@pointwise("clamp_min.default", "clamp_min.Tensor")
def _clamp_min(x: Scalar, low: Scalar) -> Scalar:
    return where(_beyond(x < low, low), low, x)


@pointwise("clamp_max.default", "clamp_max.Tensor")
def _clamp_max(x: Scalar, high: Scalar) -> Scalar:
    return where(_beyond(x > high, high), high, x)


def _beyond(verdict: Scalar, bound: Scalar) -> Scalar:
    """Return whether a bound holds: what is beyond it, and all where it is NaN."""
    plain = bound.graph.number(bound.node) is not None
    return verdict if plain else either(verdict, bound.ne(bound))


for _comparison in ("lt", "le", "gt", "ge", "eq", "ne"):

    def _compare(x: Scalar, y: Scalar, op: str = _comparison) -> Scalar:
        return apply(op, x, y)

    pointwise(f"{_comparison}.Tensor", f"{_comparison}.Scalar", group="Comparisons and choices")(_compare)


_CHOICES = "Comparisons and choices"
_AND = ("logical_and.default", "bitwise_and.Tensor", "bitwise_and.Scalar")
_OR = ("logical_or.default", "bitwise_or.Tensor", "bitwise_or.Scalar")
_XOR = ("logical_xor.default", "bitwise_xor.Tensor", "bitwise_xor.Scalar")
_NOT = ("logical_not.default", "bitwise_not.default")
pointwise(*_AND, verdicts=True, group=_CHOICES)(lambda x, y: both(x.as_verdict, y.as_verdict))
pointwise(*_OR, verdicts=True, group=_CHOICES)(lambda x, y: either(x.as_verdict, y.as_verdict))
pointwise(*_XOR, verdicts=True, group=_CHOICES)(lambda x, y: x.as_number.ne(y.as_number))
pointwise(*_NOT, verdicts=True, group=_CHOICES)(lambda x: ~x.as_verdict)
pointwise("isnan.default", group=_CHOICES)(lambda x: x.ne(x))
pointwise("isinf.default", group=_CHOICES)(lambda x: apply("abs", x).eq(math.inf))


@pointwise("where.self", verdicts=True, group=_CHOICES)
def _where(condition: Scalar, x: Scalar, y: Scalar) -> Scalar:
    return where(condition.as_verdict, x.as_number, y.as_number)


@pointwise("masked_fill.Scalar", "masked_fill.Tensor", verdicts=True, group=_CHOICES)
def _masked_fill(x: Scalar, mask: Scalar, value: Scalar) -> Scalar:
    return where(mask.as_verdict, value.as_number, x.as_number)


@pointwise("heaviside.default", group=_CHOICES)
def _heaviside(x: Scalar, at_zero: Scalar) -> Scalar:
    return where(x.ne(x), x, where(x.eq(0.0), at_zero, where(x > 0.0, 1.0, 0.0)))


@pointwise("nan_to_num.default", group=_CHOICES)
def _nan_to_num(
    x: Scalar, nan: Number | None = None, posinf: Number | None = None, neginf: Number | None = None
) -> Scalar:
    if posinf is None or neginf is None:
        raise Unsupported("aten.nan_to_num without values for infinities is not supported")
    finite = where(x.eq(math.inf), posinf, where(x.eq(-math.inf), neginf, x))
    return where(x.ne(x), 0.0 if nan is None else nan, finite)
