"""Every operation of the registry, against PyTorch: values, gradients, derivatives in a direction, Jacobians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from physode.fused.lowering import functional_name
from physode.fused.rules import RULES
from tests.fused.holding import hold, lowered

aten = torch.ops.aten
few = settings(max_examples=5)
seeds = st.integers(0, 1000)
FLOAT = torch.float64

UNARY = {
    **dict.fromkeys(("neg", "abs", "exp", "exp2", "expm1", "sin", "cos", "atan", "sinh", "cosh", "tanh"), (-2.0, 2.0)),
    **dict.fromkeys(("asinh", "erf", "erfc", "sigmoid", "floor", "ceil", "trunc", "round", "sign"), (-2.0, 2.0)),
    **dict.fromkeys(("sgn", "frac", "deg2rad", "rad2deg", "sinc", "relu", "leaky_relu", "elu", "celu"), (-2.0, 2.0)),
    **dict.fromkeys(("hardtanh", "softplus", "silu", "mish", "gelu", "softshrink", "hardshrink"), (-2.0, 2.0)),
    **dict.fromkeys(("hardsigmoid", "hardswish"), (-4.0, 4.0)),
    **dict.fromkeys(("sqrt", "rsqrt", "reciprocal", "log", "log2", "log10", "log1p"), (0.3, 3.0)),
    **dict.fromkeys(("tan", "asin", "acos", "atanh"), (-0.9, 0.9)),
    "acosh": (1.2, 3.0),
    "logit": (0.1, 0.9),
    "log_sigmoid_forward": (-3.0, 3.0),
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add.Tensor": lambda x, y: aten.add.Tensor(x, y, alpha=0.7),
    "sub.Tensor": lambda x, y: aten.sub.Tensor(x, y, alpha=0.7),
    "rsub.Tensor": lambda x, y: aten.rsub.Tensor(x, y, alpha=0.7),
    "mul.Tensor": aten.mul.Tensor,
    "div.Tensor": aten.div.Tensor,
    "div.Tensor_mode": lambda x, y: aten.div.Tensor_mode(x, y, rounding_mode="floor"),
    "floor_divide.default": aten.floor_divide.default,
    "fmod.Tensor": aten.fmod.Tensor,
    "remainder.Tensor": aten.remainder.Tensor,
    "pow.Tensor_Tensor": lambda x, y: aten.pow.Tensor_Tensor(x.abs(), y),
    "atan2.default": aten.atan2.default,
    "hypot.default": aten.hypot.default,
    "maximum.default": aten.maximum.default,
    "minimum.default": aten.minimum.default,
    "xlogy.Tensor": lambda x, y: aten.xlogy.Tensor(x, y.abs()),
    "logaddexp.default": aten.logaddexp.default,
    "clamp_min.Tensor": aten.clamp_min.Tensor,
    "clamp_max.Tensor": aten.clamp_max.Tensor,
    "clamp.Tensor": lambda x, y: aten.clamp.Tensor(x, y - 0.5, y + 0.5),
    "addcmul.default": lambda x, y: aten.addcmul.default(x, y, y + 1.0, value=0.3),
    "addcdiv.default": lambda x, y: aten.addcdiv.default(x, y, y * y + 1.0, value=0.3),
    "lerp.Tensor": lambda x, y: aten.lerp.Tensor(x, y, x * y),
    "lerp.Scalar": lambda x, y: aten.lerp.Scalar(x, y, 0.3),
    "_prelu_kernel.default": lambda x, y: aten._prelu_kernel.default(x, y),
    "where.self": lambda x, y: aten.where.self(x > y, x, y),
    "masked_fill.Scalar": lambda x, y: aten.masked_fill.Scalar(x, x > y, 0.3),
    "masked_fill.Tensor": lambda x, y: aten.masked_fill.Tensor(x, x > y, torch.tensor(0.3, dtype=FLOAT)),
    "heaviside.default": lambda x, y: aten.heaviside.default(x, y) * x,
    **{f"{op}.Tensor": (lambda x, y, op=op: getattr(aten, op).Tensor(x, y) * x) for op in ("lt", "le", "gt", "ge")},
    "eq.Tensor": lambda x, y: aten.eq.Tensor(x.round(), y.round()) * x,
    "ne.Tensor": lambda x, y: aten.ne.Tensor(x.round(), y.round()) * x,
    "logical_and.default": lambda x, y: aten.logical_and.default(x > 0, y > 0) * x,
    "logical_or.default": lambda x, y: aten.logical_or.default(x > 0, y.round()) * x,
    "logical_xor.default": lambda x, y: aten.logical_xor.default(x > 0, y > 0) * x,
    "bitwise_and.Tensor": lambda x, y: ((x > 0) & (y > 0)) * x,
    "bitwise_or.Tensor": lambda x, y: ((x > 0) | (y > 0)) * x,
    "bitwise_xor.Tensor": lambda x, y: ((x > 0) ^ (y > 0)) * x,
    "tanh_backward.default": lambda x, y: aten.tanh_backward.default(x, y),
    "sigmoid_backward.default": lambda x, y: aten.sigmoid_backward.default(x, y),
    "threshold_backward.default": lambda x, y: aten.threshold_backward.default(x, y, 0),
    "softplus_backward.default": lambda x, y: aten.softplus_backward.default(x, y, 1.0, 20.0),
    "silu_backward.default": lambda x, y: aten.silu_backward.default(x, y),
    "leaky_relu_backward.default": lambda x, y: aten.leaky_relu_backward.default(x, y, 0.1, False),
    "gelu_backward.default": lambda x, y: aten.gelu_backward.default(x, y),
    "glu.default": lambda x, y: aten.glu.default(torch.stack((x, y), -1), -1).squeeze(-1),
}
SCALAR: dict[str, Callable[[Tensor], Tensor]] = {
    "add.Scalar": lambda x: aten.add.Scalar(x, 0.37),
    "sub.Scalar": lambda x: aten.sub.Scalar(x, 0.37),
    "rsub.Scalar": lambda x: aten.rsub.Scalar(x, 0.37),
    "mul.Scalar": lambda x: aten.mul.Scalar(x, 0.37),
    "div.Scalar": lambda x: aten.div.Scalar(x, 0.37),
    "div.Scalar_mode": lambda x: aten.div.Scalar_mode(x, 0.37, rounding_mode="trunc"),
    "floor_divide.Scalar": lambda x: aten.floor_divide.Scalar(x, 0.37),
    "fmod.Scalar": lambda x: aten.fmod.Scalar(x, 0.37),
    "remainder.Scalar": lambda x: aten.remainder.Scalar(x, -0.37),
    "remainder.Scalar_Tensor": lambda x: aten.remainder.Scalar_Tensor(3.3, x),
    "pow.Tensor_Scalar": lambda x: aten.pow.Tensor_Scalar(x.abs(), 1.5) + x**3 + x.abs() ** 0.7 + 1 / (x * x + 1) ** 2,
    "pow.Scalar": lambda x: aten.pow.Scalar(1.7, x),
    "xlogy.Scalar_Self": lambda x: aten.xlogy.Scalar_Self(0.3, x.abs()),
    "xlogy.Scalar_Other": lambda x: aten.xlogy.Scalar_Other(x, 0.3),
    "clamp.default": lambda x: aten.clamp.default(x, -0.37, 0.77),
    "clamp_min.default": lambda x: aten.clamp_min.default(x, 0.37),
    "clamp_max.default": lambda x: aten.clamp_max.default(x, 0.37),
    **{
        f"{op}.Scalar": (lambda x, op=op: getattr(aten, op).Scalar(x, 0.3) * x)
        for op in ("lt", "le", "gt", "ge", "eq", "ne")
    },
    "bitwise_and.Scalar": lambda x: aten.bitwise_and.Scalar(x > 0, True) * x,
    "bitwise_or.Scalar": lambda x: aten.bitwise_or.Scalar(x > 0, False) * x,
    "bitwise_xor.Scalar": lambda x: aten.bitwise_xor.Scalar(x > 0, True) * x,
    "logical_not.default": lambda x: aten.logical_not.default(x > 0) * x,
    "bitwise_not.default": lambda x: ~(x > 0) * x,
    "isnan.default": lambda x: torch.where(aten.isnan.default(x), 1.0, x),
    "isinf.default": lambda x: torch.where(aten.isinf.default(x), 1.0, x),
    "nan_to_num.default": lambda x: aten.nan_to_num.default(x, 0.1, 2.0, -2.0),
    "threshold.default": lambda x: aten.threshold.default(x, 0.1, 0.5),
    "clone.default": lambda x: aten.clone.default(x),
    "_to_copy.default": lambda x: (x > 0).to(FLOAT) * x,
    "copy.default": lambda x: torch.empty_like(x).copy_(x),
    "fill.Scalar": lambda x: torch.empty_like(x).fill_(0.3) * x,
    "fill.Tensor": lambda x: torch.empty_like(x).fill_(torch.tensor(0.3, dtype=FLOAT)) * x,
    "zero.default": lambda x: torch.empty_like(x).zero_() + x,
    "zeros.default": lambda x: torch.zeros(x.shape, dtype=FLOAT) + x,
    "zeros_like.default": lambda x: torch.zeros_like(x) + x,
    "new_zeros.default": lambda x: x.new_zeros(x.shape) + x,
    "ones.default": lambda x: torch.ones(x.shape, dtype=FLOAT) * x,
    "ones_like.default": lambda x: torch.ones_like(x) * x,
    "new_ones.default": lambda x: x.new_ones(()) * x,
    "full.default": lambda x: torch.full(x.shape, 0.3, dtype=FLOAT) * x,
    "full_like.default": lambda x: torch.full_like(x, 0.3) * x,
    "new_full.default": lambda x: x.new_full((), 0.3) * x,
    "scalar_tensor.default": lambda x: torch.scalar_tensor(0.3, dtype=FLOAT) * x,
    "empty.memory_format": lambda x: torch.empty(x.shape, dtype=FLOAT).copy_(x),
    "empty_like.default": lambda x: torch.empty_like(x).copy_(x),
    "new_empty.default": lambda x: x.new_empty(x.shape).copy_(x),
    "empty_strided.default": lambda x: torch.empty_strided(x.shape, x.stride(), dtype=FLOAT).copy_(x),
    "new_empty_strided.default": lambda x: x.new_empty_strided(x.shape, x.stride()).copy_(x),
}
# Of (batch, 2, 3), to be summed to the state's own shape.
ALONG: dict[str, Callable[[Tensor], Tensor]] = {
    "sum.dim_IntList": lambda x: x.sum(-1),
    "mean.dim": lambda x: x.mean((-2, -1), keepdim=True),
    "prod.dim_int": lambda x: x.prod(-1, keepdim=True),
    "amax.default": lambda x: x.amax(-1),
    "amin.default": lambda x: x.amin((1, 2)),
    "max.dim": lambda x: x.max(1).values,
    "min.dim": lambda x: x.min(-1, keepdim=True).values,
    "logsumexp.default": lambda x: x.logsumexp(-1),
    "all.dim": lambda x: (x > -0.5).all(-1, keepdim=True) * x,
    "any.dim": lambda x: (x > 0.5).any(-1, keepdim=True) * x,
    "all.dims": lambda x: (x > -1.5).all((-1, -2), keepdim=True) * x,
    "any.dims": lambda x: (x > 0.5).any((-1, -2), keepdim=True) * x,
    "var.correction": lambda x: x.var(-1),
    "std.correction": lambda x: x.std(-1, correction=0),
    "linalg_vector_norm.default": lambda x: (
        torch.linalg.norm(x, dim=-1)
        + torch.linalg.vector_norm(x, 1, dim=-1)
        + torch.linalg.vector_norm(x, float("inf"), dim=-1)
    ),
    "_softmax.default": lambda x: x.softmax(-1) * x,
    "_log_softmax.default": lambda x: x.log_softmax(1) * x,
    "cumsum.default": lambda x: x.cumsum(1),
    "cumprod.default": lambda x: x.cumprod(-1),
    "native_layer_norm.default": lambda x: torch.nn.functional.layer_norm(
        x, (3,), x.new_tensor([1.0, 2.0, 3.0]), x.new_tensor([0.1, 0.2, 0.3])
    ),
    "cat.default": lambda x: torch.cat((x, 2.0 * x[:, :1]), 1),
    "stack.default": lambda x: torch.stack((x, x * x), 1),
    "flip.default": lambda x: x.flip(-1, 1) * x,
    "roll.default": lambda x: x.roll((1, 1), (1, 2)) * x,
    "repeat.default": lambda x: x.repeat(1, 2, 1),
    "index.Tensor": lambda x: x[:, :, [2, 0]] + x[:, [1, 0], [0, 1], None],
    "index_select.default": lambda x: x.index_select(2, torch.tensor([2, 0, 2])),
    "gather.default": lambda x: x.gather(2, torch.tensor([[[1, 1], [0, 2]]]).expand(len(x), 2, 2)),
    "index_put.default": lambda x: put(x.clone(), x[:, :1] * x[:, :1]),
    "slice_scatter.default": lambda x: torch.slice_scatter(x, x[:, :, :2] ** 2, 2, 1, 3),
    "select_scatter.default": lambda x: torch.select_scatter(x, x[:, 1] ** 2, 1, 0),
    "slice_backward.default": lambda x: aten.slice_backward.default(x, [len(x), 4, 3], 1, 1, 3, 1),
    "select_backward.default": lambda x: aten.select_backward.default(x[:, 0], [len(x), 4, 3], 1, 2),
    "scatter.src": lambda x: torch.zeros_like(x).scatter(
        1, torch.tensor([[[1, 0, 1], [0, 1, 0]]]).expand(len(x), 2, 3), x * x
    ),
    "scatter.value": lambda x: x.scatter(2, torch.tensor([[[1], [0]]]).expand(len(x), 2, 1), 0.37),
    "scatter_add.default": lambda x: torch.zeros_like(x).scatter_add(
        2, torch.tensor([[[1, 1, 0], [2, 2, 2]]]).expand(len(x), 2, 3), x * x
    ),
    "index_add.default": lambda x: x.index_add(2, torch.tensor([0, 0, 2]), x * x, alpha=0.3),
    "index_fill.int_Scalar": lambda x: x.index_fill(1, torch.tensor([1]), 0.3),
    "index_fill.int_Tensor": lambda x: x.index_fill(1, torch.tensor([1]), torch.tensor(0.3, dtype=FLOAT)),
    "reflection_pad1d.default": lambda x: torch.nn.functional.pad(x, (2, 1), mode="reflect"),
    "reflection_pad2d.default": lambda x: torch.nn.functional.pad(x[:, None], (2, 1, 1, 0), mode="reflect"),
    "replication_pad1d.default": lambda x: torch.nn.functional.pad(x, (2, 1), mode="replicate"),
    "replication_pad2d.default": lambda x: torch.nn.functional.pad(x[:, None], (2, 1, 1, 3), mode="replicate"),
    "_linalg_det.default": lambda x: torch.linalg.det(x[:, :, :2]) + torch.linalg.det(three(x)),
    "linalg_inv_ex.default": lambda x: torch.linalg.inv(three(x)),
    "_linalg_solve_ex.default": lambda x: (
        torch.linalg.solve(three(x), x.mT).sum(-1) + torch.linalg.solve(three(x), x[:, 0])
    ),
    "constant_pad_nd.default": lambda x: torch.nn.functional.pad(x, (1, -1, 0, 1), value=0.3),
    "tril.default": lambda x: x.tril(-1) + x.tril(),
    "triu.default": lambda x: x.triu(1),
    "diag_embed.default": lambda x: torch.diag_embed(x, 1, 1, 3),
    "mm.default": lambda x: x.sum(1) @ torch.arange(6, dtype=FLOAT).reshape(3, 2),
    "bmm.default": lambda x: x.mT @ x,
    "addmm.default": lambda x: torch.addmm(x[:, 0, :1], x[:, 0], x.new_ones(3, 2) * 0.3, beta=0.7, alpha=1.3),
    "baddbmm.default": lambda x: torch.baddbmm(x[:, :1, :1], x, x.mT, beta=0.7, alpha=1.3),
    "linalg_cross.default": lambda x: torch.linalg.cross(x, x.flip(1)),
    "_cdist_forward.default": lambda x: torch.cdist(x, x[:, :1] + 1.0),
}
# Of (2, 3), one sample.
ALONE: dict[str, Callable[[Tensor], Tensor]] = {
    "sum.default": lambda x: x.sum(),
    "mean.default": lambda x: x.mean(),
    "prod.default": lambda x: x.prod(),
    "max.default": lambda x: x.max(),
    "min.default": lambda x: x.min(),
    "all.default": lambda x: (x > -1.5).all() * x,
    "any.default": lambda x: (x > 0.5).any() * x,
    "trace.default": lambda x: x.trace(),
    "mv.default": lambda x: x @ x[0],
    "dot.default": lambda x: x[0] @ x[1],
    "addmv.default": lambda x: torch.addmv(x[:, 0], x, x[1], beta=0.7, alpha=1.3),
}


# PyTorch has no derivatives of these.
VALUES_ONLY = (
    "floor_divide.default",
    "floor_divide.Scalar",
    "remainder.Scalar_Tensor",
    "heaviside.default",
    "silu_backward.default",
)


def three(x: Tensor) -> Tensor:
    """Return matrices (..., 3, 3) that are far from singular."""
    return x[:, 0, :, None] * x[:, 1, None, :] + torch.diag_embed(3.0 + x[:, 0] ** 2)


def put(x: Tensor, y: Tensor) -> Tensor:
    x[:, torch.tensor([1])] = y
    return x


def state(shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> Tensor:
    return low + (high - low) * torch.rand(shape, dtype=FLOAT)


def in_the_middle(function: Callable[..., Tensor], axis: int) -> Callable[..., Tensor]:
    """Return a right-hand side that works with the batch on another axis."""
    return lambda t, y, *args: function(y.movedim(0, axis).contiguous(), *args).movedim(axis, 0)


shapes = st.lists(st.integers(1, 3), min_size=0, max_size=2).map(tuple)


@few
@given(seeds, st.sampled_from((2, 3)), shapes, st.integers(0, 2))
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_each_element(name: str, seed: int, samples: int, shape: tuple[int, ...], axis: int) -> None:
    torch.manual_seed(seed)
    function = getattr(aten, name).default

    def apply(x: Tensor) -> Tensor:
        found = function(x)
        return found[0] if isinstance(found, tuple) else found

    # PyTorch has the slope of hardsigmoid, 1/6, in single precision.
    tolerance = 1e-7 if name == "hardsigmoid" else 1e-9
    hold(in_the_middle(apply, min(axis, len(shape))), state((samples, *shape), *UNARY[name]), tolerance=tolerance)


@few
@given(seeds, st.sampled_from((2, 3)), shapes, st.sampled_from(("state", "shared", "sample")))
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_tensors(name: str, seed: int, samples: int, shape: tuple[int, ...], other: str) -> None:
    torch.manual_seed(seed)
    function = BINARY[name]
    y = state((samples, *shape))
    derivatives = name not in VALUES_ONLY
    if other == "state":
        hold(lambda t, y: function(y, y.flip(-1) if shape else 0.7 * y + 0.1), y, derivatives=derivatives)
    elif not name.endswith("backward.default"):
        p = state(shape[-1:] if other == "shared" else (samples, *(1 for _ in shape))).requires_grad_()
        hold(lambda t, y, p: function(y, p.expand_as(y)), y, (p,), derivatives=derivatives)
    else:
        hold(lambda t, y: function(y, t.expand_as(y)), y, own_times=True, derivatives=derivatives)


@few
@given(seeds, st.sampled_from((2, 3)), shapes, st.integers(0, 2))
@pytest.mark.parametrize("name", SCALAR)
def test_functions_with_numbers(name: str, seed: int, samples: int, shape: tuple[int, ...], axis: int) -> None:
    torch.manual_seed(seed)
    function = in_the_middle(SCALAR[name], min(axis, len(shape)))
    hold(function, state((samples, *shape)), derivatives=name not in VALUES_ONLY)


def summed(function: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Return a right-hand side of one number a sample, with weights that tell elements apart."""

    def f(t: Any, y: Tensor) -> Tensor:
        found = function(y)
        found = found.reshape(len(y), -1)
        weights = torch.cos(torch.arange(found.shape[1], dtype=y.dtype))
        return y + (found * weights).sum(-1).reshape(-1, *(1 for _ in y.shape[1:]))

    return f


