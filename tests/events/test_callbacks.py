"""Solves with events that are watched, limited and recorded: one watch and one record over all pieces."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import physode as po
from physode.errors import SolveError

pytestmark = pytest.mark.usefixtures("float64")

G = 9.81
GRADIENTS = ["aca", "adjoint", "naive"]
WAYS = [{}, {"method": "rk4", "step_size": 0.03}]


def fall(t, y):
    return torch.stack([y[..., 1], torch.full_like(y[..., 1], -G)], -1)


def floor(bounce=0.8, **options):
    jump = lambda t, y: torch.stack([y[..., 0], -bounce * y[..., 1]], -1)  # noqa: E731
    return po.Event(lambda t, y: y[..., 0], direction=-1, jump=jump, **options)


def hits(height, bounce, count):
    """Times of the closed form."""
    first = math.sqrt(2 * height / G)
    flights = [2 * first * bounce**k for k in range(1, count)]
    return [first + sum(flights[:k]) for k in range(count)]


def drop(heights=(1.0, 0.3), times=(0.0, 2.0), **options):
    y0 = torch.stack([torch.tensor(heights), torch.zeros(len(heights))], -1)
    control = "per-sample" if len(heights) > 1 else "shared"
    y0 = y0 if len(heights) > 1 else y0[0]
    return po.solve(
        fall, options.pop("y0", y0), times, events=options.pop("events", floor()), step_control=control, **options
    )


@pytest.mark.parametrize("options", WAYS)
def test_a_monitor_is_told_of_the_steps_of_all_pieces(options):
    moments: list[po.Moment] = []
    sol = drop([1.0], monitor=moments.append, **options)
    assert len(sol.events[0]) > 2
    assert [moment.t for moment in moments] == sol.step_times[1:].tolist()
    assert [moment.step for moment in moments] == pytest.approx(sol.step_times.diff().tolist())
    assert [moment.accepted for moment in moments] == list(range(1, len(moments) + 1))
    assert [moment.fraction for moment in moments] == pytest.approx([moment.t / 2.0 for moment in moments])
    assert moments[-1].rejected == int(sol.stats.rejected) > 0
    assert moments[-1].fraction == 1.0
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(moments))


@pytest.mark.parametrize("options", WAYS)
def test_a_monitor_is_told_of_the_sample_furthest_behind_of_those_under_way(options):
    """The first sample ends at its second hit; the other one, and none of what the first solves meanwhile, is told."""
    moments: list[po.Moment] = []
    ends = hits(0.1, 0.8, 2)[1]
    sol = drop([0.1, 1.0], events=floor(max_count=2), monitor=moments.append, **options)
    assert sol.status.tolist() == [po.Status.EVENT] * 2
    times = [moment.t for moment in moments]
    assert times == sorted(times)
    assert moments[0].t <= ends
    assert any(ends < moment.t < hits(1.0, 0.8, 2)[1] for moment in moments)
    assert moments[-1].t == pytest.approx(hits(1.0, 0.8, 2)[1])
    assert moments[-1].accepted == int(sol.stats.accepted.sum())
    assert moments[-1].rejected == int(sol.stats.rejected.sum())


@pytest.mark.parametrize("options", [*WAYS, {"gradient": "naive"}])
@pytest.mark.parametrize("heights", [[1.0], [1.0, 0.3]])
def test_a_monitor_that_returns_true_ends_the_solve_with_what_was_found(options, heights):
    times = torch.linspace(0, 2, 21)
    y0 = torch.tensor([[height, 0.0] for height in heights], requires_grad=True)
    y0 = y0 if len(heights) > 1 else y0[0]
    events = [floor(), po.Event(lambda t, y: y[..., 1], direction=-1)]  # the tops of the flights
    sol = drop(heights, times, y0=y0, events=events, monitor=lambda moment: moment.t >= 1.0, throw=False, **options)
    whole = drop(heights, times, y0=y0, events=events, **options)
    assert (sol.status == po.Status.STOPPED).all()
    assert ((sol.ended >= 1.0) & (sol.ended < 2.0)).all()
    reached = times.reshape(-1, *[1] * sol.ended.ndim) <= sol.ended
    assert torch.equal(~sol.y.isnan().any(-1), reached)
    assert torch.equal(sol.y[reached], whole.y[reached])
    for found, expected in zip(sol.events, whole.events, strict=True):
        before = expected.t <= sol.ended.reshape(-1)[expected.sample]
        assert torch.equal(found.t, expected.t[before])
        assert torch.equal(found.y, expected.y[before])
    assert sol.step_times.shape[0] < whole.step_times.shape[0]
    a, b = (torch.autograd.grad(s.y[7].sum() + s.events[0].t[0] + s.events[1].t[0], y0)[0] for s in (sol, whole))
    assert torch.allclose(a, b, rtol=1e-9)


def test_a_sample_that_waits_behind_its_jump_is_stopped_there_and_arrived_ones_stay_arrived():
    times = torch.tensor([[0.0, 0.0], [0.1, 2.0]])
    sol = drop([1.0, 0.3], times, monitor=lambda moment: moment.t >= 0.5, throw=False)
    assert sol.status.tolist() == [po.Status.SUCCESS, po.Status.STOPPED]
    assert sol.y[1, 0, 0].item() == pytest.approx(1.0 - G / 2 * 0.01)
    assert sol.y[1, 1].isnan().all()


def test_a_monitor_that_stops_at_an_event_stops_before_the_flight_behind_it():
    first = hits(1.0, 0.8, 1)[0]
    sol = drop([1.0], monitor=lambda moment: moment.t >= first - 1e-12, throw=False)
    assert sol.status == po.Status.STOPPED
    assert float(sol.ended) == pytest.approx(first)
    assert len(sol.events[0]) == 1


@pytest.mark.parametrize("options", WAYS)
def test_the_wall_clock_ends_a_solve_with_events_with_its_name_and_what_was_found(options):
    spike = po.Event(lambda t, y: y[0] - 1, direction=1, jump=lambda t, y: 0 * y)
    times = torch.linspace(0, 1000.0, 2001)
    with pytest.raises(SolveError, match="`max_seconds` of wall-clock time had passed") as caught:
        po.solve(lambda t, y: 2 - y, torch.zeros(1), times, events=spike, max_seconds=0.2, max_steps=10**6, **options)
    sol = caught.value.solution
    assert sol.status == po.Status.OUT_OF_TIME
    assert 0.0 < float(sol.ended) < 1000.0
    expected = math.log(2) * torch.arange(1, len(sol.events[0]) + 1)
    assert torch.allclose(sol.events[0].t, expected, rtol=1e-4)
    assert torch.equal(sol.y.isnan().any(-1), times > sol.ended)


def test_limits_that_are_not_reached_change_nothing():
    a, b = drop(), drop(max_seconds=1e6, monitor=lambda moment: None)
    assert torch.equal(a.y, b.y)
    assert torch.equal(a.events[0].t, b.events[0].t)


@pytest.mark.parametrize("gradient", ["adjoint", "aca"])
@pytest.mark.parametrize("heights", [[1.0], [1.0, 0.3]])
def test_errors_carry_what_was_solved_of_all_pieces(gradient, heights):
    times = torch.linspace(0, 2, 21)
    y0 = torch.tensor([[height, 0.0] for height in heights], requires_grad=True)
    y0 = y0 if len(heights) > 1 else y0[0]
    with pytest.raises(SolveError, match="`monitor` returned True") as caught:
        drop(heights, times, y0=y0, gradient=gradient, monitor=lambda moment: moment.t >= 1.0)
    sol, whole = caught.value.solution, drop(heights, times)
    assert (sol.status == po.Status.STOPPED).all()
    reached = ~sol.y.isnan().any(-1)
    assert (reached.sum(0) >= 11).all()
    assert torch.allclose(sol.y[reached], whole.y[reached], atol=1e-12)
    assert len(sol.events[0]) > 0


def test_outputs_and_events_before_a_failure_are_kept():
    """y' = y^2 has its pole at 1 / y0: at 1 for the first sample, at 4 for the second one."""
    y0, level = torch.tensor([[1.0], [0.25]], requires_grad=True), torch.tensor(2.0, requires_grad=True)
    times = torch.linspace(0, 1.2, 13)
    events = po.Event(lambda t, y: y[:, 0] - level)
    sol = po.solve(
        lambda t, y: y**2, y0, times, events=events, step_control="per-sample", throw=False, rtol=1e-10, atol=1e-10
    )
    assert sol.failures.keys() == {0}
    assert sol.events[0].sample.tolist() == [0]
    assert sol.events[0].t.item() == pytest.approx(0.5)
    assert torch.allclose(sol.y[:10, 0, 0], 1 / (1 - times[:10]), rtol=1e-8)
    assert int(sol.stats.accepted[0]) > 10
    found = torch.autograd.grad(sol.events[0].t.sum() + sol.y[3, 0, 0] + sol.y[-1, 1, 0], [y0, level])
    # t* = 1 / y0 - 1 / level, dy/dy0 = 1 / (1 - t y0)^2
    expected = [-1 + 1 / 0.7**2, 1 / (1 - 1.2 * 0.25) ** 2]
    assert found[0].flatten().tolist() == pytest.approx(expected, rel=1e-7)
    assert found[1].item() == pytest.approx(0.25, rel=1e-7)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("options", WAYS)
