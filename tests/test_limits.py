"""Solves that are watched and limited: what the monitor is told, and what is left of a solve that ends early."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import physode as po
from physode.errors import SolveError
from physode.solvers.callbacks import Watch
from tests.systems import Spiral

pytestmark = pytest.mark.usefixtures("float64")


def told(**options):
    moments: list[po.Moment] = []
    sol = po.solve(Spiral(), options.pop("y0", torch.tensor([1.0, 0.5])), [0.0, 2.0], monitor=moments.append, **options)
    return moments, sol


def test_a_monitor_is_told_of_every_accepted_step():
    moments, sol = told(first_step=2.0)
    assert [moment.t for moment in moments] == sol.step_times[1:].tolist()
    assert [moment.step for moment in moments] == pytest.approx(sol.step_times.diff().tolist())
    assert [moment.accepted for moment in moments] == list(range(1, len(moments) + 1))
    assert moments[-1].rejected == int(sol.stats.rejected) > 0
    assert moments[-1].fraction == 1.0
    assert moments[-1].seconds >= moments[0].seconds >= 0.0


def test_a_monitor_is_told_of_the_sample_that_is_furthest_behind():
    moments, sol = told(y0=torch.tensor([[0.1, 0.0], [8.0, 0.0]]), step_control="per-sample")
    assert moments[0].t == float(sol.step_times[1].min())
    assert moments[-1].accepted == int(sol.stats.accepted.sum())
    assert moments[-1].rejected == int(sol.stats.rejected.sum())


def test_a_monitor_is_told_of_fixed_steps():
    moments, _ = told(method="rk4", step_size=0.5)
    assert [moment.t for moment in moments] == [0.5, 1.0, 1.5, 2.0]
    assert [moment.accepted for moment in moments] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "options",
    [{}, {"method": "rk4", "step_size": 0.05}, {"step_control": "per-sample"}, {"gradient": po.ACA(checkpoints=3)}],
    ids=str,
)
def test_a_monitor_that_returns_true_ends_the_solve_with_what_was_solved(options):
    y0 = torch.tensor([[1.0, 0.5], [0.5, 1.0]], requires_grad=True)
    sol = po.solve(
        Spiral(), y0, torch.linspace(0, 2, 21), monitor=lambda moment: moment.t >= 1.0, throw=False, **options
    )
    whole = po.solve(Spiral(), y0, torch.linspace(0, 2, 21), **options)
    assert (sol.status == po.Status.STOPPED).all()
    reached = ~sol.y.isnan().any(-1)
    assert (reached.sum(0) >= 11).all()
    assert not reached.all()
    assert torch.equal(sol.y[reached], whole.y[reached])
    assert (sol.ended >= 1.0).all()
    (found,) = torch.autograd.grad(sol.y[5].sum(), y0)
    (expected,) = torch.autograd.grad(whole.y[5].sum(), y0)
    assert torch.allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "gradient",
    [
        po.ACA(),
        po.ACA(checkpoints=2),
        *(pytest.param(way, marks=pytest.mark.slow) for way in (po.ACA(parallel=False), po.ACA(checkpoints=50))),
    ],
    ids=str,
)
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step_size": 0.02}], ids=str)
def test_a_stopped_sample_has_its_gradient_beside_one_that_arrived_and_one_that_failed(gradient, options):
    """y' = -a y^2: the first sample is stopped, the second one has a pole at 0.25, the third one arrives at 0.2."""
    y0, a = torch.tensor([[1.0], [-1.0], [1.0]], requires_grad=True), torch.tensor([[2.0], [4.0], [1.0]])
    rate = torch.tensor(1.0, requires_grad=True)
    ends = torch.tensor([1e9, 1e9, 0.2]) if not options else torch.tensor([2.0, 2.0, 0.2])
    times = torch.stack([0 * ends, torch.full((3,), 0.1), ends])
    sol = po.solve(
        lambda t, y: -rate * a * y**2, y0, times, step_control="per-sample", gradient=gradient, throw=False,
        rtol=1e-9, atol=1e-9, max_step=0.1, monitor=lambda moment: moment.t >= 1.0, **options,
    )  # fmt: skip
    failed = po.Status.NON_FINITE if options else po.Status.STEP_UNDERFLOW
    assert sol.status.tolist() == [po.Status.STOPPED, failed, po.Status.SUCCESS]
    found = torch.autograd.grad(sol.y[1].sum() + sol.y[2, 2].sum(), [y0, rate])
    exact = lambda t: y0 / (1 + rate * a * y0 * t)  # noqa: E731
    expected = torch.autograd.grad(exact(0.1).sum() + exact(0.2)[2].sum(), [y0, rate])
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4)


