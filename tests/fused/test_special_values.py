"""NaN, infinities, zeros of both signs and ties: values and gradients as PyTorch has them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.fused.holding import hold
from tests.fused.test_operations import BINARY, UNARY

aten = torch.ops.aten
POINTS = torch.tensor([math.nan, 0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -3.0, math.inf, -math.inf], dtype=torch.float64)
TIES = torch.tensor([[1.0, 1.0, 2.0], [2.0, 0.0, 0.0], [-1.0, -1.0, 3.0]], dtype=torch.float64)
NOT_AT_INFINITY = {
    "hypot.default",  # NaN beside an infinity
    "remainder.Tensor",
    "remainder.Scalar_Tensor",
    "remainder.Scalar",
    "floor_divide.default",
    "floor_divide.Scalar",
    "div.Tensor_mode",
    "logaddexp.default",
}


def elementwise(name: str) -> Callable[[Tensor], Tensor]:
    function = getattr(aten, name).default

    def apply(x: Tensor) -> Tensor:
        found = function(x)
        return found[0] if isinstance(found, tuple) else found

    return apply


@pytest.mark.parametrize("name", [name for name in UNARY if name not in ("silu", "mish", "gelu", "sinc")])
def test_functions_of_each_element_anywhere(name: str) -> None:
    function = elementwise(name)
    points = POINTS[:-1] if name == "hardswish" else POINTS  # to PyTorch, minus infinity times 0
    hold(lambda t, y: function(y), points[:, None], derivatives=False)


@pytest.mark.parametrize("name", sorted(set(BINARY) - {"glu.default"}))
def test_functions_of_two_tensors_anywhere(name: str) -> None:
    points = POINTS if name not in NOT_AT_INFINITY else POINTS[POINTS.isfinite() | POINTS.isnan()]
    x, y = torch.meshgrid(points, points, indexing="ij")
    pairs = torch.stack((x.ravel(), y.ravel()), -1)
    function = BINARY[name]
    hold(lambda t, y: torch.stack((function(y[:, 0], y[:, 1]), y[:, 0]), -1), pairs, derivatives=False)


@pytest.mark.parametrize(
    "name", ["relu", "hardtanh", "leaky_relu", "elu", "celu", "abs", "softplus", "sign", "hardswish"]
)
def test_slopes_at_corners(name: str) -> None:
    function = elementwise(name)
    y = torch.tensor([[0.0], [1.0], [-1.0], [3.0], [-3.0], [40.0], [800.0], [-800.0]], dtype=torch.float64)
    hold(lambda t, y: function(y), y)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: torch.maximum(x, y),
        lambda x, y: torch.minimum(x, y),
        lambda x, y: x.clamp(1.0, 2.0) * y,
        lambda x, y: torch.clamp(x, y, y + 1.0),
        lambda x, y: x.clamp(min=2.0) + y.clamp(max=0.0),
        lambda x, y: torch.where(x > 0.0, x, y),
        lambda x, y: torch.where(x > 0.0, x.clamp(min=0.1).log(), y),
    ],
)
def test_slopes_at_ties(f: Callable[[Tensor, Tensor], Tensor]) -> None:
    hold(lambda t, y: torch.stack((f(y[:, 0], y[:, 1]), y[:, 2], y[:, 0]), -1), TIES)


def test_powers_have_their_slopes_at_zero() -> None:
    y = torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    hold(lambda t, y: y**1.5 + y**2.5 + y**2 + y**3 + y**7 + y**0 + y**1, y)


def test_lengths_have_no_slope_at_zero() -> None:
    y = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    hold(lambda t, y: y * 0.5 + torch.linalg.norm(y, dim=-1, keepdim=True), y)


def test_softmax_of_large_numbers_stays_finite() -> None:
    y = torch.tensor([[1000.0, 1001.0, -1000.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    hold(lambda t, y: y.softmax(-1) + y.log_softmax(-1) + y.logsumexp(-1, keepdim=True), y)


def test_halves_of_a_choice_that_are_not_chosen_have_no_part_in_the_gradient() -> None:
    """A logarithm of 0 that is not taken leaves the gradient finite, as in PyTorch."""
    y = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    hold(lambda t, y: torch.where(y > 0.0, torch.where(y > 0.0, y, 1.0).log(), 0.5 * y), y)