def test_what_is_recorded_shows_both_sides_of_each_jump(gradient, options):
    y0 = torch.tensor([1.0, 0.0], requires_grad=True)
    record = {"speed": lambda t, y: y[1], "t": lambda t, y: t}
    sol = drop([1.0], y0=y0, record=record, gradient=gradient, dense=True, **options)
    t, speed = sol.recorded["speed"]
    assert torch.equal(sol.recorded["t"].values, t)
    assert not speed.requires_grad
    twice = (t.diff() == 0).nonzero().flatten()
    assert torch.equal(t[twice], sol.events[0].t.detach())
    assert torch.allclose(speed[twice + 1], -0.8 * speed[twice], atol=1e-9)
    assert torch.allclose(speed[twice], sol.events[0].y[:, 1])
    once = torch.cat([torch.tensor([True]), t.diff() != 0])
    assert torch.equal(t[once], sol.step_times)
    flights = torch.searchsorted(torch.tensor(hits(1.0, 0.8, 20)), t[once] - 1e-9)
    start = torch.tensor([0.0, *(G * hits(1.0, 0.8, 1)[0] * 0.8**k for k in range(1, 20))])[flights]
    since = t[once] - torch.tensor([0.0, *hits(1.0, 0.8, 20)])[flights]
    assert torch.allclose(speed[once], start - G * since, atol=1e-8)


