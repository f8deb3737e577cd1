"""States that jump: bouncing balls against the closed form, accumulations, and forcing with known discontinuities."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.integrate import solve_ivp

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

G = 9.81
GRADIENTS = ["aca", "adjoint", "naive"]


def fall(t, y, bounce):
    return torch.stack([y[..., 1], torch.full_like(y[..., 1], -G)], -1)


def floor(**options):
    def bounced(t, y, bounce):
        return torch.stack([y[..., 0], -bounce * y[..., 1]], -1)

    return po.Event(lambda t, y, bounce: y[..., 0], direction=-1, jump=bounced, name="floor", **options)


def drop(heights, bounce, times, gradient="aca", **options):
    y0 = torch.stack([heights, torch.zeros_like(heights)], -1)
    return po.solve(
        fall, y0, times, args=(bounce,), events=floor(), gradient=gradient, step_control="per-sample", **options
    )


def bounces(height, bounce, end):
    """Times of the closed form: t_1 = sqrt(2 h / g), then flights of 2 v / g with the speed v shrinking."""
    t = torch.sqrt(2 * height / G)
    speed, found = G * t, []
    while float(t.detach()) < end:
        found.append(t)
        speed = bounce * speed
        t = t + 2 * speed / G
    return torch.stack(found)


def height_at(height, bounce, t):
    hits = bounces(height, bounce, float(t))
    last, speed = hits[-1], G * hits[0] * bounce ** len(hits)
    return speed * (t - last) - G / 2 * (t - last) ** 2


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_times_and_states_of_bouncing_balls_and_their_gradients_are_those_of_the_closed_form(gradient):
    heights, bounce = torch.linspace(0.5, 2.0, 5).requires_grad_(), torch.tensor(0.8, requires_grad=True)
    times = torch.tensor([0.0, 0.9, 2.0])
    sol = drop(heights, bounce, times, gradient)
    exact = torch.cat([bounces(height, bounce, 2.0) for height in heights])
    at_end = torch.stack([height_at(height, bounce, times[2]) for height in heights])
    assert torch.allclose(sol.events["floor"].t, exact, rtol=1e-12, atol=1e-13)
    assert torch.allclose(sol.y[2, :, 0], at_end, atol=1e-12)
    assert torch.allclose(sol.events[0].y[:, 0], torch.zeros(len(exact)), atol=1e-13)
    weights = torch.sin(torch.arange(len(exact)).double())
    found = torch.autograd.grad((weights * sol.events[0].t).sum() + sol.y[2, :, 0].sum(), [heights, bounce])
    expected = torch.autograd.grad((weights * exact).sum() + at_end.sum(), [heights, bounce])
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.slow
def test_ten_thousand_balls_at_once():
    heights, bounce = torch.linspace(0.5, 2.0, 10_000).requires_grad_(), torch.tensor(0.8, requires_grad=True)
    sol = drop(heights, bounce, [0.0, 2.0])
    exact = torch.cat([bounces(height, bounce, 2.0) for height in heights])
    assert torch.allclose(sol.events[0].t, exact, rtol=1e-12, atol=1e-13)
    found = torch.autograd.grad(sol.events[0].t.sum(), [heights, bounce])
    expected = torch.autograd.grad(exact.sum(), [heights, bounce])
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def test_one_ball_with_one_clock_bounces_alike():
    bounce = torch.tensor(0.8, requires_grad=True)
    y0 = torch.tensor([1.0, 0.0], requires_grad=True)
    sol = po.solve(fall, y0, torch.linspace(0, 2, 9), args=(bounce,), events=floor())
    height = torch.tensor(1.0, requires_grad=True)
    exact = bounces(height, bounce, 2.0)
    assert torch.allclose(sol.events[0].t, exact, atol=1e-10)
    assert sol.y[-1, 0].item() == pytest.approx(height_at(height, bounce, torch.tensor(2.0)).item(), abs=1e-9)
    found = torch.autograd.grad(sol.events[0].t.sum(), [y0, bounce])
    expected = torch.autograd.grad(exact.sum(), [height, bounce])
    assert float(found[0][0]) == pytest.approx(float(expected[0]), rel=1e-8)
    assert float(found[1]) == pytest.approx(float(expected[1]), rel=1e-8)


def test_the_time_of_the_start_has_its_gradient_through_jumps():
    def end(start):
        times = torch.stack([start, torch.tensor(2.0)])
        return po.solve(fall, torch.tensor([1.0, 0.0]), times, args=(0.8,), events=floor(), rtol=1e-10, atol=1e-12).y[
            -1
        ]

    assert torch.autograd.gradcheck(end, (torch.tensor(0.1, requires_grad=True),))


def test_an_accumulation_of_bounces_ends_with_its_name_at_its_time():
    sol = drop(torch.tensor([1.0, 0.1]), torch.tensor(0.5), [0.0, 1.5], throw=False)
    limit = torch.sqrt(2 * torch.tensor([1.0, 0.1]) / G) * 3.0  # t_1 (1 + 2 e / (1 - e))
    assert sol.status.tolist() == [int(po.Status.ACCUMULATION)] * 2
    assert torch.allclose(sol.ended, limit, atol=1e-12)
    assert torch.isnan(sol.y[-1]).all()
    with pytest.raises(po.errors.SolveError, match=r"events with a jump accumulate.*`max_count`"):
        drop(torch.tensor([1.0]), torch.tensor(0.5), [0.0, 1.5])


def test_max_count_ends_a_bouncing_ball():
    y0 = torch.tensor([1.0, 0.0])
    sol = po.solve(fall, y0, [0.0, 10.0], args=(0.5,), events=floor(max_count=4))
    assert len(sol.events[0]) == 4
    assert int(sol.status) == po.Status.EVENT
    assert float(sol.ended) == pytest.approx(float(bounces(torch.tensor(1.0), 0.5, 1.3)[3]), abs=1e-12)


def test_max_steps_counts_all_flights_together():
    sol = po.solve(fall, torch.tensor([1.0, 0.0]), [0.0, 9.0], args=(1.0,), events=floor(), max_steps=30, throw=False)
    assert int(sol.status) == po.Status.MAX_STEPS
    assert int(sol.stats.attempts) <= 30 + 10


@pytest.mark.parametrize("gradient", ["aca", "naive", po.ACA(checkpoints=4)], ids=str)
def test_max_steps_of_a_busy_sample_are_its_own(gradient):
    height = torch.tensor([0.05, 60.0], requires_grad=True)

    def ended(rows):
        y0 = torch.stack([height, torch.zeros(2)], 1)[rows]
        options = {"max_steps": 40, "throw": False, "step_control": "per-sample", "gradient": gradient}
        sol = po.solve(fall, y0, [0.0, 3.0], args=(0.9,), events=floor(), **options)
        return sol, torch.autograd.grad(sol.y[-1, -1, 0], height)[0]

    (both, found), (alone, expected) = ended(slice(0, 2)), ended(slice(1, 2))
    assert both.status.tolist() == [int(po.Status.MAX_STEPS), int(po.Status.SUCCESS)]
    assert int(both.stats.attempts[0]) == 40
    assert torch.equal(both.stats.attempts[1:], alone.stats.attempts)
    assert torch.equal(both.y[:, 1], alone.y[:, 0])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_two_walls_hit_at_once_both_turn_the_ball():
    def free(t, y):
        return torch.cat([y[2:], torch.zeros(2)])

    walls = [
        po.Event(lambda t, y, i=i: y[i] - 1, direction=1, jump=lambda t, y, i=i: y * (1 - 2 * torch.eye(4)[2 + i]))
        for i in range(2)
    ]
    sol = po.solve(free, torch.tensor([0.0, 0.0, 1.0, 1.0]), [0.0, 1.5], events=walls)
    assert sol.y[-1].tolist() == pytest.approx([0.5, 0.5, -1.0, -1.0], abs=1e-12)


def test_a_jump_that_goes_through_its_condition_fires_once():
    drag = po.Event(lambda t, y: y[0] - 0.5, direction=-1, jump=lambda t, y: torch.stack([y[0], 0.1 * y[1]]))
    sol = po.solve(lambda t, y: fall(t, y, 0), torch.tensor([1.0, 0.0]), [0.0, 0.5], events=drag)
    assert len(sol.events[0]) == 1


@pytest.mark.parametrize("gradient", ["aca", "mali"])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_a_velocity_carried_along_starts_anew_behind_a_jump_and_a_discontinuity(gradient, control):
    """Asynchronous leapfrog is exact for a ball's flight only where its velocity starts as the derivative."""
    bounce = torch.tensor(0.8, requires_grad=True)
    y0 = torch.tensor([1.0, 0.0]) if control == "shared" else torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    sol = po.solve(
        fall, y0, [0.0, 2.0], args=(bounce,), events=floor(), jump_t=[1.3], method="alf", step_size=0.1,
        gradient=gradient, step_control=control,
    )  # fmt: skip
    exact = bounces(torch.tensor(1.0), bounce, 2.0)
    rows = sol.events[0].t.reshape(-1, len(exact))
    assert torch.allclose(rows, exact.expand_as(rows), rtol=1e-12)
    found, expected = (torch.autograd.grad(t.sum(), bounce)[0] for t in (rows[0], exact))
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    switch = po.solve(
        forced, 0 * y0[..., :1], [0.0, 0.7], jump_t=[0.3], method="alf", step_size=0.01, step_control=control
    )
    assert switch.y[-1].reshape(-1)[0].item() == pytest.approx(10 * (1 - math.exp(-0.4)), rel=3e-5)


