"""States near the ends of their numbers' range: squares leave it long before the numbers do."""

from __future__ import annotations

import math

import pytest
import torch

import physode as po
from physode.compat.arguments import rms_norm
from physode.errors import SolveError
from physode.solvers.clock import rms_per_sample, rms_shared, root_mean_square

EXPLICIT = ["dopri5", "tsit5", "dopri8", "bosh3", "heun_euler", "rk4"]
IMPLICIT = ["rodas5p", "radau5", "kencarp5", "kvaerno3", "auto", "radauIIA5", "implicit_midpoint"]
FIXED = {"rk4", "radauIIA5", "implicit_midpoint"}

SCALES = [
    (torch.float32, [1e-35, 1e-30, 1e-20, 1e18, 1e19, 1e25, 1e36]),
    (torch.float64, [1e-300, 1e-160, 1e155, 1e200, 1e305]),
    (torch.complex64, [1e-30, 1e19, 1e35]),
    (torch.complex128, [1e-200, 1e160, 1e305]),
    (torch.bfloat16, [1e-30, 1e19, 1e36]),
]
TOLERANCE = {torch.float32: 1e-3, torch.complex64: 1e-3, torch.bfloat16: 0.1}


def turning(t, y):
    return torch.stack([y[..., 1], -y[..., 0]], -1) - 0.5 * y


def turned(y0, t):
    a, b = y0.unbind(-1)
    c, s = math.cos(t), math.sin(t)
    return math.exp(-0.5 * t) * torch.stack([a * c + b * s, b * c - a * s], -1)


@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize(("dtype", "scale"), [(dtype, scale) for dtype, scales in SCALES for scale in scales])
def test_states_of_any_size_are_solved_as_those_near_one(dtype, scale, control):
    exactly = torch.complex128 if dtype.is_complex else torch.float64
    y0 = torch.tensor([[1.0, 0.5], [0.7, 0.0]], dtype=exactly) * (1 + 0.5j if dtype.is_complex else 1.0)
    coarse = dtype == torch.bfloat16
    for method in EXPLICIT + IMPLICIT if control == "shared" else ("dopri5", "rodas5p", "radau5"):
        if method in FIXED:
            options = {"step_size": 1 / 16}
        else:
            options = {"rtol": 1e-2, "atol": 1e-3 * scale} if coarse else {"rtol": 1e-5, "atol": 1e-6 * scale}
        end = po.solve(turning, (scale * y0).to(dtype), [0.0, 1.0], method=method, step_control=control, **options).y[
            -1
        ]
        wrong = (end.to(exactly) / scale - turned(y0, 1.0)).abs().max()
        assert wrong < TOLERANCE.get(dtype, 1e-3), (method, wrong)


@pytest.mark.parametrize("gradient", ["aca", "naive"])
@pytest.mark.parametrize("method", ["dopri5", "rodas5p", "radau5"])
def test_gradients_of_huge_states_are_those_of_states_near_one(gradient, method):
    found = []
    for scale in (1.0, 1e25):
        k = torch.tensor(0.5, requires_grad=True)
        y0 = torch.tensor([scale, 0.3 * scale])
        options = {"rtol": 1e-5, "atol": 1e-6 * scale, "method": method, "gradient": gradient}
        end = po.solve(lambda t, y, k: -k * y, y0, [0.0, 1.0], args=(k,), **options).y[-1]
        found.append(float(torch.autograd.grad((end / scale).sum(), k)[0]))
    assert found[1] == pytest.approx(-1.3 * math.exp(-0.5), rel=1e-3)
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_a_huge_sample_changes_no_bit_of_the_others():
    batch = torch.tensor([[1.0, 0.5], [1e30, 2e30], [3.0, -1.0]])
    alone = po.solve(turning, batch[[0, 2]], [0.0, 1.0], step_control="per-sample")
    together = po.solve(turning, batch, [0.0, 1.0], step_control="per-sample")
    assert torch.equal(together.y[-1][[0, 2]], alone.y[-1])


