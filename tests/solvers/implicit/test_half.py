"""Half precision: systems are solved in single, which LU needs, and rounded."""

from __future__ import annotations

import pytest
import torch

import physode as po

METHODS = {
    "rodas5p": {}, "radau5": {}, "kencarp5": {}, "kvaerno3": {}, "auto": {}, "implicit_euler": {"step_size": 0.02},
    "radauIIA5": {"step_size": 0.1}, "trapezoid": {"step_size": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_stiff_systems_are_solved_in_half_precision(method, dtype, control):
    def f(t, y, k):
        return torch.stack(
            [-k * (y[..., 0] - torch.cos(t)[..., 0] if t.ndim else y[..., 0] - torch.cos(t)), -y[..., 1]], -1
        )

    y0, k = torch.tensor([[0.0, 2.0], [1.5, 1.0]]), torch.tensor(80.0)
    exact = po.solve(f, y0.double(), [0.0, 1.0], args=(k.double(),), method="rodas5p", rtol=1e-9).y[-1]
    weight = k.to(dtype).requires_grad_()
    end = po.solve(
        f, y0.to(dtype), [0.0, 1.0], args=(weight,), method=method, step_control=control, **METHODS[method]
    ).y[-1]
    assert end.dtype == dtype
    torch.testing.assert_close(end.detach().double(), exact, rtol=0.03, atol=0.03)
    (slope,) = torch.autograd.grad(end.float().sum(), weight)
    assert slope.dtype == dtype
    assert bool(torch.isfinite(slope))


@pytest.mark.parametrize("options", [
    {"jac_structure": ("banded", 1, 1)}, {"jac_structure": "diagonal"},
    {"jac": lambda t, y: torch.diag(-90 * y**2)},
    {"jac": lambda t, y: torch.diag(-90 * y**2), "jac_structure": "diagonal"},
], ids=["banded", "diagonal", "given", "given diagonal"])  # fmt: skip
def test_bands_and_given_jacobians_are_used_in_half_precision(options):
    y0 = torch.linspace(0.5, 2.0, 40)
    exact = y0 / torch.sqrt(1 + 60 * y0**2)
    for method in ("rodas5p", "radau5", "kencarp5"):
        end = po.solve(
            lambda t, y: -30 * y**3, y0.half(), [0.0, 1.0], method=method, rtol=1e-2, atol=1e-3, **options
        ).y[-1]
        torch.testing.assert_close(end.float(), exact, rtol=0.1, atol=0.01)
