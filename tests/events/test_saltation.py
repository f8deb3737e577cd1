"""Right-hand sides that are discontinuous at an event: each piece sees its own side, and gradients pass the surface."""

from __future__ import annotations

import math

import pytest
import torch

import physode as po
from physode.errors import SolveError

pytestmark = pytest.mark.usefixtures("float64")

WAYS = {
    "aca": po.ACA(),
    "aca parallel": po.ACA(parallel=True),
    "aca one by one": po.ACA(parallel=False),
    "aca checkpoint": po.ACA(memory="checkpoint", parallel=False),
    "aca graph": po.ACA(memory="graph"),
    "adjoint": po.Adjoint(),
    "naive": po.Naive(),
}
METHODS = [
    {"method": "tsit5"},
    {"method": "dopri8"},
    {"method": "rodas5p"},
    {"method": "radau5"},
    {"method": "rk4", "step_size": 0.02},
    {"method": "radauIIA5", "step_size": 0.05},
]
CONTROLS = ["shared", "per-sample"]
TIGHT = {"rtol": 1e-9, "atol": 1e-11}


def switched_off(t, y, end, rate):
    return torch.where(t < end, rate, 0.0) + 0 * y


def two_growths(t, y, a, b):
    return torch.where(y < 1, a + y, b - y)


def dry_friction(t, y, mu, start):
    return torch.stack([y[..., 1], -y[..., 0] - mu * torch.sign(y[..., 1])], -1)


CASES = {
    # what ends at te has come as far as te
    "time": (
        switched_off, lambda t, y, end, rate: t.reshape(y.shape[:-1]) - end,
        (0.7, 1.3), lambda end, rate: torch.zeros(1), 2.0, lambda end, rate: rate * end,
    ),
    # y' = a + y up to 1, which is met at log((a + 1) / a); then b - y
    "level": (
        two_growths, lambda t, y, a, b: y[..., 0] - 1,
        (0.8, 3.0), lambda a, b: torch.zeros(1), 2.0,
        lambda a, b: b + (1 - b) * torch.exp(torch.log((a + 1) / a) - 2.0),
    ),
    # half oscillations around mu and -mu in turn, each 2 mu shorter than the one before; it starts at rest
    "friction": (
        dry_friction, lambda t, y, mu, start: y[..., 1],
        (0.3, 4.0), lambda mu, start: torch.stack([start, 0 * start]), 5.0,
        lambda mu, start: -mu - (start - 3 * mu) * math.cos(5.0 - math.pi),
    ),
}  # fmt: skip


def check(case, gradient="aca", control="shared", event=None, within=1e-7, **options):
    f, condition, values, begins, end, exact = CASES[case]
    constants = [torch.tensor(value, requires_grad=True) for value in values]
    y0 = begins(*constants)
    y0 = y0 if control == "shared" else torch.stack([y0, y0])
    sol = po.solve(
        f, y0, [0.0, end], args=constants, events=po.Event(condition, **(event or {})), gradient=gradient,
        step_control=control, **options,
    )  # fmt: skip
    outcome, right = sol.y[-1].reshape(-1)[0], exact(*constants)
    found, expected = (torch.autograd.grad(value, constants) for value in (outcome, right))
    assert outcome.item() == pytest.approx(right.item(), abs=within)
    assert [one.item() for one in found] == pytest.approx([one.item() for one in expected], abs=within)
    return sol


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("jump", [None, lambda t, y, end, rate: 1 * y])
def test_a_source_that_is_switched_off_at_an_event_has_its_derivative_in_the_time(name, control, jump):
    sol = check("time", WAYS[name], control, event={"jump": jump})
    assert sol.events[0].t.detach().unique().tolist() == pytest.approx([0.7], rel=1e-14)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("case", ["level", "friction"])
def test_a_surface_in_the_state_has_its_derivatives_by_every_gradient_method(name, case):
    check(case, WAYS[name], **TIGHT)