@pytest.mark.parametrize(
    ("method", "control"),
    [
        *itertools.product(["rodas5p", "kvaerno3", "radauIIA5", "leapfrog"], ["shared", "per-sample"]),
        ("auto", "per-sample"),
        ("gl4", "shared"),
        ("yoshida4", "per-sample"),
        ("tsit5", "shared"),
        ("dopri8", "per-sample"),
    ],
)
def test_every_kind_of_method_meets_the_bounces_and_their_gradient_in_a_state_of_two_parts(method, control):
    """The time of the first hit is sqrt(2 h / g)."""
    height = torch.tensor([1.0] if control == "shared" else [[1.0]], requires_grad=True)
    hit = po.Event(lambda t, y: y[0][..., 0], direction=-1, jump=lambda t, y: (y[0], -0.8 * y[1]))
    adapts = method in ("rodas5p", "kvaerno3", "auto", "tsit5", "dopri8")
    sol = po.solve(
        lambda t, y: (y[1], 0 * y[0] - G), (height, torch.zeros_like(height)), [0.0, 1.5], events=hit, method=method,
        step_control=control, step_size=None if adapts else 0.05,
    )  # fmt: skip
    exact = bounces(torch.tensor(1.0), 0.8, 1.5)
    assert torch.allclose(sol.events[0].t, exact, rtol=1e-11)
    (found,) = torch.autograd.grad(sol.events[0].t[0], height)
    assert found.item() == pytest.approx(math.sqrt(0.5 / G), rel=1e-9)


