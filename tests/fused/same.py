"""One problem solved twice, compiled and not, and everything compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import physode as po


class Swing(nn.Module):
    """A driven pendulum with a squared term: c > 0 makes a pole."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(1.3, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor, c: Tensor) -> Tensor:
        x, v = y[..., :1], y[..., 1:]
        return torch.cat([v, -self.rate * torch.sin(x)], -1) + c * y * y + 0.3 * torch.sin(t)


def parts_of(y):
    return list(y.values()) if isinstance(y, dict) else list(y) if isinstance(y, tuple) else [y]


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal to a fraction of the largest value, NaN where the other is NaN."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert torch.equal(found.isnan(), expected.isnan())
    found, expected = found.detach().nan_to_num(), expected.detach().nan_to_num()
    if found.numel():
        off = float((found - expected).abs().max()) / max(1e-3, float(expected.abs().max()))
        assert off <= tolerance, f"off by {off:.1e}, {tolerance:.0e} is allowed"


def loss_of(y) -> Tensor:
    parts = [part.nan_to_num() for part in parts_of(y)]
    return sum(
        (part * torch.linspace(0.5, 1.5, part.numel(), dtype=part.dtype).reshape(part.shape)).sum() for part in parts
    )


def assert_same_clocks(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Of each sample the same steps; those that do not move it may lie anywhere in its record.

    Rounding reaches sizes by way of error estimates.
    """
    if found.ndim == 1:
        close(found, expected, tolerance)
        return
    for one, other in zip(found.unbind(1), expected.unbind(1), strict=True):
        close(one.unique_consecutive(), other.unique_consecutive(), tolerance)


def assert_same(f, y0, t, *, leaves=(), outputs=1e-10, gradients=1e-8, clock=1e-8, **options):
    """Solve with and without compilation, compare all results, and return the compiled solution.

    Error estimates are small differences of large numbers: rounding, another one in compiled sums, is some
    1e-16 / tolerance of them, 1e-8 for the finest of these tests, and so of the step sizes. The outputs, which are
    right to the tolerance whatever the steps, differ by that share of it.
    """
    expected = po.solve(f, y0, t, **options)
    found = po.solve(f, y0, t, compile=True, **options)
    for a, b in zip(parts_of(found.y), parts_of(expected.y), strict=True):
        close(a, b, outputs)
    assert torch.equal(found.status, expected.status)
    assert found.status.dtype == expected.status.dtype
    assert torch.equal(found.stats.accepted, expected.stats.accepted)
    assert torch.equal(found.stats.rejected, expected.stats.rejected)
    close(found.ended, expected.ended, max(outputs, clock))
    assert_same_clocks(found.step_times, expected.step_times, max(outputs, clock))
    if leaves:
        wanted = torch.autograd.grad(loss_of(expected.y), leaves)
        for a, b in zip(torch.autograd.grad(loss_of(found.y), leaves, retain_graph=True), wanted, strict=True):
            close(a, b, gradients)
    return found
