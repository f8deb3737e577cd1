"""The same bits for any number of threads, and for a sample alone, in a batch, or in another place of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import physode as po
from physode.fused import launch


@pytest.fixture
def threads(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(launch, "_WORK", 4)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pendulum(t, y, rate, damping):
    x, v = y.unbind(-1)
    return torch.stack([v, -rate * torch.sin(x) - damping * v], -1)


def problem(samples=45):
    generator = torch.Generator().manual_seed(3)
    y0 = torch.randn(samples, 2, generator=generator, dtype=torch.float64)
    rate = 0.5 + 4.0 * torch.rand(samples, generator=generator, dtype=torch.float64)
    return y0, rate, torch.tensor(0.1, dtype=torch.float64)


def solved(y0, rate, damping, **options):
    leaves = [x.detach().clone().requires_grad_() for x in (y0, rate, damping)]
    sol = po.solve(
        pendulum, leaves[0], torch.linspace(0, 5, 13), args=leaves[1:], compile=True, rtol=1e-6, atol=1e-8, **options
    )
    weights = torch.linspace(0.5, 1.5, 13 * 2, dtype=torch.float64).reshape(13, 1, 2)
    return sol, torch.autograd.grad((weights * sol.y.square()).sum(), leaves)


@pytest.mark.parametrize("step_control", ["shared", "per-sample"])
def test_threads_change_no_bit(threads, step_control):
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        sol, gradients = solved(*problem(), step_control=step_control)
        results.append((sol.y, sol.step_times, *gradients))
    for others in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], others, strict=True))


def test_a_sample_is_the_same_in_any_place_and_company():
    y0, rate, damping = problem()
    sol, (d_y0, d_rate, _) = solved(y0, rate, damping, step_control="per-sample")
    order = torch.randperm(45, generator=torch.Generator().manual_seed(1))
    again, (d_y0_again, d_rate_again, _) = solved(y0[order], rate[order], damping, step_control="per-sample")
    assert torch.equal(again.y, sol.y[:, order])
    assert torch.equal(d_y0_again, d_y0[order])
    assert torch.equal(d_rate_again, d_rate[order])
    few, (d_y0_few, _, _) = solved(y0[7:9], rate[7:9], damping, step_control="per-sample")
    assert torch.equal(few.y, sol.y[:, 7:9])
    assert torch.equal(d_y0_few, d_y0[7:9])


def test_one_bad_sample_leaves_the_others_alone():
    y0, rate, damping = problem()
    expected, _ = solved(y0, rate, damping, step_control="per-sample")
    y0 = y0.clone()
    y0[11] = torch.nan
    sol, (d_y0, d_rate, d_damping) = solved(y0, rate, damping, step_control="per-sample", throw=False)
    kept = torch.arange(45) != 11
    assert torch.equal(sol.y[:, kept], expected.y[:, kept])
    assert sol.status[11] == po.Status.NON_FINITE
    assert sol.y[1:, 11].isnan().all()
    assert d_y0[kept].isfinite().all()
    assert d_rate[kept].isfinite().all()
    assert d_damping.isfinite()
