"""Conditions that are zero at the start, or behind a jump, in solves forwards and backwards in time."""

from __future__ import annotations

import pytest
import torch

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

G = 9.81
METHODS = [
    {},
    {"method": "bosh3"},
    {"method": "rodas5p"},
    {"method": "alf", "step_size": 0.02},
    {"method": "rk4", "step_size": 0.1},
    {"method": "radauIIA5", "step_size": 0.1},
]
CONTROLS = ["shared", "per-sample"]


def fall(t, y):
    return torch.stack([y[..., 1], torch.full_like(y[..., 1], -G)], -1)


def height(t, y):
    return y[..., 0]


def thrown(speed, control):
    """A ball at height 0 that meets the floor again after (or before) 2 speed / g."""
    y0 = torch.stack([torch.zeros_like(speed), speed])
    return y0 if control == "shared" else torch.stack([y0, 2 * y0])


@pytest.mark.parametrize("options", METHODS)
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(("sign", "terminal"), [(1, True), (-1, True), (-1, False)])
def test_a_condition_that_is_zero_at_the_start_fires_only_when_it_is_met_again(options, control, sign, terminal):
    speed = torch.tensor(5.0 * sign, requires_grad=True)
    event = po.Event(height, terminal=terminal)
    sol = po.solve(fall, thrown(speed, control), [0.0, 3.0 * sign], events=event, step_control=control, **options)
    exact = 2 * speed * (1 if control == "shared" else torch.tensor([1.0, 2.0])) / G
    assert torch.allclose(sol.events[0].t, exact, rtol=1e-9)
    (found,) = torch.autograd.grad(sol.events[0].t.sum(), speed)
    assert found.item() == pytest.approx((1 if control == "shared" else 3) * 2 / G, rel=1e-8)


@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_direction_is_that_of_the_solve_from_the_start_on(direction, sign):
    event = po.Event(height, direction=direction)
    sol = po.solve(fall, thrown(torch.tensor(5.0 * sign), "shared"), [0.0, 3.0 * sign], events=event)
    assert sol.events[0].t.tolist() == pytest.approx([] if direction == 1 else [10.0 * sign / G])


@pytest.mark.parametrize(("options", "sign"), [({}, 1), *((options, -1) for options in METHODS)])
@pytest.mark.parametrize("control", CONTROLS)
def test_a_ball_that_starts_on_the_floor_bounces_backwards_as_it_does_forwards(options, control, sign):
    """Flights of 2 v / g, the speed v shrinking by 0.8 at each bounce."""
    speed = torch.tensor(5.0 * sign, requires_grad=True)
    floor = po.Event(height, direction=-1, jump=lambda t, y: torch.stack([y[..., 0], -0.8 * y[..., 1]], -1))
    sol = po.solve(fall, thrown(speed, control), [0.0, 2.7 * sign], events=floor, step_control=control, **options)
    flights = torch.cumsum(2 * speed / G * 0.8 ** torch.arange(3.0), 0)
    exact = flights if control == "shared" else torch.cat([flights, 2 * flights[:1]])
    assert torch.allclose(sol.events[0].t, exact, rtol=1e-9)
    (found,) = torch.autograd.grad(sol.events[0].t[2], speed)
    assert found.item() == pytest.approx(2 / G * (1 + 0.8 + 0.64), rel=1e-8)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("control", CONTROLS)
def test_a_second_event_that_is_zero_where_another_jumps_does_not_fire_again_behind_it(sign, control):
    floor = po.Event(height, direction=-1, jump=lambda t, y: torch.stack([y[..., 0], -0.8 * y[..., 1]], -1))
    seen = po.Event(height)
    sol = po.solve(
        fall, thrown(torch.tensor(5.0 * sign), control), [0.0, 2.7 * sign], events=[floor, seen], step_control=control
    )
    assert torch.equal(sol.events[0].t, sol.events[1].t)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("options", [{"first_step": 5.0}, {}, {"method": "rk4", "step_size": 5.0}])
@pytest.mark.parametrize("direction", [-1, 0, 1])
def test_a_start_that_touches_zero_takes_the_sign_that_the_solve_gives_it(sign, control, options, direction):
    """y = t^2 - t^3 forwards, t^2 + t^3 backwards: zero with its slope at 0, and falling through zero at 1 or -1."""

    def f(t, y):
        return torch.stack([y[..., 1], 0 * y[..., 1] + 2 - 6 * sign * t.reshape(y.shape[:-1])], -1)

    y0 = torch.zeros(2) if control == "shared" else torch.zeros(3, 2)
    sol = po.solve(
        f, y0, [0.0, 5.0 * sign], events=po.Event(height, direction=direction), step_control=control, **options
    )
    expected = torch.full((y0[..., 0].numel() * (direction != 1),), float(sign))
    assert sol.events[0].t.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_start_at_a_turning_point_does_not_fire(sign):
    """1 - cos(t) is t^2 / 2, which a first step of 1e-9 cannot tell from rounding."""
    y0 = torch.tensor([-1.0, 0.0])
    event = po.Event(lambda t, y: y[0] + 1)
    sol = po.solve(lambda t, y: torch.stack([y[1], -y[0]]), y0, [0.0, 3.0 * sign], events=event, first_step=1e-9)
    assert len(sol.events[0]) == 0
