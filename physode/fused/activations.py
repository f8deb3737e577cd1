"""The activation functions of networks."""

from __future__ import annotations

import math

import numpy as np

from physode.fused.arithmetic import Arithmetic, Operand
from physode.fused.memory import Value
from physode.fused.rules import operation, pointwise
from physode.fused.scalars import Number, Scalar, apply, either, where

_GROUP = "Activations"


@pointwise("relu.default", group=_GROUP)
def _relu(x: Scalar) -> Scalar:
    return where(x <= 0.0, 0.0, x)


@pointwise("leaky_relu.default", group=_GROUP)
def _leaky_relu(x: Scalar, slope: Number = 0.01) -> Scalar:
    return where(x > 0.0, x, x * slope)


@pointwise("_prelu_kernel.default", group=_GROUP)
def _prelu(x: Scalar, weight: Scalar) -> Scalar:
    return where(x > 0.0, x, weight * x)


@pointwise("threshold.default", group=_GROUP)
def _threshold(x: Scalar, threshold: Scalar, value: Scalar) -> Scalar:
    return where(x <= threshold, value, x)


@pointwise("elu.default", group=_GROUP)
def _elu(x: Scalar, alpha: Number = 1.0, scale: Number = 1.0, input_scale: Number = 1.0) -> Scalar:
    falling = apply("expm1", where(x > 0.0, 0.0, x) * input_scale)
    return where(x > 0.0, x * scale, falling * alpha * scale)


@pointwise("celu.default", group=_GROUP)
def _celu(x: Scalar, alpha: Number = 1.0) -> Scalar:
    return where(x > 0.0, x, apply("expm1", where(x > 0.0, 0.0, x) / alpha) * alpha)


@pointwise("hardtanh.default", group=_GROUP)
def _hardtanh(x: Scalar, low: Number = -1.0, high: Number = 1.0) -> Scalar:
    return where(x <= low, low, where(x >= high, high, x))


@pointwise("hardsigmoid.default", group=_GROUP)
def _hardsigmoid(x: Scalar) -> Scalar:
    return where(x <= -3.0, 0.0, where(x >= 3.0, 1.0, x / 6.0 + 0.5))


@pointwise("hardswish.default", group=_GROUP)
def _hardswish(x: Scalar) -> Scalar:
    return where(x <= -3.0, 0.0, where(x >= 3.0, x, x * (x + 3.0) / 6.0))


@pointwise("softplus.default", group=_GROUP)
def softplus(x: Scalar, beta: Number = 1.0, threshold: Number = 20.0) -> Scalar:
    """Return log(1 + exp(beta x)) / beta, or x where that is as good."""
    scaled = x * beta
    large = scaled > threshold
    return where(large, x, apply("log1p", apply("exp", where(large, 0.0, scaled))) / beta)


@pointwise("silu.default", group=_GROUP)
def _silu(x: Scalar) -> Scalar:
    return x * apply("sigmoid", x)


@pointwise("mish.default", group=_GROUP)
def _mish(x: Scalar) -> Scalar:
    return x * apply("tanh", softplus(x))


@pointwise("gelu.default", group=_GROUP)
def _gelu(x: Scalar, approximate: str = "none") -> Scalar:
    if approximate == "tanh":
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))
        return 0.5 * x * (1.0 + apply("tanh", inner))
    return 0.5 * x * (1.0 + apply("erf", x * math.sqrt(0.5)))


@pointwise("log_sigmoid_forward.default", group=_GROUP)
def _log_sigmoid(x: Scalar) -> Scalar:
    return apply("minimum", x, x.like(0.0)) - apply("log1p", apply("exp", -apply("abs", x)))


@pointwise("softshrink.default", group=_GROUP)
def _softshrink(x: Scalar, width: Number = 0.5) -> Scalar:
    return where(x > width, x - width, where(x < -x.like(width), x + width, where(x.ne(x), x, 0.0)))


@pointwise("hardshrink.default", group=_GROUP)
def _hardshrink(x: Scalar, width: Number = 0.5) -> Scalar:
    width = x.like(width)
    return where(either(x > width, either(x < -width, x.ne(x))), x, 0.0)


@pointwise("logit.default", group=_GROUP)
def _logit(x: Scalar, eps: Number | None = None) -> Scalar:
    if eps is not None:
        eps = x.like(eps)
        x = where(x < eps, eps, where(x > 1.0 - eps, 1.0 - eps, x))
    return apply("log", x / (1.0 - x))


@operation(_GROUP, "glu.default")
def _glu(arithmetic: Arithmetic, x: Operand, dim: int = -1) -> Value:
    value = arithmetic.value(x)
    [axis] = arithmetic.axes(value, dim)
    first, second = (Value(part, value.batch) for part in np.split(value.nodes, 2, axis))
    return arithmetic.mapped(lambda y, gate: y * apply("sigmoid", gate), [first, second])


@pointwise("tanh_backward.default", group=_GROUP)
def _tanh_backward(gradient: Scalar, y: Scalar) -> Scalar:
    return gradient * (1.0 - y * y)


@pointwise("sigmoid_backward.default", group=_GROUP)
def _sigmoid_backward(gradient: Scalar, y: Scalar) -> Scalar:
    return gradient * (y * (1.0 - y))


@pointwise("threshold_backward.default", group=_GROUP)
def _threshold_backward(gradient: Scalar, x: Scalar, threshold: Scalar) -> Scalar:
    return where(x <= threshold, 0.0, gradient)


@pointwise("softplus_backward.default", group=_GROUP)
def _softplus_backward(gradient: Scalar, x: Scalar, beta: Number, threshold: Number) -> Scalar:
    scaled = x * beta
    return where(scaled > threshold, gradient, gradient * apply("sigmoid", scaled))


@pointwise("leaky_relu_backward.default", group=_GROUP)
def _leaky_relu_backward(gradient: Scalar, x: Scalar, slope: Scalar, is_result: Scalar) -> Scalar:
    return where(x > 0.0, gradient, gradient * slope)


@pointwise("gelu_backward.default", group=_GROUP)
def _gelu_backward(gradient: Scalar, x: Scalar, approximate: str = "none") -> Scalar:
    if approximate == "tanh":
        scale = math.sqrt(2.0 / math.pi)
        bent = apply("tanh", scale * (x + 0.044715 * (x * x * x)))
        return gradient * (0.5 * (1.0 + bent) + 0.5 * x * (1.0 - bent * bent) * (scale * (1.0 + 0.134145 * (x * x))))
    density = apply("exp", -0.5 * (x * x)) / math.sqrt(2.0 * math.pi)
    return gradient * (0.5 * (1.0 + apply("erf", x * math.sqrt(0.5))) + x * density)


@pointwise("silu_backward.default", group=_GROUP)
def _silu_backward(gradient: Scalar, x: Scalar) -> Scalar:
    share = apply("sigmoid", x)
    return gradient * (share * (1.0 + x * (1.0 - share)))
