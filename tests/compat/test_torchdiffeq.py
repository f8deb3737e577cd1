"""What the torchdiffeq drop-in promises, against closed forms."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

import physode
from physode.compat.adams import adams_weights
from physode.compat.methods import METHODS
from physode.compat.torchdiffeq import odeint, odeint_adjoint, odeint_dense, odeint_event
from physode.errors import SolveError

pytestmark = pytest.mark.usefixtures("float64")

RUNGE_KUTTA = [name for name, method in METHODS.items() if method.kind in ("adaptive", "fixed")]
EVENT_METHODS = [name for name, method in METHODS.items() if method.kind != "scipy"]
ADAPTIVE = [name for name, method in METHODS.items() if method.kind == "adaptive"]
T = torch.linspace(0.0, 1.0, 3, dtype=torch.float64)
FIXED = {"rk4": {"step_size": 0.1}, "implicit_adams": {"step_size": 0.1, "max_order": 5, "max_iters": 50}}


class Decay(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, t, y):
        return -self.rate * t * y  # y = y0 exp(-rate t**2 / 2)


def test_the_functions_stand_at_the_top_level():
    assert physode.odeint is odeint
    assert physode.odeint_adjoint is odeint_adjoint
    assert physode.odeint_dense is odeint_dense
    assert physode.odeint_event is odeint_event


@pytest.mark.parametrize("name", ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"])
def test_signatures_are_torchdiffeq_s(name):
    theirs = pytest.importorskip("torchdiffeq")
    mine, other = (inspect.signature(getattr(package, name)).parameters for package in (physode, theirs))
    assert list(mine) == list(other)
    assert [p.kind for p in mine.values()] == [p.kind for p in other.values()]
    for parameter in mine:
        if parameter != "odeint_interface":
            assert mine[parameter].default == other[parameter].default


@pytest.mark.parametrize("method", METHODS)
def test_a_single_time_gives_the_initial_state(method):
    y0 = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(odeint(Decay(), y0, T[:1], method=method), y0[None])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_solves(method):
    options = {"step_size": 0.01} if METHODS[method].kind in ("fixed", "adams") else {}
    found = odeint(lambda t, y: -t * y, torch.ones(2), T, method=method, options=options, rtol=1e-5, atol=1e-7)
    expected = torch.exp(-(T**2) / 2)[:, None].expand(3, 2)
    torch.testing.assert_close(found, expected, rtol=1e-2 if method in ("euler", "implicit_euler") else 1e-3, atol=0.0)


@pytest.mark.parametrize("method", [*RUNGE_KUTTA, "explicit_adams", "implicit_adams"])
def test_gradients_reach_the_state_the_times_and_parameters(method):
    adaptive, adams = METHODS[method].kind == "adaptive", METHODS[method].kind == "adams"
    options = {} if adaptive else {"step_size": 0.09}  # the last step is shorter: the steps' number is constant
    options |= {"max_iters": 50} if adams else {}
    tolerance = 1e-6 if METHODS[method].tableau.order < 3 else 1e-10

    def solution(y0, t, rate):
        keywords = {"method": method, "options": options, "rtol": tolerance, "atol": 1e-2 * tolerance}
        return odeint(lambda t, y: -rate * t * y, y0, t, **keywords)

    inputs = (torch.tensor([1.0, 0.5]), torch.tensor([0.1, 0.6]), torch.tensor(0.7))
    inputs = tuple(x.requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(solution, inputs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_adams"])
def test_odeint_can_be_differentiated_twice(method):
    def solution(y0):
        return odeint(lambda t, y: -(y**2), y0, T[[0, -1]], method=method, options=FIXED.get(method))

    assert torch.autograd.gradgradcheck(solution, (torch.tensor([0.8, 0.5], requires_grad=True),))


def test_gradients_reach_tensors_that_only_a_later_time_uses():
    early, late = torch.tensor(0.3, requires_grad=True), torch.tensor(0.6, requires_grad=True)
    y = odeint(
        lambda t, y: -(early if t < 0.5 else late) * y,
        torch.ones(1),
        T[[0, -1]],
        options={"jump_t": torch.tensor([0.5])},
    )
    found = torch.autograd.grad(y[-1].sum(), [early, late])
    expected = -0.5 * math.exp(-0.45)
    torch.testing.assert_close(torch.stack(found), torch.tensor([expected, expected]), rtol=1e-6, atol=0.0)


def test_gradients_of_the_adjoint_say_that_they_are_of_first_order():
    y0 = torch.ones(1, requires_grad=True)
    y = odeint_adjoint(Decay(), y0, T)
    (gradient,) = torch.autograd.grad(y[-1].sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="odeint"):
        gradient.sum().backward()


@pytest.mark.parametrize("adjoint_method", ["tsit5", "rk4", "implicit_adams", "scipy_solver"])
def test_the_adjoint_goes_back_with_any_method(adjoint_method):
    f, y0, t = Decay(), torch.ones(2, requires_grad=True), T.clone().requires_grad_()
    options = {"step_size": 0.02} if METHODS[adjoint_method].kind in ("fixed", "adams") else {}
    y = odeint_adjoint(f, y0, t, adjoint_method=adjoint_method, adjoint_options=options)
    found = torch.autograd.grad(y[-1].sum(), [y0, t, f.rate])
    end = math.exp(-0.35)
    expected = [torch.full((2,), end), torch.tensor([0.0, 0.0, -1.4 * end]), torch.tensor(-end)]
    for mine, closed in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, closed, rtol=1e-5, atol=1e-6)


def test_the_adjoint_s_own_tolerances_norm_and_callbacks_are_used():
    f, y0, seen = Decay(), torch.ones(2, requires_grad=True), []
    f.callback_step_adjoint = lambda t0, y0, dt: seen.append(len(y0))

    def norm(parts):
        t, y, adj_y, rate = parts
        assert (t.shape, y.shape, adj_y.shape, rate.shape) == ((), (2,), (2,), ())
        return torch.stack([y.abs().max(), adj_y.abs().max()]).max()

    y = odeint_adjoint(f, y0, T, adjoint_rtol=1e-3, adjoint_atol=1e-3, adjoint_options={"norm": norm})
    y.sum().backward()
    assert set(seen) == {4}
    few = len(seen)
    f.zero_grad()
    odeint_adjoint(f, y0, T, adjoint_rtol=1e-10, adjoint_atol=1e-12).sum().backward()
    assert len(seen) > 2 * few


def test_adjoint_parameters_must_be_named_for_a_plain_function():
    with pytest.raises(ValueError, match="adjoint_params"):
        odeint_adjoint(lambda t, y: -y, torch.ones(1), T)
    rate = torch.tensor(2.0, requires_grad=True)
    y = odeint_adjoint(lambda t, y: -rate * y, torch.ones(1), T, adjoint_params=(rate,))
    (found,) = torch.autograd.grad(y[-1].sum(), rate)
    torch.testing.assert_close(found, torch.tensor(-math.exp(-2.0)), rtol=1e-6, atol=0.0)


def test_options_of_another_adjoint_method_must_be_given():
    with pytest.raises(ValueError, match="adjoint_options"):
        odeint_adjoint(Decay(), torch.ones(1), T, method="rk4", options={"step_size": 0.1}, adjoint_method="dopri5")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_no_evaluation_crosses_a_jump(method, reverse):
    seen = []

    def f(t, y):
        seen.append(float(t))
        return -y if t < 0.5 else 2.0 * y

    t = T[[0, -1]].flip(0) if reverse else T[[0, -1]]
    y = odeint(f, torch.ones(1), t, method=method, options={"jump_t": torch.tensor([0.5])}, rtol=1e-6, atol=1e-8)
    expected = math.exp(-1.0 + 0.5) if reverse else math.exp(-0.5 + 1.0)
    torch.testing.assert_close(y[-1], torch.tensor([expected]), rtol=1e-4, atol=0.0)
    assert 0.5 not in seen
    assert any(abs(time - 0.5) < 1e-12 for time in seen)


def test_steps_end_at_the_times_asked_for():
    f, ends = Decay(), []
    f.callback_accept_step = lambda t0, y0, dt: ends.append(float(t0 + dt))
    odeint(f, torch.ones(1), T[[0, -1]], options={"step_t": torch.tensor([0.123, 0.5])})
    assert {0.123, 0.5, 1.0} <= set(ends)


def test_attempts_are_accepted_or_rejected():
    f, count = Decay(), {"step": 0, "accept_step": 0, "reject_step": 0}
    for name in count:
        setattr(f, f"callback_{name}", lambda t0, y0, dt, name=name: count.update({name: count[name] + 1}))
    odeint(f, torch.ones(1), T, options={"first_step": 1.0})
    assert count["step"] == count["accept_step"] + count["reject_step"]
    assert count["reject_step"] > 0


ON_GRIDS = [name for name, method in METHODS.items() if method.kind in ("fixed", "adams")]


@pytest.mark.parametrize("perturb", [False, True])
@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
@pytest.mark.parametrize("method", ON_GRIDS)
def test_perturbed_steps_see_the_right_hand_side_from_inside_only(method, interface, perturb):
    seen = []

    def f(t, y):
        seen.append(float(t))
        return -y

    y0, keywords = torch.tensor([1.0, 2.0], requires_grad=True), {}
    if interface is odeint_adjoint:
        keywords = {"adjoint_params": ()}
    y = interface(f, y0, T[[0, -1]], method=method, options={"step_size": 0.5, "perturb": perturb}, **keywords)
    assert [time in seen for time in (0.0, 0.5)] == [not perturb] * 2
    assert any(0.0 < time < 1e-9 for time in seen) == perturb
    seen.clear()
    (found,) = torch.autograd.grad(y[-1].sum(), y0)
    if interface is odeint_adjoint:
        assert [time in seen for time in (1.0, 0.5)] == [not perturb] * 2
    exact = torch.full((2,), math.exp(-1.0))
    torch.testing.assert_close(found, exact, rtol=0.4 if "euler" in method else 0.1, atol=0.0)


@pytest.mark.parametrize("method", ON_GRIDS)
def test_steps_of_both_passes_are_called_back_about(method):
    f, seen = Decay(), {"": [], "_adjoint": []}
    for which, log in seen.items():
        setattr(f, f"callback_step{which}", lambda t, y, h, log=log: log.append((float(t), float(h))))
    y0 = torch.ones(2, requires_grad=True)
    options = {"step_size": 0.25} | ({"max_iters": 50} if METHODS[method].kind == "adams" else {})
    odeint_adjoint(f, y0, T[[0, -1]], method=method, options=options)[-1].sum().backward()
    assert seen[""] == [(0.25 * i, 0.25) for i in range(4)]
    assert seen["_adjoint"] == [(1 - 0.25 * i, 0.25) for i in range(4)]


@pytest.mark.parametrize("method", [name for name in ON_GRIDS if METHODS[name].tableau.order > 1])
def test_the_adjoint_goes_back_with_every_method_over_grids(method):
    f, y0, t = Decay(), torch.ones(2, requires_grad=True), T.clone().requires_grad_()
    y = odeint_adjoint(f, y0, t, method=method, options={"step_size": 0.02, "interp": "cubic"})
    found = torch.autograd.grad(y[-1].sum(), [y0, t, f.rate])
    end = math.exp(-0.35)
    expected = [torch.full((2,), end), torch.tensor([0.0, 0.0, -1.4 * end]), torch.tensor(-end)]
    for mine, closed in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, closed, rtol=1e-3, atol=1e-4)


def test_adjoint_parameters_are_all_that_gradients_reach():
    named, other = torch.tensor(2.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    y = odeint_adjoint(lambda t, y: -named * other * y, torch.ones(1), T, adjoint_params=(named,))
    y[-1].sum().backward()
    torch.testing.assert_close(named.grad, torch.tensor(-math.exp(-2.0)), rtol=1e-6, atol=0.0)
    assert other.grad is None


def test_both_passes_end_their_steps_where_either_is_told_to():
    f, ends = Decay(), {"": [], "_adjoint": []}
    for which, log in ends.items():
        setattr(f, f"callback_accept_step{which}", lambda t, y, h, log=log: log.append(float(t)))
    y0 = torch.ones(1, requires_grad=True)
    y = odeint_adjoint(f, y0, T[[0, -1]], options={"jump_t": [0.3]}, adjoint_options={"step_t": [0.7]})
    y[-1].sum().backward()
    for log in ends.values():
        assert all(any(abs(time - stop) < 1e-12 for time in log) for stop in (0.3, 0.7))
    torch.testing.assert_close(y0.grad, torch.tensor([math.exp(-0.35)]), rtol=1e-6, atol=0.0)


def test_steps_of_the_smallest_size_are_accepted():
    f, sizes = Decay(), []
    f.callback_accept_step = lambda t0, y0, dt: sizes.append(float(dt))
    odeint(f, torch.ones(1), 4 * T, rtol=1e-12, atol=1e-14, options={"min_step": 0.5})
    assert min(sizes[:-1]) >= 0.5


def test_the_grid_is_the_caller_s():
    def grid(f, y0, t):
        return torch.tensor([0.0, 0.1, 0.4, 1.0])

    y = odeint(lambda t, y: y, torch.ones(1), T[[0, -1]], method="euler", options={"grid_constructor": grid})
    torch.testing.assert_close(y[-1], torch.tensor([1.1 * 1.3 * 1.6]))


def test_adams_methods_take_steps_of_unequal_size():
    t = torch.cat([torch.linspace(0.0, 0.5, 101), torch.linspace(0.5, 1.0, 57)[1:]])
    for method in ("explicit_adams", "implicit_adams"):
        y = odeint(lambda t, y: -t * y, torch.ones(1), t, method=method, options={"max_order": 6})
        torch.testing.assert_close(y[-1], torch.tensor([math.exp(-0.5)]), rtol=1e-9, atol=0.0)


def test_adams_weights_are_the_textbook_s():
    bashforth = adams_weights(torch.tensor([0.0, -1.0, -2.0, -3.0]), torch.tensor(0.0), torch.tensor(1.0))
    moulton = adams_weights(torch.tensor([1.0, 0.0, -1.0, -2.0]), torch.tensor(0.0), torch.tensor(1.0))
    torch.testing.assert_close(bashforth, torch.tensor([55.0, -59.0, 37.0, -9.0]) / 24)
    torch.testing.assert_close(moulton, torch.tensor([9.0, 19.0, -5.0, 1.0]) / 24)


def test_tuple_states_may_mix_shapes():
    y0 = (torch.tensor(1.0), torch.ones(2, 3))
    scalar, matrix = odeint(lambda t, y: (-y[0], y[1] * y[0]), y0, T)
    assert (scalar.shape, matrix.shape) == ((3,), (3, 2, 3))
    torch.testing.assert_close(matrix[-1], torch.full((2, 3), math.exp(1 - math.exp(-1.0))), rtol=1e-6, atol=0.0)


def test_a_solution_that_blows_up_ends_with_a_named_reason():
    with pytest.raises(SolveError, match=r"t = 1\.0000"):
        odeint(lambda t, y: y**2, torch.ones(1), 2 * T)


def test_the_dense_solution_can_be_called_at_many_times_and_differentiated():
    y0 = torch.ones(2, requires_grad=True)
    solution = odeint_dense(lambda t, y: -y, y0, torch.tensor(1.0), torch.tensor(0.0))
    t = torch.linspace(0.0, 1.0, 5)
    torch.testing.assert_close(solution(t)[:, 0], torch.exp(1 - t), rtol=1e-6, atol=0.0)
    assert solution(0.25).shape == (2,)
    (gradient,) = torch.autograd.grad(solution(0.5).sum(), y0)
    torch.testing.assert_close(gradient, torch.full((2,), math.exp(0.5)), rtol=1e-6, atol=0.0)
    with pytest.raises(ValueError, match="inside the solved span"):
        solution(1.5)


class Ball(torch.nn.Module):
    """A ball thrown up: height and velocity."""

    def __init__(self):
        super().__init__()
        self.gravity = torch.nn.Parameter(torch.tensor(9.8))

    def forward(self, t, y):
        return torch.stack([y[1], -self.gravity])


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_a_ball_lands_when_and_as_fast_as_it_must(interface):
    ball, y0 = Ball(), torch.tensor([2.0, 3.0], requires_grad=True)
    t0, ground = torch.tensor(0.5, requires_grad=True), torch.tensor(0.25, requires_grad=True)
    t, y = odeint_event(ball, y0, t0, event_fn=lambda t, y: y[0] - ground, odeint_interface=interface)
    height, speed, g, floor = y0[0], y0[1], ball.gravity, ground
    impact = torch.sqrt(speed**2 + 2 * g * (height - floor))
    expected = t0 + (speed + impact) / g
    torch.testing.assert_close(t, expected, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(y, torch.stack([y0, torch.stack([floor, -impact])]), rtol=1e-12, atol=1e-12)
    inputs = [y0, t0, ball.gravity, ground]
    found = torch.autograd.grad(t + 2 * y[-1, 1], inputs)
    for mine, closed in zip(found, torch.autograd.grad(expected - 2 * impact, inputs), strict=True):
        torch.testing.assert_close(mine, closed, rtol=1e-8, atol=1e-8)


def test_a_ball_bounces_where_each_event_starts_the_next():
    ball, state, t, times = Ball(), torch.tensor([1.0, 0.0]), torch.tensor(0.0), []
    for _ in range(4):
        t, states = odeint_event(ball, state, t, event_fn=lambda t, y: y[0])
        state = states[-1] * torch.tensor([1.0, -0.8])
        times.append(t.item())
    fall = math.sqrt(2 / 9.8)
    expected = [fall * (1 + 2 * sum(0.8**k for k in range(1, n + 1))) for n in range(4)]
    torch.testing.assert_close(times, expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("method", EVENT_METHODS)
def test_every_method_finds_events_in_both_directions(method, reverse):
    options = {"step_size": 0.01, "interp": "cubic"} if METHODS[method].kind != "adaptive" else {}
    target = math.exp(0.5) if reverse else math.exp(-0.5)
    t, y = odeint_event(
        lambda t, y: -y, torch.ones(1), torch.tensor(0.0), event_fn=lambda t, y: y - target, reverse_time=reverse,
        method=method, options=options, rtol=1e-6, atol=1e-8,
    )  # fmt: skip
    torch.testing.assert_close(
        t,
        torch.tensor(-0.5 if reverse else 0.5),
        rtol=1e-2 if method in ("euler", "implicit_euler") else 1e-4,
        atol=0.0,
    )
    torch.testing.assert_close(y[-1], torch.tensor([target]), rtol=1e-9, atol=0.0)


def test_of_several_events_the_first_counts():
    y0 = (torch.tensor([0.0]), torch.tensor([1.0]))
    t, (x, _) = odeint_event(
        lambda t, y: (y[1], torch.zeros(1)), y0, torch.tensor(0.0),
        event_fn=lambda t, y: torch.cat([y[0] - 3.0, 2.0 - y[0], (t - 5.0).reshape(1)]),
    )  # fmt: skip
    torch.testing.assert_close(t, torch.tensor(2.0))
    torch.testing.assert_close(x[:, 0], torch.tensor([0.0, 2.0]))


def test_an_event_at_the_start_ends_there():
    t, y = odeint(lambda t, y: -y, torch.zeros(1), T[:2], event_fn=lambda t, y: y)
    assert float(t) == 0.0
    torch.testing.assert_close(y, torch.zeros(2, 1))


def test_single_precision_states_keep_their_dtype():
    y = odeint(lambda t, y: -y, torch.ones(2, dtype=torch.float32), T.float(), rtol=1e-5, atol=1e-6)
    assert y.dtype == torch.float32


def test_complex_states_rotate():
    y = odeint(lambda t, y: 1j * y, torch.ones(1, dtype=torch.complex128), T)
    torch.testing.assert_close(y[:, 0], torch.exp(1j * T), rtol=1e-6, atol=1e-6)
