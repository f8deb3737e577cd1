"""Steps that are looked into many at a time show the events that they show one at a time."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import solve_ivp

import physode as po

pytestmark = pytest.mark.usefixtures("float64")


def swing(t, y):
    return torch.stack([y[1], -torch.sin(y[0])])


START = torch.tensor([1.0, 0.3], dtype=torch.float64)


def still(events, **options):
    """A state that stands still, in steps of 1: their ends are whole numbers, but for the first steps."""
    options = {"method": "dopri5", "first_step": 1.0, "max_step": 1.0, **options}
    return po.solve(lambda t, y: 0 * y, torch.ones(1), [0.0, 20.0], events=events, **options)


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3", "rodas5p", "dopri8"])
def test_many_steps_have_scipy_s_events(method):
    def condition(t, y):
        return y[0] - 0.2

    def speed(t, y):
        return y[1] + 0.1 * t

    reference = solve_ivp(
        lambda t, y: [y[1], -math.sin(y[0])], (0, 60), START.tolist(), "DOP853", rtol=1e-12, atol=1e-13,
        events=[condition, speed],
    )  # fmt: skip
    tolerance = {"rtol": 1e-6, "atol": 1e-8} if method == "bosh3" else {"rtol": 1e-9, "atol": 1e-11}
    sol = po.solve(swing, START, [0.0, 60.0], events=[po.Event(condition), po.Event(speed)], method=method, **tolerance)
    assert int(sol.stats.accepted) > 100
    for found, exact in zip(sol.events, reference.t_events, strict=True):
        assert found.t.tolist() == pytest.approx(list(exact), abs=2e-4 if method == "bosh3" else 1e-6)


@pytest.mark.parametrize(
    ("condition", "dense"),
    [
        (lambda t, y: y[0], True),
        (lambda t, y: y[0], False),
        (lambda t, y: y[0] + (0.0 if float(t) > -1 else 1.0), False),
    ],
)
def test_events_of_steps_that_waited_have_states_and_gradients(condition, dense):
    """The second condition looks at a value, so that it cannot be mapped over steps."""

    def solved(**options):
        y0 = START.clone().requires_grad_()
        sol = po.solve(swing, y0, [0.0, 7.0, 30.0], events=po.Event(condition), rtol=1e-9, atol=1e-11, **options)
        gradient = torch.autograd.grad(sol.events[0].t.sum() + sol.events[0].y.sum() + sol.y.sum(), y0)[0]
        return sol, gradient

    (waited, found), (looked, expected) = solved(dense=dense), solved(gradient=po.ACA(parallel=False))
    assert len(waited.events[0]) == 9
    assert torch.equal(waited.events[0].t, looked.events[0].t)
    assert torch.equal(waited.events[0].y, looked.events[0].y)
    assert torch.allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["recorded", "terminal", "max_count", "jump"])
def test_two_crossings_inside_a_step_that_waited_are_found_and_end_the_solve_where_they_should(kind):
    options = {
        "recorded": {},
        "terminal": {"terminal": True},
        "max_count": {"max_count": 2},
        "jump": {"jump": lambda t, y: y + 1},
    }[kind]
    sol = still(po.Event(lambda t, y: (t - 7.4) * (t - 7.6), **options))
    times = {"terminal": [7.4]}.get(kind, [7.4, 7.6])
    assert sol.events[0].t.tolist() == pytest.approx(times, abs=1e-12)
    assert float(sol.ended) == pytest.approx(20.0 if kind in ("recorded", "jump") else times[-1])
    if kind == "jump":
        assert sol.y[-1].item() == 3.0


def test_a_terminal_event_ends_the_solve_after_steps_that_waited():
    sol = still([po.Event(lambda t, y: t - 7.3, terminal=True), po.Event(lambda t, y: (t - 5.4) * (t - 5.6))])
    assert [one.t.tolist() for one in sol.events] == [pytest.approx([7.3]), pytest.approx([5.4, 5.6])]
    assert len(sol.step_times) <= 10


def test_what_watches_a_solve_that_is_begun_again_is_told_of_the_steps_that_count():
    end = po.Event(lambda t, y: (t - 7.4) * (t - 7.6), terminal=True)
    sol = still(end, record={"y": lambda t, y: y[0] + t})
    assert torch.equal(sol.recorded["y"].t, sol.step_times)
    assert sol.recorded["y"].values[-1].item() == pytest.approx(8.4)


def test_a_condition_that_becomes_nan_is_named_in_a_step_that_waited_too():
    with pytest.raises(po.errors.SolveError, match=r"the condition of event 0 is NaN at t = 9"):
        still(po.Event(lambda t, y: torch.sqrt(8.9 - t)))
