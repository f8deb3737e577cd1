"""Fused solves against those by the eager engine: few kernels, shared by many tests."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import physode as po
from physode.errors import SolveError
from physode.status import Status
from tests.fused.same import Swing, assert_same, close, loss_of

pytestmark = pytest.mark.usefixtures("float64")

COARSE = {"method": "heun_euler", "rtol": 1e-3, "atol": 1e-4}
TIMES = torch.linspace(0, 2, 7, dtype=torch.float64)


def problem(c=0.05, y0=(1.0, 0.5), rate=1.3):
    """The one kind of problem that most tests here share the programs of."""
    swing = Swing()
    with torch.no_grad():
        swing.rate.fill_(rate)
    return swing, torch.tensor(y0, requires_grad=True), torch.tensor(c, requires_grad=True)


def solve(swing, y0, c, **options):
    return po.solve(swing, y0, TIMES, args=(c,), compile=True, **COARSE | options)


@pytest.mark.slow
def test_adaptive_steps_outputs_and_gradients_are_those_of_the_uncompiled_solve_and_are_built_once(loads):
    swing, y0, c = problem()
    assert_same(swing, y0, TIMES, args=(c,), leaves=[y0, c, swing.rate], **COARSE)
    assert len(set(loads)) <= 2  # the loop and its pass back
    del loads[:]
    swing, y0, c = problem(c=0.02, y0=(0.3, -0.8), rate=0.9)
    other = 3.0 * TIMES - 1.0
    assert_same(swing, y0, other, args=(c,), leaves=[y0, c, swing.rate], method="heun_euler", rtol=1e-2, atol=1e-5)
    assert_same(swing, y0, -other, args=(c,), leaves=[y0, c, swing.rate], **COARSE)
    with torch.no_grad():
        sol = assert_same(swing, y0, other, args=(c,), max_steps=5000, **COARSE)
    assert not sol.y.requires_grad
    assert loads == []


@pytest.mark.parametrize(
    ("c", "rough", "max_steps", "status"),
    [
        (0.05, 1e-3, 20, Status.MAX_STEPS),
        (1.5, 0.3, 100_000, Status.STEP_UNDERFLOW),
        (1e308, 1e-3, 100_000, Status.NON_FINITE),
    ],
)
def test_failures_are_told_as_by_the_uncompiled_solve(c, rough, max_steps, status):
    swing, y0, c = problem(c=c, y0=(10.0, 0.5) if c > 2.0 else (1.0, 0.5))
    options = {"args": (c,), "method": "heun_euler", "rtol": rough, "atol": rough, "max_steps": max_steps}
    sol = assert_same(swing, y0, TIMES, throw=False, outputs=1e-9, **options)
    assert int(sol.status) == status
    assert sol.y[-1].isnan().all()
    with pytest.raises(SolveError) as plain:
        po.solve(swing, y0, TIMES, **options)
    with pytest.raises(SolveError) as compiled:
        po.solve(swing, y0, TIMES, compile=True, **options)
    assert str(compiled.value)[:60] == str(plain.value)[:60]


def test_gradients_after_a_failure_are_those_of_what_was_solved():
    swing, y0, c = problem()
    assert_same(swing, y0, TIMES, args=(c,), leaves=[y0, c, swing.rate], throw=False, max_steps=30, **COARSE)


def test_inputs_changed_in_place_before_the_backward_pass_raise():
    swing, y0, c = problem()
    loss = loss_of(solve(swing, y0, c).y)
    with torch.no_grad():
        c.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_was_computed_of_weights_before_they_changed_has_the_gradients_of_the_solve():
    swing, y0, c = problem()
    expected = torch.autograd.grad(loss_of(solve(swing, y0, c).y), [swing.rate, y0])
    loss = loss_of(solve(swing, y0, c).y)
    swing.rate = torch.nn.Parameter(2.0 * swing.rate.detach())
    (found,) = torch.autograd.grad(loss, [y0])
    assert torch.equal(found, expected[1])


def test_a_graph_that_is_kept_gives_the_same_gradients_twice():
    swing, y0, c = problem()
    loss = loss_of(solve(swing, y0, c).y)
    first = torch.autograd.grad(loss, [y0, c, swing.rate], retain_graph=True)
    second = torch.autograd.grad(loss, [y0, c, swing.rate])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_second_derivatives_are_those_of_the_eager_engine():
    swing, y0, c = problem()
    leaves = [y0, c, swing.rate]

    def second(**options):
        y = po.solve(swing, y0, TIMES, args=(c,), **COARSE | options).y
        first = torch.autograd.grad(loss_of(y.square()), leaves, create_graph=True)
        return torch.autograd.grad(sum(part.square().sum() for part in first), leaves)

    for found, expected in zip(second(compile=True), second(gradient="naive"), strict=True):
        close(found, expected, 1e-8)


def test_gradients_of_a_batch_of_cotangents_are_those_one_by_one():
    swing, y0, c = problem()
    y = solve(swing, y0, c).y[-1]
    (found,) = torch.autograd.grad(y, y0, torch.eye(2), is_grads_batched=True, retain_graph=True)
    for row, cotangent in zip(found, torch.eye(2), strict=True):
        assert torch.equal(row, torch.autograd.grad(y, y0, cotangent, retain_graph=True)[0])


def test_weights_that_depend_on_others_pass_their_gradients_on():
    swing, y0, _ = problem()
    root = torch.tensor(0.2, requires_grad=True)
    found = torch.autograd.grad(loss_of(solve(swing, y0, root**2).y), root)
    expected = torch.autograd.grad(loss_of(po.solve(swing, y0, TIMES, args=(root**2,), **COARSE).y), root)
    close(found[0], expected[0], 1e-10)


def test_progress_ends_at_one():
    swing, y0, c = problem()
    told = []
    solve(swing, y0, c, progress=told.append)
    assert told
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_what_a_progress_function_raises_ends_the_solve_at_once():
    swing, y0, c = problem()
    told = []

    def stop(fraction):
        told.append(fraction)
        raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        solve(swing, y0, c, progress=stop)
    assert len(told) == 1


@pytest.mark.slow
def test_samples_with_steps_of_their_own_do_not_share_a_failure():
    swing, _, c = problem(c=1.0)
    y0 = torch.tensor([[0.2, 0.1], [6.0, 2.0], [-0.3, 0.1]], requires_grad=True)
    sol = assert_same(
        swing, y0, [0.0, 0.8], args=(c,), leaves=[y0, c, swing.rate], step_control="per-sample", throw=False,
        method="heun_euler", rtol=0.03, atol=0.03, outputs=1e-9, gradients=1e-8,
    )  # fmt: skip
    assert sol.status.tolist() == [Status.SUCCESS, Status.STEP_UNDERFLOW, Status.SUCCESS]
    (reached,) = torch.autograd.grad(sol.y[-1, 1].sum(), y0)
    assert torch.equal(reached, torch.zeros_like(y0))


@pytest.mark.slow
def test_steps_on_a_grid_with_gradients_in_the_times():
    swing, _, c = problem()
    y0 = torch.tensor([[1.0, 0.5], [0.2, 0.3], [-0.5, 0.4]], requires_grad=True)
    times = torch.linspace(0, 2, 7, requires_grad=True)
    assert_same(swing, y0, times, args=(c,), leaves=[y0, c, swing.rate, times], method="midpoint")


def test_another_attribute_of_the_module_gives_the_new_answer():
    class Scaled(torch.nn.Module):
        k = 2.0

        def forward(self, t, y):
            return -self.k * y

    f, y0 = Scaled(), torch.ones(2)
    assert float(assert_same(f, y0, [0.0, 0.1], method="euler").y[-1, 0]) == pytest.approx(0.8)
    f.k = 3.0
    assert float(assert_same(f, y0, [0.0, 0.1], method="euler").y[-1, 0]) == pytest.approx(0.7)


def test_times_have_gradients_where_no_step_was_accepted():
    times = TIMES.clone().requires_grad_()
    options = {"min_step": 0.5, "first_step": 0.5, "throw": False, "method": "heun_euler", "rtol": 1e-9, "atol": 1e-12}
    swing, y0, c = problem()
    sol = assert_same(swing, y0, times, args=(c,), leaves=[y0, times], **options)
    assert sol.stats.accepted.item() == 0


@pytest.mark.parametrize("samples", [1, 3])
def test_a_right_hand_side_that_does_not_exist_at_0_has_its_gradients_in_whole_matrices(samples):
    """Lanes without a sample, or with one that has arrived, add nothing to what lanes share."""

    class Inverse(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(40, 8).double()

        def forward(self, t, y):
            powers = [y / t, *(y / y.square().sum(-1, keepdim=True).sqrt() ** k for k in range(4))]
            return 0.1 * self.layer(torch.cat(powers, -1))

    torch.manual_seed(3)
    f = Inverse()
    y0 = (1.0 + torch.rand(samples, 8, dtype=torch.float64)).requires_grad_()
    t = torch.linspace(1.0, 2.0, 7, dtype=torch.float64)
    found = assert_same(f, y0, t, leaves=[y0, *f.parameters()], step_control="per-sample", rtol=1e-4)
    assert bool(torch.isfinite(found.y).all())