@pytest.mark.parametrize("options", WAYS)
def test_samples_are_recorded_as_if_each_were_alone_and_arrived_ones_stand_still(options):
    heights = [1.0, 0.3, 0.1]
    record = {"y": lambda t, y: y}
    together = drop(heights, events=floor(max_count=2), record=record, **options).recorded["y"]
    for sample, height in enumerate(heights):
        y0 = torch.tensor([[height, 0.0]])
        alone = drop([height, height], y0=y0, events=floor(max_count=2), record=record, **options).recorded["y"]
        rows = torch.cat([together.t[:, sample, None], together.values[:, sample]], 1)
        changed = torch.cat([torch.tensor([True]), (rows[1:] != rows[:-1]).any(1)])
        assert torch.equal(rows[changed], torch.cat([alone.t, alone.values[:, 0]], 1))
        assert rows[-1, 0].item() == pytest.approx(hits(height, 0.8, 2)[1])


def test_discontinuities_alone_add_no_rows():
    sol = po.solve(
        lambda t, y: torch.where(t > 0.3, 1.0, 0.0) - y,
        torch.ones(1),
        [0.0, 1.0],
        jump_t=[0.3],
        record={"y": lambda t, y: y[0]},
    )
    assert torch.equal(sol.recorded["y"].t, sol.step_times)
    assert 0.3 in sol.step_times.tolist()