def test_a_failed_implicit_step_is_rejected_whatever_the_size_of_the_state():
    """An error of 1e15 stood for a failure of Newton's method: within the tolerance of a state of 1e25."""
    f = lambda t, y: -(((y / 1e25) ** 3 - torch.cos(t)) * 1e29)  # noqa: E731
    for method in ("kencarp5", "radau5", "kvaerno3"):
        sol = po.solve(f, torch.tensor([5e25]), [0.0, 1.0], method=method, rtol=1e-4, atol=1e18)
        assert float(sol.y[-1]) == pytest.approx(1e25 * math.cos(1.0) ** (1 / 3), rel=1e-2)


def test_truly_infinite_values_still_end_a_solve_as_such():
    for y0, f in (
        (torch.tensor([1.0]), lambda t, y: y * torch.inf),
        (torch.tensor([1e38]), lambda t, y: y * 1e30),
        (torch.tensor([1.0]), lambda t, y: y * torch.nan),
    ):
        for method in ("dopri5", "rodas5p"):
            with pytest.raises(SolveError, match="NaN or infinite"):
                po.solve(f, y0, [0.0, 1.0], method=method)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.float16, torch.bfloat16])
def test_root_mean_squares_are_right_over_the_whole_range_and_unchanged_where_they_were(dtype):
    exactly = torch.complex128 if dtype.is_complex else torch.float64
    span = torch.finfo(dtype)
    x = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(3, 4).to(exactly)
    half = dtype in (torch.float16, torch.bfloat16)
    ordinary = (torch.linalg.vector_norm(x.to(dtype), dim=1) * 0.5).real
    assert torch.equal(rms_per_sample(x.to(dtype)), ordinary)
    assert torch.equal(rms_shared(x.to(dtype)), ordinary.amax())
    for scale in (0.99 * span.max, span.max**0.6, span.tiny**0.6, 100 * span.tiny):
        large = (scale * x).to(dtype)
        expected = scale * (large.to(exactly) / scale).abs().square().mean(1).sqrt()
        torch.testing.assert_close(
            rms_per_sample(large).double(), expected.double(), rtol=0.02 if half else 1e-5, atol=0.0
        )
        whole = scale * (large.to(exactly) / scale).abs().square().mean().sqrt()
        for norm in (root_mean_square, rms_norm):
            assert float(norm(large)) == pytest.approx(float(whole), rel=0.02 if half else 1e-5)
    assert float(root_mean_square(torch.zeros(3, dtype=dtype))) == 0.0
    assert not math.isfinite(float(root_mean_square(torch.tensor([1.0, torch.inf]).to(dtype))))
    assert not math.isfinite(float(root_mean_square(torch.tensor([1.0, torch.nan]).to(dtype))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_compiler_sees_a_root_mean_square_that_is_right_for_huge_components(dtype):
    span, half = torch.finfo(dtype), dtype == torch.float16
    traced = torch.compile(rms_per_sample, backend="eager", fullgraph=True)
    for scale in (0.99 * span.max, span.max**0.6, 1.0):
        x = (scale * torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(3, 4)).to(dtype)
        torch.testing.assert_close(traced(x), rms_per_sample(x), rtol=0.01 if half else 1e-6, atol=0.0)
    assert not bool(torch.isfinite(traced(torch.full((1, 2), torch.inf, dtype=dtype))))
    assert bool(torch.isnan(traced(torch.full((1, 2), torch.nan, dtype=dtype))))


def test_the_root_mean_square_of_huge_components_has_its_derivative():
    for scale in (1e-200, 1.0, 1e200):
        x = (scale * torch.tensor([3.0, -4.0, 0.0], dtype=torch.float64)).requires_grad_()
        (slope,) = torch.autograd.grad(root_mean_square(x), x)
        torch.testing.assert_close(slope, torch.tensor([0.6, -0.8, 0.0], dtype=torch.float64) / math.sqrt(3))


def test_many_components_of_half_precision_have_a_finite_size():
    x = torch.full((100_000,), 1000.0, dtype=torch.float16)
    assert float(rms_shared(x)) == pytest.approx(1000.0, rel=1e-3)
    end = po.solve(lambda t, y: -y, x, [0.0, 1.0], method="bosh3").y[-1]
    torch.testing.assert_close(
        end.double(), torch.full((100_000,), 1000 * math.exp(-1), dtype=torch.float64), rtol=0.03, atol=0.0
    )
