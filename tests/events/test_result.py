"""Events are found: when, where, in which direction, in which sample, and at the borders of all these."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import solve_ivp

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

TIGHT = {"rtol": 1e-11, "atol": 1e-13}


def turn(t, y):
    return torch.stack([y[..., 1], -y[..., 0]], -1)


def circle(phase=0.3):
    return torch.tensor([math.cos(phase), -math.sin(phase)])


def first(t, y):
    return y[..., 0]


def van_der_pol(t, y):
    return torch.stack([y[..., 1], 3 * (1 - y[..., 0] ** 2) * y[..., 1] - y[..., 0]], -1)


@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize(
    "method", ["dopri5", *(pytest.param(it, marks=pytest.mark.slow) for it in ("dopri8", "bosh3"))]
)
def test_recorded_events_are_scipy_s(direction, method):
    def condition(t, y):
        return y[0] - 0.5

    condition.direction = direction
    reference = solve_ivp(
        lambda t, y: [y[1], 3 * (1 - y[0] ** 2) * y[1] - y[0]], (0, 12), [2.0, 0.0], "DOP853", rtol=1e-12, atol=1e-13,
        events=condition,
    )  # fmt: skip
    loose = method == "bosh3"
    sol = po.solve(
        van_der_pol, torch.tensor([2.0, 0.0]), [0.0, 12.0], method=method, rtol=1e-7 if loose else 1e-10,
        atol=1e-8 if loose else 1e-11, events=po.Event(condition, direction=direction),
    )  # fmt: skip
    assert sol.events[0].t.tolist() == pytest.approx(list(reference.t_events[0]), abs=1e-4 if loose else 1e-7)
    assert sol.events[0].y.flatten().tolist() == pytest.approx(list(reference.y_events[0].flatten()), abs=1e-3)
    assert sol.success
    assert int(sol.status) == po.Status.SUCCESS


def test_a_terminal_event_ends_the_solve_as_a_success_with_nan_behind_it():
    sol = po.solve(turn, circle(), torch.linspace(0, 4, 9), events=po.Event(first, terminal=True), **TIGHT)
    end = math.pi / 2 - 0.3
    assert float(sol.ended) == pytest.approx(end, abs=1e-9)
    assert int(sol.status) == po.Status.EVENT
    assert sol.success
    assert not sol.failures
    reached = sol.t <= end
    assert torch.allclose(sol.y[reached, 0], torch.cos(sol.t[reached] + 0.3))
    assert torch.isnan(sol.y[~reached]).all()


def test_samples_end_at_their_own_events_and_do_not_notice_their_company():
    y0 = torch.stack([circle(phase) for phase in (0.1, 0.7, 1.2, -1.0)])
    times = torch.linspace(0, 2, 5)
    options = {"events": po.Event(first, terminal=True), "step_control": "per-sample", **TIGHT}
    sol = po.solve(turn, y0, times, **options)
    assert sol.status.tolist() == [10, 10, 10, 0]
    assert sol.ended.tolist() == pytest.approx([math.pi / 2 - 0.1, math.pi / 2 - 0.7, math.pi / 2 - 1.2, 2.0], abs=1e-9)
    assert sol.events[0].sample.tolist() == [0, 1, 2]
    assert sol.events[0].count.tolist() == [1, 1, 1, 0]
    alone = po.solve(turn, y0[1:2], times, **options)
    assert torch.equal(alone.events[0].t, sol.events[0].t[1:2])
    assert torch.equal(torch.nan_to_num(alone.y[:, 0]), torch.nan_to_num(sol.y[:, 1]))


def test_several_events_are_told_apart_by_place_and_name():
    events = [po.Event(first, name="left"), po.Event(lambda t, y: y[1], direction=1), po.Event(lambda t, y: t - 5.5)]
    sol = po.solve(turn, circle(), [0.0, 7.0], events=events, **TIGHT)
    assert sol.events["left"].t.tolist() == pytest.approx([math.pi / 2 - 0.3, 1.5 * math.pi - 0.3], abs=1e-9)
    assert sol.events[1].t.tolist() == pytest.approx([math.pi - 0.3], abs=1e-9)
    assert sol.events[2].t.tolist() == pytest.approx([5.5], abs=1e-12)
    with pytest.raises(KeyError, match=r"no event is called 'right'; known: 'left'"):
        sol.events["right"]


def test_the_table_has_a_row_a_sample_and_nan_where_there_are_fewer():
    speed = torch.tensor([[1.0], [3.0]])
    sol = po.solve(
        lambda t, y: speed * turn(t, y), circle().repeat(2, 1), [0.0, 4.0], step_control="per-sample",
        events=po.Event(first), **TIGHT,
    )  # fmt: skip
    table = sol.events[0].table()
    expected = (math.pi / 2 - 0.3 + math.pi * torch.arange(4)) / speed
    assert torch.allclose(table[1], expected[1])
    assert table[0, 0] == pytest.approx(float(expected[0, 0]))
    assert torch.isnan(table[0, 1:]).sum() == 3 - int(expected[0, 1] < 4.0)


def test_times_may_fall():
    sol = po.solve(turn, circle(), [0.0, -4.0], events=po.Event(first, direction=-1), **TIGHT)
    assert sol.events[0].t.tolist() == pytest.approx([-math.pi / 2 - 0.3], abs=1e-9)
    both = po.solve(turn, circle()[None], [0.0, -8.0], events=po.Event(first), step_control="per-sample", **TIGHT)
    assert both.events[0].t.tolist() == pytest.approx([-math.pi * (k + 0.5) - 0.3 for k in range(2)], abs=1e-9)


@pytest.mark.parametrize("options", [{"method": "rk4", "step_size": 0.01}, {"method": "dopri5", "step_size": 0.05}])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_fixed_steps_find_events_too(options, control):
    y0 = circle() if control == "shared" else torch.stack([circle(), circle(0.6)])
    stop, note = po.Event(first, terminal=True), po.Event(lambda t, y: y[..., 1] + 0.8)
    sol = po.solve(turn, y0, torch.linspace(0, 2, 5), events=[stop, note], step_control=control, **options)
    phases = torch.tensor([0.3] if control == "shared" else [0.3, 0.6])
    assert torch.allclose(sol.events[0].t, math.pi / 2 - phases, atol=1e-7)
    assert torch.allclose(sol.events[1].t, math.asin(0.8) - phases, atol=1e-7)
    assert torch.allclose(sol.ended.reshape(-1), math.pi / 2 - phases, atol=1e-7)
    inside = sol.y.reshape(5, -1, 2)[2, :, 0]
    assert torch.allclose(
        inside, torch.where(phases < 0.57, torch.cos(1 + phases), torch.nan), equal_nan=True, atol=1e-7
    )


def test_an_event_on_an_output_a_step_s_end_or_the_end_time_fires_once():
    grid = torch.linspace(0, 1, 5)
    events = [po.Event(lambda t, y, at=at: t - at) for at in (0.5, 0.75, 1.0)]
    sol = po.solve(lambda t, y: -y, torch.ones(1), [0.0, 0.5, 1.0], grid=grid, method="rk4", events=events)
    assert [one.t.tolist() for one in sol.events] == [[0.5], [0.75], [1.0]]
    assert torch.equal(sol.events[0].y[0], sol.y[1])


@pytest.mark.parametrize("where", ["at the start", "everywhere"])
def test_zero_at_the_start_or_everywhere_does_not_fire(where):
    condition = (lambda t, y: y[0] - 1) if where == "at the start" else (lambda t, y: 0 * y[0])
    sol = po.solve(lambda t, y: y, torch.ones(1), [0.0, 1.0], events=po.Event(condition, terminal=True))
    assert len(sol.events[0]) == 0
    assert int(sol.status) == po.Status.SUCCESS


def test_a_double_crossing_inside_one_step_is_found_where_it_is_looked_at():
    events = po.Event(lambda t, y: (t - 0.4) * (t - 0.6))
    sol = po.solve(
        lambda t, y: -y, torch.ones(1), [0.0, 1.0], grid=torch.tensor([0.0, 1.0]), method="rk4", events=events
    )
    assert sol.events[0].t.tolist() == pytest.approx([0.4, 0.6], abs=1e-12)


def test_two_events_at_once_both_count_and_the_first_of_them_ends_the_solve():
    same = po.Event(first, terminal=True, name="a"), po.Event(first, name="b"), po.Event(first, terminal=True)
    sol = po.solve(turn, circle(), [0.0, 4.0], events=same, **TIGHT)
    assert [len(one) for one in sol.events] == [1, 1, 1]
    assert torch.equal(sol.events[0].t, sol.events[1].t)


def test_events_behind_a_terminal_one_do_not_count():
    later = po.Event(lambda t, y: y[0] + 0.05)
    sol = po.solve(
        turn, circle(), [0.0, 4.0], events=[later, po.Event(first, terminal=True)], method="dopri8", rtol=1e-4
    )
    assert [len(one) for one in sol.events] == [0, 1]


def test_states_of_several_parts_reach_the_condition_and_the_record():
    sol = po.solve(
        lambda t, y: {"x": y["v"], "v": -y["x"]}, {"x": torch.ones(2, 3), "v": torch.zeros(2, 3)}, [0.0, 2.0],
        step_control="per-sample", events=po.Event(lambda t, y: y["x"][:, 0], terminal=True), **TIGHT,
    )  # fmt: skip
    assert sol.events[0].y["v"].shape == (2, 3)
    assert torch.allclose(sol.events[0].y["v"], -torch.ones(2, 3))


def test_the_interpolant_of_a_solve_with_events_covers_all_of_it():
    sol = po.solve(turn, circle(), [0.0, 5.0], events=po.Event(first, max_count=2), dense=True, **TIGHT)
    t = torch.linspace(0, float(sol.ended), 20)
    assert torch.allclose(sol(t)[:, 0], torch.cos(t + 0.3), atol=1e-8)
    assert torch.isnan(sol(4.9)).all()


def test_a_sample_that_fails_leaves_the_events_of_others_alone():
    y0 = torch.stack([circle(), torch.tensor([torch.nan, 0.0]), circle(0.6)])
    sol = po.solve(
        turn, y0, [0.0, 1.0, 4.0], step_control="per-sample", events=po.Event(first, terminal=True), throw=False
    )
    assert sol.status.tolist() == [10, int(po.Status.NON_FINITE), 10]
    assert list(sol.failures) == [1]
    assert sol.events[0].sample.tolist() == [0, 2]


def test_progress_goes_up_to_one():
    told = []
    po.solve(turn, circle(), [0.0, 4.0], events=po.Event(first, jump=lambda t, y: y), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": 2}, "`direction` must be 1 .rising., -1 .falling. or 0 .both., got 2"),
        ({"max_count": 0}, "`max_count` must be a whole number, at least 1, or None, got 0"),
        ({"max_count": 1.5}, "`max_count` must be a whole number, at least 1, or None, got 1.5"),
        ({"name": 3}, "`name` must be a string, since numbers count places, got 3"),
        ({"terminal": True, "jump": lambda t, y: y}, "`terminal` ends the solve"),
    ],
)
def test_settings_that_cannot_be_used_are_named(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        po.Event(first, **options)


def test_conditions_that_cannot_be_used_are_named():
    with pytest.raises(
        ValueError, match=r"the condition of event 'whole' must return one real number, got .*shape .2,."
    ):
        po.solve(turn, circle(), [0.0, 1.0], events=po.Event(lambda t, y: y, name="whole"))
    with pytest.raises(po.errors.SolveError, match=r"the condition of event 0 is NaN at t = 0"):
        po.solve(turn, circle(), [0.0, 1.0], events=po.Event(lambda t, y: y[0] * torch.nan))
    with pytest.raises(ValueError, match=r"the jump of event 0 must return a state like `y0`, got .* of shape .1,."):
        po.solve(turn, circle(), [0.0, 4.0], events=po.Event(first, jump=lambda t, y: y[:1]))
    with pytest.raises(TypeError, match=r"`events` must be physode.Event"):
        po.solve(turn, circle(), [0.0, 1.0], events=first)
    with pytest.raises(ValueError, match=r"the names of `events` must differ"):
        po.solve(turn, circle(), [0.0, 1.0], events=[po.Event(first, name="a"), po.Event(first, name="a")])


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (lambda t, y: y[0] > 0.5, ValueError, "one real number that changes its sign at the event, got torch.bool"),
        (lambda t, y: bool(y[0] > 0.5), ValueError, "return a difference instead of a comparison"),
        (lambda t, y: None, TypeError, "must return one real number, got None; is a `return` missing"),
        (lambda t, y: "low", TypeError, "the condition of event 0 must return one real number, got str"),
        (lambda t, y: 1j * y[0], ValueError, "must return one real number, got torch.complex128"),
    ],
)
def test_conditions_that_return_no_number_are_named(condition, error, message):
    with pytest.raises(error, match=message):
        po.solve(turn, circle(), [0.0, 1.0], events=po.Event(condition))


def test_a_condition_may_be_a_plain_number():
    sol = po.solve(turn, circle(), [0.0, 2.0], events=po.Event(lambda t, y: float(y[0])), **TIGHT)
    assert sol.events[0].t.item() == pytest.approx(math.pi / 2 - 0.3)


def test_events_are_solved_uncompiled_with_a_warning():
    with pytest.warns(RuntimeWarning, match=r"events and `jump_t` are not compiled"):
        sol = po.solve(turn, circle(), [0.0, 4.0], events=po.Event(first, terminal=True), compile=True)
    assert int(sol.status) == po.Status.EVENT


@pytest.mark.parametrize("options", [{}, {"dense": True}, {"method": "rodas5p"}, {"method": "rk4", "step_size": 0.1}])
@pytest.mark.parametrize("kind", [{"terminal": True}, {"jump": lambda t, y: -y}])
def test_a_batch_without_samples_has_no_events(options, kind):
    sol = po.solve(
        turn, torch.zeros(0, 2), [0.0, 0.5, 1.0], events=po.Event(first, **kind), jump_t=[0.3],
        step_control="per-sample", **options,
    )  # fmt: skip
    assert sol.y.shape == (3, 0, 2)
    assert sol.events[0].y.shape == (0, 2)
    assert sol.events[0].table().shape == (0, 0)


@pytest.mark.parametrize("options", [{}, {"method": "rodas5p"}, {"method": "rk4", "step_size": 0.1}, {"jump_t": [0.3]}])
@pytest.mark.parametrize("kind", [{"terminal": True}, {"jump": lambda t, y: y}, {}])
@pytest.mark.parametrize("start", [0.0, 0.25])
def test_a_state_without_components_meets_events_in_time(options, kind, start):
    event = po.Event(lambda t, y: t - 0.25, **kind)
    sol = po.solve(lambda t, y: y, torch.zeros(0), [start, 0.5, 1.0], events=event, **options)
    assert sol.y.shape == (3, 0)
    assert sol.events[0].t.tolist() == pytest.approx([0.25] if start == 0.0 else [])


@pytest.mark.parametrize("options", [{}, {"events": po.Event(first)}, {"jump_t": [0.3]}, {"sink": "nowhere.h5"}])
def test_a_choice_of_compilation_that_is_none_is_named_whatever_else_is_asked(options):
    with pytest.raises(ValueError, match="`compile` must be True, False or 'auto', got 'yes'"):
        po.solve(turn, circle(), [0.0, 1.0], compile="yes", **options)