@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_complex_states_jump(control):
    """y = exp(i t) is turned by a quarter where its real part is 0: at pi / 2, and again after a quarter turn more."""
    y0 = torch.ones((1,) if control == "shared" else (1, 1), dtype=torch.complex128)
    turned = po.Event(lambda t, y: y[..., 0].real, jump=lambda t, y: 1j * y)
    sol = po.solve(lambda t, y: 1j * y, y0, [0.0, 4.0], events=turned, step_control=control, rtol=1e-10, atol=1e-12)
    assert sol.events[0].t.tolist() == pytest.approx([math.pi / 2, math.pi], abs=1e-9)
    assert sol.y[-1].item() == pytest.approx(-complex(math.cos(4.0), math.sin(4.0)), abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_interpolant_has_both_sides_of_a_jump(dtype):
    y0 = torch.tensor([1.0, 0.0], dtype=dtype)
    sol = po.solve(fall, y0, [0.0, 1.0], args=(0.8,), events=floor(), dense=True)
    hit, speed = math.sqrt(2 / G), math.sqrt(2 * G)
    near = 1e-3 if dtype == torch.float32 else 1e-8
    assert float(sol(hit - 1e-4)[1]) == pytest.approx(-speed + G * 1e-4, abs=near)
    assert float(sol(hit + 1e-4)[1]) == pytest.approx(0.8 * speed - G * 1e-4, abs=near)
    assert float(sol(sol.events[0].t)[0, 1]) == pytest.approx(-speed, abs=near)


def test_times_may_fall_through_jumps():
    level = po.Event(lambda t, y: y[0] - 0.5, direction=-1, jump=lambda t, y: y + 10)
    sol = po.solve(lambda t, y: torch.ones_like(y), torch.ones(1), [1.0, 0.7, 0.5, 0.3, 0.0], events=level, dense=True)
    assert sol.events[0].t.tolist() == pytest.approx([0.5])
    assert sol.y.flatten().tolist() == pytest.approx([1.0, 0.7, 0.5, 10.3, 10.0])
    assert sol(torch.tensor([0.51, 0.49])).flatten().tolist() == pytest.approx([0.51, 10.49])


@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_a_jump_to_nan_ends_its_sample_there_with_a_name(control):
    y0 = torch.tensor([1.0, 0.0]) if control == "shared" else torch.tensor([[1.0, 0.0], [9.0, 0.0]])
    lost = po.Event(lambda t, y: y[..., 0], jump=lambda t, y: y * math.nan)
    sol = po.solve(lambda t, y: fall(t, y, 0), y0, [0.0, 0.3, 1.0], events=lost, step_control=control, throw=False)
    status, ended = sol.status.reshape(-1), sol.ended.reshape(-1)
    assert status[0] == po.Status.NON_FINITE
    assert float(ended[0]) == pytest.approx(math.sqrt(2 / G))
    assert len(sol.events[0]) == 1
    assert not sol.y[1].isnan().any()
    assert (status[1:] == po.Status.SUCCESS).all()


@pytest.mark.parametrize("level", [0.0, 1e-9, 1e-7, 1e-3, -1e-9])
@pytest.mark.parametrize("direction", [-1, pytest.param(0, marks=pytest.mark.slow), 1])
def test_events_at_or_beside_a_jump_fire_as_often_as_the_state_crosses(level, direction):
    """A level above the floor is crossed down and up at each bounce; the floor itself is met once; below it is nothing.

    A step that lands on the floor ends within its error, 1e-7, of where it was found: the levels lie in between.
    """
    heights = torch.linspace(0.2, 1.2, 40)
    rhs = lambda t, y: torch.stack([y[:, 1], -G * torch.cos(0.3 * y[:, 0]) - 0.1 * y[:, 1]], -1)  # noqa: E731
    hit = po.Event(lambda t, y: y[:, 0], direction=-1, jump=lambda t, y: torch.stack([y[:, 0], -0.8 * y[:, 1]], -1))
    beside = po.Event(lambda t, y: y[:, 0] - level, direction=direction)
    sol = po.solve(
        rhs, torch.stack([heights, 0.5 * heights], -1), [0.0, 1.2], events=[hit, beside], step_control="per-sample"
    )
    down, up = (int(level >= 0.0), int(level > 0.0))
    times = down * (direction <= 0) + up * (direction >= 0)
    assert torch.equal(sol.events[1].count, times * sol.events[0].count)


def test_spikes_of_neurons_have_their_period():
    """An integrator that leaks, reset at its threshold: the time between spikes is log(i / (i - 1))."""
    current = torch.tensor([[1.2], [2.0], [5.0]])
    spike = po.Event(lambda t, y: y[:, 0] - 1, direction=1, jump=lambda t, y: 0 * y)
    sol = po.solve(
        lambda t, y: current - y, torch.zeros(3, 1), [0.0, 3.0], events=spike, step_control="per-sample", rtol=1e-10,
        atol=1e-12,
    )  # fmt: skip
    period = torch.log(current / (current - 1))[:, 0]
    assert sol.events[0].count.tolist() == [int(3.0 / p) for p in period]
    table = sol.events[0].table()
    expected = period[:, None] * (1 + torch.arange(table.shape[1]))
    assert torch.allclose(table, torch.where(torch.isnan(table), torch.nan, expected), equal_nan=True, atol=1e-8)


def test_outputs_at_a_jump_are_the_state_before_it():
    spike = po.Event(lambda t, y: t - 0.5, jump=lambda t, y: y + 1)
    sol = po.solve(lambda t, y: 0 * y, torch.ones(1), [0.0, 0.5, 1.0], events=spike, dense=True)
    assert sol.y.flatten().tolist() == [1.0, 1.0, 2.0]
    assert float(sol(0.5)) == 1.0


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step_size": 0.1}, {"method": "rodas5p"}])
def test_a_jump_at_the_end_fires_and_the_solve_has_arrived(options):
    at_end = po.Event(lambda t, y: t.reshape(-1) - torch.tensor([1.0, 0.4]), jump=lambda t, y: y + 1)
    sol = po.solve(
        lambda t, y: -y, torch.ones(2, 1), [0.0, 1.0], events=at_end, step_control="per-sample", dense=True, **options
    )
    assert sol.success
    assert torch.allclose(sol.events[0].t, torch.tensor([1.0, 0.4]))
    e = math.e
    assert torch.allclose(sol.y[-1].flatten(), torch.tensor([1 / e, 1 / e + e**-0.6]), atol=1e-4)


SWITCH = (0.3, 0.7)


def forced(t, y):
    return -y + torch.where((t >= SWITCH[0]) & (t < SWITCH[1]), 10.0, 0.0).to(y.dtype)


def test_steps_end_at_known_discontinuities_and_the_right_hand_side_stays_on_its_side():
    seen = []

    def f(t, y):
        seen.append(float(t))
        return forced(t, y)

    sol = po.solve(f, torch.zeros(1), torch.linspace(0, 1, 5), jump_t=SWITCH, rtol=1e-9, atol=1e-11)
    free = po.solve(forced, torch.zeros(1), torch.linspace(0, 1, 5), rtol=1e-9, atol=1e-11)
    level = 10 * (1 - math.exp(-0.4))
    assert float(sol.y[-1]) == pytest.approx(level * math.exp(-0.3), rel=1e-9)
    assert set(SWITCH) <= set(sol.step_times.tolist())
    assert not set(SWITCH) & set(seen)
    assert any(abs(time - 0.3) < 1e-15 and time > 0.3 for time in seen)
    assert int(sol.stats.rejected) < int(free.stats.rejected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step_size": 0.11}, {"step_control": "per-sample"}])
def test_discontinuities_are_met_by_every_kind_of_step(dtype, options):
    y0 = torch.zeros((2, 1) if options.get("step_control") else (1,), dtype=dtype)
    sol = po.solve(forced, y0, torch.linspace(0, 1, 5), jump_t=torch.tensor(SWITCH), **options)
    reference = solve_ivp(lambda t, y: -y + 10, (0.3, 0.7), [0.0], rtol=1e-11, atol=1e-13).y[0, -1]
    assert sol.y[-1].reshape(-1)[0].item() == pytest.approx(reference * math.exp(-0.3), rel=1e-4)


@pytest.mark.parametrize("jumps", [[0.7, 0.3], [0.3, 0.3, 0.7, 0.7], [-1.0, 0.0, 0.3, 0.5, 0.7, 1.0, 2.0]])
@pytest.mark.parametrize("times", [[0.0, 0.3, 0.5, 1.0], [1.0, 0.7, 0.3, 0.0]])
def test_discontinuities_may_be_unsorted_repeated_outside_and_at_outputs(jumps, times):
    options = {"rtol": 1e-9, "atol": 1e-11, "dense": True}
    sol = po.solve(forced, torch.ones(1), times, jump_t=jumps, **options)
    plain = po.solve(forced, torch.ones(1), times, jump_t=[0.3, 0.7], **options)
    assert torch.allclose(sol.y, plain.y, rtol=1e-9)
    assert torch.allclose(sol(torch.tensor(times)), sol.y, rtol=1e-12)
    level = lambda t: 10 + (math.exp(-0.3) - 10) * math.exp(0.3 - t)  # noqa: E731 - of times that rise
    if times[0] == 0.0:
        assert sol.y.flatten().tolist() == pytest.approx(
            [1.0, math.exp(-0.3), level(0.5), level(0.7) * math.exp(-0.3)], rel=1e-8
        )


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_times_of_discontinuities_have_gradients(gradient):
    """y(1) = 10 (exp(s2 - 1) - exp(s1 - 1)) with the forcing on from s1 to s2."""
    switch = torch.tensor(SWITCH, requires_grad=True)
    sol = po.solve(forced, torch.zeros(1), [0.0, 1.0], jump_t=switch, gradient=gradient, rtol=1e-10, atol=1e-12)
    (found,) = torch.autograd.grad(sol.y[-1].sum(), switch)
    assert found.tolist() == pytest.approx([-10 * math.exp(-0.7), 10 * math.exp(-0.3)], rel=1e-8)


@pytest.mark.parametrize("gradient", ["aca", po.ACA(parallel=False), po.ACA(memory="graph"), "adjoint", "naive"])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_times_of_discontinuities_have_gradients_where_f_depends_on_time(gradient, control, dtype):
    """y' = cos(3 t) before s and cos(3 t) + 1 + t behind it: dy(2)/ds = -(1 + s)."""
    switch = torch.tensor([0.9], requires_grad=True)

    def f(t, y):
        return 0 * y + torch.cos(3 * t) + torch.where(t > switch.detach().to(t.dtype), 1 + t, 0.0)

    y0 = torch.zeros((1,) if control == "shared" else (2, 1), dtype=dtype)
    exact = dtype == torch.float64
    sol = po.solve(
        f, y0, [0.0, 2.0], jump_t=switch, gradient=gradient, step_control=control, rtol=1e-9 if exact else 1e-5,
        atol=1e-11 if exact else 1e-6,
    )  # fmt: skip
    (found,) = torch.autograd.grad(sol.y[-1].reshape(-1)[0], switch)
    assert found.item() == pytest.approx(-1.9, rel=1e-7 if exact else 1e-4)


def test_discontinuities_that_are_no_times_are_named():
    with pytest.raises(ValueError, match=r"`jump_t` must be finite times"):
        po.solve(forced, torch.zeros(1), [0.0, 1.0], jump_t=[0.3, math.nan])
    with pytest.raises(ValueError, match=r"`jump_t` must be real times, got torch.complex128"):
        po.solve(forced, torch.zeros(1), [0.0, 1.0], jump_t=torch.tensor([1j]))
    with pytest.raises(ValueError, match=r"`jump_t` must be a tensor or a sequence of times, got str"):
        po.solve(forced, torch.zeros(1), [0.0, 1.0], jump_t="noon")
