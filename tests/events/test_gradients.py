"""Gradients of events' times and states."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

WAYS = {
    "aca": po.ACA(),
    "aca parallel": po.ACA(parallel=True),
    "aca one by one": po.ACA(parallel=False),
    "aca graph": po.ACA(memory="graph"),
    "adjoint": po.Adjoint(),
    "naive": po.Naive(),
}
NAMES = ["aca", *[pytest.param(name, marks=pytest.mark.slow) for name in WAYS if name != "aca"]]
TIGHT = {"rtol": 1e-9, "atol": 1e-11}


def swing(t, y, damping):
    return torch.stack([y[..., 1], -torch.sin(y[..., 0]) - damping * y[..., 1] + 0.1 * torch.sin(t)[..., 0]], -1)


def swing_shared(t, y, damping):
    return torch.stack([y[1], -torch.sin(y[0]) - damping * y[1] + 0.1 * torch.sin(t)])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("terminal", [True, False])
def test_gradcheck_of_times_and_states_of_several_events(name, terminal):
    def found(y0, damping, level, start):
        events = [
            po.Event(lambda t, y, damping: y[0] - level * (1 + 0.2 * torch.sin(t)), terminal=terminal),
            po.Event(lambda t, y, damping: y[1] + damping),
        ]
        times = torch.cat([start.reshape(1), torch.tensor([0.5, 2.4])])
        sol = po.solve(swing_shared, y0, times, args=(damping,), events=events, gradient=WAYS[name], **TIGHT)
        assert len(sol.events[0]) == len(sol.events[1]) == 1
        return sol.events[0].t, sol.events[0].y, sol.events[1].t, sol.events[1].y, sol.y[1]

    inputs = [torch.tensor(value, requires_grad=True) for value in ([1.0, 0.3], 0.2, 0.4, 0.05)]
    assert gradcheck(found, inputs, eps=1e-5, atol=1e-5, rtol=1e-4, nondet_tol=1e-10, fast_mode=name == "adjoint")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_gradcheck_through_jumps_sample_by_sample(name):
    def found(y0, damping, loss):
        stop = po.Event(
            lambda t, y, damping: y[:, 0] + 0.1 * damping[:, 0],
            direction=-1,
            jump=lambda t, y, damping: torch.stack([y[:, 0], -loss * y[:, 1] * torch.exp(-0.1 * t[:, 0])], -1),
        )
        rhs = lambda t, y, damping: swing(t, y, damping[:, 0])  # noqa: E731
        sol = po.solve(
            rhs, y0, torch.linspace(0, 6, 4), args=(damping,), events=stop, gradient=WAYS[name],
            step_control="per-sample", **TIGHT,
        )  # fmt: skip
        assert sol.events[0].count.tolist() == [2, 2]
        return sol.events[0].t, sol.events[0].y, sol.y[-1]

    inputs = [
        torch.tensor([[1.0, 0.3], [0.4, 0.0]], requires_grad=True),
        torch.tensor([[0.1], [0.2]], requires_grad=True),
        torch.tensor(0.7, requires_grad=True),
    ]
    assert gradcheck(found, inputs, eps=1e-5, atol=1e-5, rtol=1e-4, fast_mode=True, nondet_tol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_fixed_steps_have_the_same_gradients(name):
    def found(y0, damping):
        event = po.Event(lambda t, y, damping: y[0], terminal=True)
        sol = po.solve(
            swing_shared,
            y0,
            [0.0, 3.0],
            args=(damping,),
            events=event,
            gradient=WAYS[name],
            method="rk4",
            step_size=0.05,
        )
        return sol.events[0].t, sol.events[0].y

    inputs = [torch.tensor(value, requires_grad=True) for value in ([1.0, 0.3], 0.2)]
    assert gradcheck(found, inputs, eps=1e-5, atol=1e-5, rtol=1e-4, nondet_tol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_jumps_recorded_events_and_discontinuities_together_have_the_gradients_of_differences(name):
    def found(level, kick, speed):
        events = [
            po.Event(
                lambda t, y: y[0] - level * torch.cos(t),
                direction=1,
                jump=lambda t, y: torch.stack([y[0] - kick * t, y[1]]),
            ),
            po.Event(lambda t, y: t - 1.7 - 0.1 * level, jump=lambda t, y: y * (1 + kick)),
            po.Event(lambda t, y: y[0] - 0.5 * t - speed),
        ]
        sol = po.solve(
            lambda t, y: torch.stack([y[1] + 0.2 * speed * t, torch.cos(t) - level * torch.sin(3 * y[0])]),
            torch.stack([speed, level]), [0.0, 1.0, 2.5], events=events, gradient=WAYS[name],
            jump_t=1.3 * level.reshape(1), **TIGHT,
        )  # fmt: skip
        assert min(len(event) for event in sol.events) > 0
        return torch.stack([event.t.sum() + event.y.sum() for event in sol.events]), sol.y

    inputs = [torch.tensor(value, requires_grad=True) for value in (0.8, 0.5, 0.3)]
    assert gradcheck(found, inputs, eps=1e-5, atol=1e-4, rtol=1e-4, fast_mode=True, nondet_tol=1e-9)


def test_parameters_of_modules_get_gradients_through_conditions_and_jumps():
    level, kick = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    event = po.Event(lambda t, y: level(y)[0], jump=lambda t, y: y + kick(y) ** 2 + 0.1)
    sol = po.solve(lambda t, y: torch.ones_like(y), torch.tensor([-5.0]), [0.0, 12.0], events=event)
    gradients = torch.autograd.grad(sol.y[-1].sum() + sol.events[0].t.sum(), [*level.parameters(), *kick.parameters()])
    at = -(level.bias / level.weight[0])
    after = at + kick(at) ** 2 + 0.1
    time = at + 5.0
    expected = torch.autograd.grad((after + 12.0 - time).sum() + time.sum(), [*level.parameters(), *kick.parameters()])
    for a, b in zip(gradients, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("name", ["aca", "adjoint"])
def test_second_derivatives_raise_as_they_would_be_wrong(name):
    y0 = torch.tensor([1.0, 0.3], requires_grad=True)
    event = po.Event(lambda t, y, damping: y[0], terminal=True)
    time = po.solve(swing_shared, y0, [0.0, 3.0], args=(0.2,), events=event, gradient=WAYS[name]).events[0].t.sum()
    (slope,) = torch.autograd.grad(time, y0, create_graph=True)
    with pytest.raises(RuntimeError, match=r"derivatives of .* need"):
        slope.sum().backward()


def test_without_gradients_there_is_no_graph():
    with torch.no_grad():
        event = po.Event(lambda t, y, damping: y[0])
        sol = po.solve(swing_shared, torch.tensor([1.0, 0.3]), [0.0, 9.0], args=(0.2,), events=event)
    assert len(sol.events[0]) == 2
    assert not sol.events[0].t.requires_grad