@few
@given(seeds, st.sampled_from((2, 4)))
@pytest.mark.parametrize("name", ALONG)
def test_functions_along_axes(name: str, seed: int, samples: int) -> None:
    torch.manual_seed(seed)
    hold(summed(ALONG[name]), state((samples, 2, 3)))


@pytest.mark.parametrize("name", ALONE)
def test_functions_of_a_whole_state(name: str) -> None:
    y = state((2, 2) if name == "trace.default" else (3, 3) if "mv" in name else (2, 3))
    hold(lambda t, y: y + ALONE[name](y).sum() + ALONE[name](y * y).sum(), y, batch=False)


def test_the_tables_have_every_operation() -> None:
    """The names of the tables are those of the registry, and each case dispatches what it is named for."""
    tables = {f"{name}.default": None for name in UNARY} | BINARY | SCALAR | ALONG | ALONE
    assert {f"aten.{name}" for name in tables} == set(RULES)
    cases: list[tuple[str, Callable[..., Any], Tensor, bool]] = []
    cases += [(name, lambda t, y, f=f: f(y, y.flip(0)), state((2, 3)), False) for name, f in BINARY.items()]
    cases += [(name, lambda t, y, f=f: f(y), state((2, 3)), False) for name, f in SCALAR.items()]
    cases += [(name, summed(f), state((2, 2, 3)), True) for name, f in ALONG.items()]
    for name, f, y, batch in cases:
        calls = lowered(f, y, batch=batch).recorded.tape.calls
        assert f"aten.{name}" in {functional_name(call.op) for call in calls}, name
