"""Faults that users of such tools report, in compiled solves: each with its right value."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import physode as po

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.slow]


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.u = nn.Parameter(torch.tensor(1.0)), 0.5
        self.register_buffer("held", torch.tensor(0.5))

    def forward(self, t, y):
        return self.w * self.u * y + 0 * self.held


def end(f, **options):
    return po.solve(f, torch.ones(1, 1), [0.0, 1.0], rtol=1e-8, atol=1e-10, compile=True, **options).y[-1].sum()


@pytest.mark.parametrize("step_control", ["shared", "per-sample"])
def test_an_attribute_may_change_before_backward(step_control):
    f, loss = Scaled(), 0.0
    for u in (0.5, 1.0):
        f.u = u
        loss = loss + end(f, step_control=step_control)
    loss.backward()
    assert f.w.grad.item() == pytest.approx(0.5 * math.exp(0.5) + math.exp(1.0), rel=1e-6)


def test_hooks_fire_once_and_second_derivatives_raise():
    f, seen = Scaled(), []
    f.w.register_hook(lambda g: seen.append(g.item()) or 2 * g)
    end(f).backward()
    assert seen == pytest.approx([0.5 * math.exp(0.5)], rel=1e-6)
    assert f.w.grad.item() == pytest.approx(math.exp(0.5), rel=1e-6)

    for ask in (lambda x: torch.autograd.grad(x, f.w), lambda x: x.backward(inputs=[f.w])):
        (first,) = torch.autograd.grad(end(f), f.w, create_graph=True)
        with pytest.raises(RuntimeError, match=r"derivatives of ACA's gradients need"):
            ask((first**2).sum())


def test_the_same_memory_may_be_returned_at_every_call():
    memory = torch.zeros(1, 2)

    def turning(t, y):
        memory[:, 0], memory[:, 1] = y[:, 1], -y[:, 0]
        return memory

    y0 = torch.tensor([[1.0, 0.0]])
    with pytest.warns(RuntimeWarning, match="without compilation: the right-hand side changes tensors in place"):
        found = po.solve(turning, y0, [0.0, 3.0], rtol=1e-8, atol=1e-10, compile=True).y[-1]
    assert found.flatten().tolist() == pytest.approx([math.cos(3.0), -math.sin(3.0)], abs=2e-6)


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, y):
        return 2 * self.layer(y)


@pytest.mark.parametrize("how", ["module", "function", "method"])
def test_a_right_hand_side_made_by_torch_compile_stays_compiled(how):
    torch.compiler.reset()
    frames = []

    def backend(graph, inputs):
        frames.append(graph)
        return graph.forward

    net = Doubled()
    if how == "method":
        net.compile(backend=backend)
        f = lambda t, y: net(y)  # noqa: E731
    else:
        made = torch.compile(net if how == "module" else (lambda y: net(y)), backend=backend)
        f = lambda t, y: made(y)  # noqa: E731
    y = po.solve(f, torch.ones(3, 2), [0.0, 1.0]).y[-1].sum()
    y.backward()
    assert len(frames) >= 1
    assert any("linear" in graph.code for graph in frames)


@pytest.mark.slow
def test_compiled_outputs_at_steps_ends_move_with_their_times():
    times = torch.tensor([0.0, 0.1, 0.25, 0.4], dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(1, dtype=torch.float64)
    sol = po.solve(lambda t, y: -y, y0, times, compile=True, method="rk4", step_size=0.1)
    (found,) = torch.autograd.grad(sol.y[1:].sum(), times)
    torch.testing.assert_close(found[1:], -torch.exp(-times.detach()[1:]), rtol=5e-5, atol=0)
