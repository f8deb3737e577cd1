"""Right-hand sides with state: batch norm's statistics, dropout's mask."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

METHODS = {"dopri5": 6, "heun_euler": 2, "bosh3": 3, "dopri8": 12}


class Block(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), layer, nn.Tanh(), nn.Linear(8, 3))
        self.calls: list[torch.Tensor] = []

    def forward(self, t, y):
        return 20 * self.net(y)


@pytest.mark.parametrize("gradient", ["aca", po.ACA(memory="graph"), "naive", "adjoint"])
@pytest.mark.parametrize("method", list(METHODS))
def test_batch_norm_statistics_move_with_accepted_evaluations_only(gradient, method):
    block = Block(nn.BatchNorm1d(8))
    sol = po.solve(block, torch.randn(16, 3), [0.0, 0.3], method=method, gradient=gradient, rtol=1e-2, atol=1e-2)
    assert int(sol.stats.rejected) > 0
    norm = block.net[1]
    tracked, mean = int(norm.num_batches_tracked), norm.running_mean.clone()
    # dopri5 and bosh3 evaluate at the step's end, the others once more for the next step: s a step, and the first.
    per_step, steps = METHODS[method], int(sol.stats.accepted)
    last = 0 if method in ("dopri5", "bosh3") else 1  # the last step of these needs no derivative at its end
    assert tracked == 1 + per_step * steps - last
    sol.y[-1].square().sum().backward()
    assert int(norm.num_batches_tracked) == tracked
    assert torch.equal(norm.running_mean, mean)


def test_batch_norm_statistics_are_those_of_the_accepted_steps_alone():
    block = Block(nn.BatchNorm1d(8))
    twin = copy.deepcopy(block)
    y0 = torch.randn(16, 3)
    sol = po.solve(block, y0, [0.0, 0.3], method="dopri5", rtol=1e-2, atol=1e-2)
    assert int(sol.stats.rejected) > 0
    po.solve(twin, y0, [0.0, 0.3], method="dopri5", grid=sol.step_times)
    for a, b in zip(block.buffers(), twin.buffers(), strict=True):
        # A grid leaves out the derivative at the very end, which the error estimate of the last step needed.
        assert a.shape == b.shape
    twin.net(sol.y[-1].detach())
    assert int(block.net[1].num_batches_tracked) == int(twin.net[1].num_batches_tracked)
    assert torch.allclose(block.net[1].running_mean, twin.net[1].running_mean, atol=1e-12)


def test_aca_equals_naive_with_batch_norm_in_training():
    block = Block(nn.BatchNorm1d(8))
    y0 = torch.randn(16, 3)
    grid = torch.linspace(0, 0.1, 5)
    found = []
    for gradient in ("aca", po.ACA(parallel=False), po.ACA(memory="graph"), "naive"):
        y = po.solve(block, y0, [0.0, 0.1], method="heun_euler", grid=grid, gradient=gradient).y[-1]
        found.append(torch.autograd.grad(y.square().sum(), list(block.parameters())))
    for other in found[:-1]:
        for a, b in zip(other, found[-1], strict=True):
            assert torch.allclose(a, b, atol=1e-10)


def test_batch_norm_in_evaluation_is_left_alone():
    block = Block(nn.BatchNorm1d(8)).eval()
    po.solve(block, torch.randn(16, 3), [0.0, 0.1])
    assert int(block.net[1].num_batches_tracked) == 0


def test_dropouts_mask_is_one_for_a_solve_and_new_for_the_next():
    block = Block(nn.Dropout(0.5))
    y0 = torch.randn(4, 3)
    torch.manual_seed(7)
    first = po.solve(block, y0, [0.0, 0.1], rtol=1e-9, atol=1e-9)
    second = po.solve(block, y0, [0.0, 0.1], rtol=1e-9, atol=1e-9)
    assert not torch.equal(first.y, second.y)
    assert int(first.stats.accepted) < 200  # a mask that changed between stages would be noise to the error estimate
    torch.manual_seed(7)
    assert torch.equal(po.solve(block, y0, [0.0, 0.1], rtol=1e-9, atol=1e-9).y, first.y)


def test_with_dropout_the_recomputation_agrees_with_the_forward_pass():
    block = Block(nn.Dropout(0.5))
    y0 = torch.randn(4, 3)
    found = []
    for gradient in ("aca", po.ACA(parallel=False), po.ACA(memory="checkpoint", parallel=False), "naive"):
        torch.manual_seed(7)
        y = po.solve(block, y0, [0.0, 0.1], grid=torch.linspace(0, 0.1, 4), gradient=gradient).y[-1]
        torch.manual_seed(99)  # whatever happens to the global generator before the backward pass
        found.append(torch.autograd.grad(y.square().sum(), list(block.parameters())))
    for other in found[:-1]:
        for a, b in zip(other, found[-1], strict=True):
            assert torch.allclose(a, b, atol=1e-12)


def wrappings(net):
    class Holder:
        def __init__(self):
            self.net = net

        def __call__(self, t, y):
            return 20 * self.net(y)

        def method(self, t, y):
            return 20 * self.net(y)

    def with_default(t, y, net=net):
        return 20 * net(y)

    return {
        "closure": lambda t, y: 20 * net(y),
        "default": with_default,
        "object": Holder(),
        "method": Holder().method,
        "partial": functools.partial(lambda net, t, y: 20 * net(y), net),
    }


@pytest.mark.parametrize("how", list(wrappings(None)))
def test_modules_behind_functions_are_seen(how):
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    sol = po.solve(wrappings(net)[how], torch.randn(16, 3), [0.0, 0.3], rtol=1e-2, atol=1e-2)
    assert int(sol.stats.rejected) > 0
    assert int(net[1].num_batches_tracked) == 1 + 6 * int(sol.stats.accepted)
    with_dropout = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    sol = po.solve(wrappings(with_dropout)[how], torch.randn(4, 3), [0.0, 0.1], rtol=1e-9, atol=1e-9)
    assert int(sol.stats.accepted) < 200
