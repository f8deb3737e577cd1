"""The loop's decisions, with a scripted error estimate in place of numerics."""

from __future__ import annotations

import math

import pytest
import torch

import physode as po
from physode.rhs_state import Statistics
from physode.solvers.driver import integrate
from physode.solvers.step_control import Adaptive, Controller
from physode.solvers.tableaus import METHODS
from physode.solvers.trace import SavePolicy
from physode.status import Status

pytestmark = pytest.mark.usefixtures("float64")


def run(errors, *, t1=1.0, first_step=0.25, **options):
    """Integrate dy/dt = 1 with an error norm that plays back a script, the last entry for ever."""
    script = iter(errors)
    last = [0.0]

    def norm(x):
        last[0] = next(script, last[0])
        return torch.tensor(last[0])

    calls = []

    def rhs(t, y):
        calls.append(float(t))
        return torch.ones_like(y)

    steps = Adaptive(METHODS["heun_euler"], Controller(), norm, 1e-3, 1e-3, first_step=first_step, **options)
    start, end = torch.tensor(0.0), torch.tensor(t1)
    record = integrate(
        rhs, steps, start, end, torch.zeros(2), torch.ones(2), wanted=SavePolicy([]), statistics=Statistics()
    )
    return record, calls


# The first entry of a script answers for the derivative at the start.


def test_rejected_steps_continue_at_the_same_place():
    record, _ = run([0.0, 4.0, 0.5])
    assert int(record.rejected) == 1
    assert float(record.starts[0]) == 0.0
    assert float(record.sizes[0]) == pytest.approx(0.25 * 0.9 * 4.0**-0.5)


def test_the_first_stage_is_not_evaluated_again_after_a_rejection():
    _, calls = run([0.0, 4.0, 0.5], t1=0.1, first_step=0.1)
    assert calls.count(0.0) == 0


def test_the_last_step_lands_on_the_end_exactly():
    record, _ = run([0.0, 0.81], t1=0.7)
    assert float(record.ends[-1]) == 0.7
    assert record.nodes[-1].tolist() == pytest.approx([0.7, 0.7])


def test_no_sliver_is_left_for_the_last_step():
    record, _ = run([0.0, 0.81], t1=0.25 * (1 + 5e-4), first_step=0.25)
    assert len(record) == 1


def test_steps_and_nodes_join():
    record, _ = run([0.0, 0.3, 0.9, 2.0, 0.5, 0.8], t1=2.0, first_step=0.01)
    assert len(record.nodes) == len(record) + 1
    assert [float(end) for end in record.ends[:-1]] == [float(start) for start in record.starts[1:]]
    assert int(record.accepted) == len(record)


def test_a_step_stays_below_the_largest_allowed():
    record, _ = run([0.0, 0.0], max_step=0.1)
    assert max(float(size) for size in record.sizes) <= 0.1 / 0.999


def test_attempts_are_counted_out():
    record, _ = run([0.0, 0.81], first_step=1e-3, max_steps=7)
    assert int(record.status) == Status.MAX_STEPS
    assert int(record.accepted + record.rejected) == 7
    assert float(record.ended) == float(record.ends[-1])


def test_endless_rejections_end_with_underflow():
    record, calls = run([0.0, 9.0])
    assert int(record.status) == Status.STEP_UNDERFLOW
    assert len(record) == 0
    assert len(calls) < 300


def test_endless_nan_ends_as_not_finite():
    record, calls = run([0.0, float("nan")])
    assert int(record.status) == Status.NON_FINITE
    assert len(calls) < 100


def test_a_derivative_that_is_not_finite_at_the_start_ends_at_once():
    record, calls = run([float("nan")])
    assert int(record.status) == Status.NON_FINITE
    assert float(record.ended) == 0.0
    assert calls == []


@pytest.mark.parametrize("gradient", ["aca", "adjoint"])
def test_states_that_nothing_needs_are_forgotten(gradient, monkeypatch):
    kept = []

    def counting(self):
        kept.append(sum(node.numel() > 0 for node in self.nodes))

    monkeypatch.setattr("physode.solvers.trace.Trace.close", counting)
    y0 = torch.tensor([1.0, 0.0], requires_grad=gradient == "adjoint")
    times = [0.0, 3.0, 30.0]
    sol = po.solve(lambda t, y: torch.stack([y[1], -y[0]]), y0, times, rtol=1e-8, atol=1e-8, gradient=gradient)
    assert int(sol.stats.accepted) > 100
    assert kept == [6]  # two for each output
    assert sol.y[:, 0].tolist() == pytest.approx([math.cos(t) for t in times], abs=1e-6)
    y0.requires_grad_(True)
    kept.clear()
    sol = po.solve(lambda t, y: torch.stack([y[1], -y[0]]), y0, times, rtol=1e-8, atol=1e-8)
    assert kept == [int(sol.stats.accepted) + 1]


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dopri8"])
def test_outputs_are_the_same_whether_states_are_forgotten_or_kept(method):
    generator = torch.Generator().manual_seed(0)
    for span in (0.01, 1.0, 10.0, 40.0):
        inner = torch.rand(int(1 + span / 4), generator=generator).sort().values * span
        times = torch.cat([torch.zeros(1), inner, torch.tensor([span])])
        for t in (times, times.flip(0)):
            found = []
            for y0 in (torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0], requires_grad=True)):
                sol = po.solve(lambda t, y: torch.stack([y[1], -y[0]]), y0, t, method=method, rtol=1e-6, atol=1e-6)
                found.append(sol.y.detach())
            assert torch.equal(*found)