def test_the_wall_clock_ends_a_solve_with_a_name():
    with pytest.raises(SolveError, match="`max_seconds` of wall-clock time had passed") as caught:
        po.solve(Spiral(), torch.tensor([1.0, 0.5]), [0.0, 1e9], max_seconds=0.05, max_steps=10**9)
    assert caught.value.solution.status == po.Status.OUT_OF_TIME
    assert 0.0 < float(caught.value.solution.ended) < 1e9


def test_a_limit_that_is_not_reached_changes_nothing():
    a = po.solve(Spiral(), torch.tensor([1.0, 0.5]), [0.0, 1.0], max_seconds=1e6)
    b = po.solve(Spiral(), torch.tensor([1.0, 0.5]), [0.0, 1.0])
    assert torch.equal(a.y, b.y)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"max_steps": 5}, po.Status.MAX_STEPS),
        ({"min_step": 0.5}, po.Status.STEP_UNDERFLOW),
        ({"monitor": lambda moment: moment.t > 0.5}, po.Status.STOPPED),
    ],
)
def test_errors_carry_what_was_solved(options, status):
    with pytest.raises(SolveError, match=r"the solve stopped at t = ") as caught:
        po.solve(Spiral(), torch.tensor([1.0, 0.5]), torch.linspace(0, 3, 31), rtol=1e-10, atol=1e-10, **options)
    sol = caught.value.solution
    assert sol.status == status
    assert torch.equal(sol.y[0], torch.tensor([1.0, 0.5]))
    assert sol.y[-1].isnan().all()


def test_errors_of_the_adjoint_method_name_the_reason_and_carry_what_was_solved():
    with pytest.raises(SolveError, match="needs a solve that reached its end: `max_steps`") as caught:
        po.solve(Spiral(), torch.tensor([1.0, 0.5]), [0.0, 3.0], max_steps=5, gradient="adjoint")
    assert caught.value.solution.status == po.Status.MAX_STEPS


def test_an_error_without_a_solution_can_be_pickled():
    assert pickle.loads(pickle.dumps(SolveError("stopped"))).solution is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_limit_must_be_positive(seconds):
    with pytest.raises(ValueError, match="`max_seconds` must be a positive number"):
        po.solve(Spiral(), torch.tensor([1.0, 0.5]), [0.0, 1.0], max_seconds=seconds)


def test_a_progress_bar_is_a_monitor_and_shows_nothing_where_nobody_looks(capfd):
    with po.progress_bar("decay") as monitor:
        sol = po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], monitor=monitor)
    assert sol.success
    assert capfd.readouterr() == ("", "")


def test_a_watch_without_limits_lets_a_solve_go_on():
    assert Watch().after(None, 0.0, 0.0, 0.0, False) == 0


@pytest.mark.parametrize("verdict", [torch.tensor, np.bool_])
def test_a_monitor_may_return_a_tensor_or_an_array_of_one_truth(verdict):
    sol = po.solve(Spiral(), torch.ones(2), [0.0, 2.0], monitor=lambda moment: verdict(moment.t >= 1.0), throw=False)
    assert sol.status == po.Status.STOPPED


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"monitor": 3}, TypeError, "`monitor` must be callable with one argument, got int"),
        ({"progress": 3}, TypeError, "`progress` must be callable with one argument, got int"),
        ({"max_steps": 2.5}, ValueError, "`max_steps` must be a whole number"),
        ({"min_step": 1.0, "max_step": 0.1}, ValueError, "`min_step` must not be above `max_step`"),
    ],
)
def test_limits_that_cannot_be_used_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        po.solve(Spiral(), torch.ones(2), [0.0, 1.0], **options)