@pytest.mark.parametrize("name", ["aca", "adjoint", pytest.param("naive", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", ["level", "friction"])
def test_a_surface_in_the_state_has_its_derivatives_sample_by_sample(name, case):
    check(case, WAYS[name], "per-sample", **TIGHT)


@pytest.mark.parametrize("options", METHODS)
@pytest.mark.parametrize("case", ["time", "level"])
def test_a_surface_is_met_by_every_kind_of_method(options, case):
    adapts = "step_size" not in options
    check(case, **options, **(TIGHT if adapts else {}))


@pytest.mark.slow
@pytest.mark.parametrize("options", METHODS)
@pytest.mark.parametrize("name", ["aca one by one", "adjoint"])
@pytest.mark.parametrize("control", CONTROLS)
def test_friction_is_met_by_every_kind_of_method_and_step(options, name, control):
    adapts = "step_size" not in options
    check("friction", WAYS[name], control, **options, **(TIGHT if adapts else {}))


@pytest.mark.parametrize("gradient", ["aca", po.ACA(parallel=False), "adjoint"])
def test_no_value_of_a_parameter_is_unlucky(gradient):
    """A speed that is braked by c, and by 3 c beyond 1: 60 values of c, each with steps of its own."""

    def f(t, y, c):
        return torch.stack([y[:, 1], -torch.where(y[:, 0] < 1, c, 3 * c) * y[:, 1]], -1)

    c = torch.linspace(0.1, 1.2, 60).requires_grad_()
    y0 = torch.tensor([0.0, 2.0]).expand(60, 2)
    sol = po.solve(
        f, y0, [0.0, 2.0], args=(c,), events=po.Event(lambda t, y, c: y[:, 0] - 1), gradient=gradient,
        step_control="per-sample",
    )  # fmt: skip
    speed = 2 - c
    time = -torch.log(speed / 2) / c
    exact = 1 + speed / (3 * c) * (1 - torch.exp(-3 * c * (2 - time)))
    found, expected = (torch.autograd.grad(y.sum(), c, retain_graph=True)[0] for y in (sol.y[-1, :, 0], exact))
    assert torch.allclose(sol.y[-1, :, 0], exact, atol=1e-5)
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_crossing_in_a_direction_that_does_not_count_is_a_switch_all_the_same():
    sol = check("level", event={"direction": -1}, **TIGHT)
    assert len(sol.events[0]) == 0


def test_a_terminal_event_sees_its_own_side_only():
    """It comes to rest at t = pi, or behind it where the friction is told wrong by steps that reach over."""
    mu = torch.tensor(0.3, requires_grad=True)
    stop = po.Event(lambda t, y, mu, start: y[1], terminal=True)
    sol = po.solve(dry_friction, torch.tensor([4.0, 0.0]), [0.0, 9.0], args=(mu, 4.0), events=stop, **TIGHT)
    assert sol.events[0].t.item() == pytest.approx(math.pi, abs=1e-8)
    (found,) = torch.autograd.grad(sol.events[0].y[0, 0], mu)
    assert found.item() == pytest.approx(2.0, abs=1e-7)


@pytest.mark.parametrize("control", CONTROLS)
def test_times_may_fall_through_a_discontinuity(control):
    """Backwards from 1.5 at t = 0: the level 1 at -1, where y' is 1 below and 1/2 above it."""
    a = torch.tensor(0.5, requires_grad=True)
    y0 = torch.full((1,) if control == "shared" else (2, 1), 1.5)
    sol = po.solve(
        lambda t, y, a: torch.where(y < 1, 1.0, a), y0, [0.0, -3.0], args=(a,), step_control=control,
        events=po.Event(lambda t, y, a: y[..., 0] - 1),
    )  # fmt: skip
    assert sol.events[0].t.unique().tolist() == pytest.approx([-1.0])
    (found,) = torch.autograd.grad(sol.y[-1].reshape(-1)[0], a)  # y = 1 - (3 - 0.5 / a)
    assert found.item() == pytest.approx(-0.5 / 0.25, rel=1e-9)


@pytest.mark.parametrize("gradient", ["aca", "adjoint", "naive"])
@pytest.mark.parametrize("control", CONTROLS)
def test_a_start_on_a_surface_is_on_the_side_that_the_solve_goes_to(gradient, control):
    """A spring that is let go at rest, with friction: x = mu + (4 - mu) cos(t) until it rests again, at pi."""
    mu = torch.tensor(0.3, requires_grad=True)
    y0 = torch.tensor([4.0, 0.0]) if control == "shared" else torch.tensor([[4.0, 0.0], [-4.0, 0.0]])
    sol = po.solve(
        dry_friction, y0, [0.0, 2.0], args=(mu, 4.0), gradient=gradient, step_control=control,
        events=po.Event(lambda t, y, mu, start: y[..., 1]), **TIGHT,
    )  # fmt: skip
    position = sol.y[-1].reshape(-1)[0]
    assert position.item() == pytest.approx(0.3 + 3.7 * math.cos(2.0), abs=1e-8)
    assert torch.autograd.grad(position, mu)[0].item() == pytest.approx(1 - math.cos(2.0), abs=1e-8)


def test_a_state_at_rest_on_a_surface_stays():
    event = po.Event(lambda t, y: y[0])
    sol = po.solve(lambda t, y: -torch.sign(y), torch.zeros(1), [0.0, 1.0], events=event)
    assert sol.y.flatten().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("gradient", ["aca", "adjoint", "naive"])
def test_a_ball_never_sees_what_is_below_the_floor_that_it_bounces_off(gradient):
    """Below the floor f is something else altogether; flights are 2 v / g, the speed v shrinking by 0.8."""
    g = torch.tensor(9.81, requires_grad=True)

    def fall(t, y, g):
        return torch.stack([y[1], torch.where(y[0] >= 0, -g, 100.0)])

    floor = po.Event(lambda t, y, g: y[0], direction=-1, jump=lambda t, y, g: torch.stack([y[0], -0.8 * y[1]]))
    sol = po.solve(fall, torch.tensor([1.0, 0.0]), [0.0, 1.9], args=(g,), events=floor, gradient=gradient)
    first = torch.sqrt(2 / g)
    exact = torch.stack([first, 2.6 * first, 3.88 * first])
    assert torch.allclose(sol.events[0].t, exact, rtol=1e-9)
    found, expected = (torch.autograd.grad(t[2], g)[0] for t in (sol.events[0].t, exact))
    assert found.item() == pytest.approx(expected.item(), rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_states_of_other_kinds_are_held_on_their_sides(dtype):
    a = torch.tensor(2.0, requires_grad=True)
    sol = po.solve(
        lambda t, y, a: torch.where(y.real < 1, a, 0.5).to(y.dtype), torch.zeros(1, dtype=dtype), [0.0, 2.0],
        args=(a,), events=po.Event(lambda t, y, a: y[0].real - 1),
    )  # fmt: skip
    (found,) = torch.autograd.grad(sol.y[-1].real.sum(), a)  # y = 1 + (2 - 1 / a) / 2
    assert sol.y[-1].real.item() == pytest.approx(1.75, rel=1e-5)
    assert found.item() == pytest.approx(0.125, rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step_size": 0.05}, {"method": "rodas5p"}])
def test_a_state_that_would_stick_at_a_surface_ends_with_its_reason(options):
    """At rest where the spring, 0.4, is weaker than the friction, 0.8."""
    event = po.Event(lambda t, y, mu, start: y[1], name="rest")
    args = (torch.tensor(0.8), 2.0)
    with pytest.raises(SolveError, match=r"stopped at t = 3\.1415.*leads back to it from both sides.*terminal"):
        po.solve(dry_friction, torch.tensor([2.0, 0.0]), [0.0, 20.0], args=args, events=event, **options)


def test_samples_that_stick_leave_the_others_alone():
    y0 = torch.tensor([[2.0, 0.0], [9.0, 0.0], [0.2, 0.0]])
    event = po.Event(lambda t, y, mu, start: y[:, 1])
    sol = po.solve(
        dry_friction, y0, [0.0, 5.0], args=(torch.tensor(0.8), 2.0), events=event, step_control="per-sample",
        throw=False, **TIGHT,
    )  # fmt: skip
    assert sol.status.tolist() == [int(po.Status.SLIDING), 0, int(po.Status.SLIDING)]
    assert sol.ended.tolist() == pytest.approx([math.pi, 5.0, 0.0], abs=1e-7)
    assert sol.y[-1, 1, 0].item() == pytest.approx(-0.8 - (9 - 2.4) * math.cos(5 - math.pi), abs=1e-7)


def test_a_right_hand_side_that_is_smooth_or_bent_at_an_event_keeps_its_steps():
    for f in (lambda t, y: torch.stack([y[1], -torch.sin(y[0])]), lambda t, y: torch.stack([y[1], -y[0].abs() * y[0]])):
        with_event, without = (
            po.solve(f, torch.tensor([1.0, 0.3]), [0.0, 20.0], events=events)
            for events in (po.Event(lambda t, y: y[0]), po.Event(lambda t, y: y[0] - 99))
        )
        assert len(with_event.events[0]) > 4
        assert torch.equal(with_event.step_times, without.step_times)
        assert torch.equal(with_event.y, without.y)


@pytest.mark.parametrize("method", ["dopri5", "rodas5p"])
@pytest.mark.parametrize("gradient", ["aca", "naive", po.ACA(checkpoints=2)], ids=str)
def test_samples_left_out_when_they_have_arrived_leave_the_others_on_their_sides(method, gradient):
    def net(t, y, k):
        return torch.stack([y[:, 1], -9.81 + 40.0 * k * (y[:, 0] <= 0.4).double()], 1)

    def gradient_of_heights(skip):
        k = torch.tensor(1.0, requires_grad=True)
        y0 = torch.tensor([[1.0, 0.3], [2.0, 0.0], [0.5, 1.0]])
        sol = po.solve(
            net, y0, torch.tensor([[0.0, 0.0, 0.0], [1.5, 1.0, 2.0]]), args=(k,), method=method, gradient=gradient,
            events=po.Event(lambda t, y, k: y[:, 0] - 0.4), step_control="per-sample", skip_finished=skip,
            sample_args=False,
        )  # fmt: skip
        return torch.autograd.grad(sol.y[-1, :, 0].sum(), k)[0]

    found, whole = gradient_of_heights(True), gradient_of_heights(False)
    torch.testing.assert_close(found, whole, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, torch.tensor(3.630442), rtol=3e-5, atol=0)


def test_records_have_the_steps_of_the_solve_and_none_of_its_attempts():
    sol = check("friction", record={"x": lambda t, y: y[0]}, **TIGHT)
    recorded = sol.recorded["x"]
    assert torch.equal(recorded.t, sol.step_times)
    assert recorded.values[-1].item() == pytest.approx(sol.y[-1, 0].item())
