"""Flows with a clock for each sample: values against SciPy, gradients against each other and finite differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

from physode.models import EULER, Solver, work_of
from physode.models.flow import Flow
from physode.models.observations import Times
from physode.rhs.neural import fully_connected

pytestmark = pytest.mark.usefixtures("float64")

TIGHT = Solver("dopri5", rtol=1e-10, atol=1e-12)
DURATIONS = torch.tensor([0.3, 0.0, 2.5, 1.0], dtype=torch.float64)


def field(dim=3):
    torch.manual_seed(1)
    f = fully_connected((dim, 8, dim), activation="tanh")
    for parameter in f.parameters():
        nn.init.normal_(parameter, std=0.7)
    return f


def states(batch=4, dim=3):
    return torch.randn(batch, dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def own_times(batch=4, count=5):
    """Random times, the first of them 0; the second sample has two, the third is asked for 0 only."""
    t = 2 * torch.rand(batch, count, generator=torch.Generator().manual_seed(4), dtype=torch.float64).sort(1).values
    t[:, 0] = 0.0
    used = torch.ones(batch, count, dtype=torch.bool)
    used[1, [0, 2, 4]] = False
    used[2, 1:] = False
    return Times(t, used)


def exact(f, z0, times):
    """SciPy's states of one sample at times, the first of which is 0."""

    def slope(_, z):
        with torch.no_grad():
            return f(torch.from_numpy(z)[None])[0].numpy()

    found = solve_ivp(slope, (0.0, max(times)), z0.numpy(), t_eval=times, method="DOP853", rtol=1e-12, atol=1e-13)
    return torch.from_numpy(found.y.T)


def gradients(flow, call):
    z = states().requires_grad_()
    flow.zero_grad()
    weight = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(8))
    (call(flow, z) * weight).sum().backward()
    return torch.cat([z.grad.flatten(), *(each.grad.flatten() for each in flow.parameters())])


CALLS = {
    "for durations": lambda flow, z: flow(z, DURATIONS)[:, None],
    "along a path": lambda flow, z: flow.path(z, own_times()),
}


def test_states_flow_for_durations_of_their_own():
    f, z = field(), states()
    found = Flow(f, solver=TIGHT)(z, DURATIONS).detach()
    for row, duration in enumerate(DURATIONS.tolist()):
        expected = exact(f, z[row], [0.0, duration])[-1] if duration else z[row]
        torch.testing.assert_close(found[row], expected, rtol=1e-8, atol=1e-9)


def test_a_path_is_read_at_times_of_each_sample_s_own():
    f, z, times = field(), states(), own_times()
    found = Flow(f, solver=TIGHT).path(z, times).detach()
    for row in range(len(z)):
        for place in times.used[row].nonzero()[:, 0].tolist():
            time = float(times.t[row, place])
            expected = exact(f, z[row], [0.0, time])[-1] if time else z[row]
            torch.testing.assert_close(found[row, place], expected, rtol=1e-8, atol=1e-8)


def test_a_path_of_no_times_is_the_initial_state():
    z = states()
    none = Times(torch.ones(4, 2, dtype=torch.float64), torch.zeros(4, 2, dtype=torch.bool))
    assert torch.equal(Flow(field(), solver=TIGHT).path(z, none), z[:, None].expand(-1, 2, -1))


@pytest.mark.parametrize("solver", [TIGHT, Solver("dopri5"), EULER, Solver("rk4", step=0.25)])
def test_no_time_changes_nothing(solver):
    z = states()
    assert torch.equal(Flow(field(), solver=solver)(z, torch.zeros(4, dtype=torch.float64)), z)


def test_one_euler_step_is_the_slope_times_the_duration():
    f, z = field(), states()
    torch.testing.assert_close(Flow(f, solver=EULER)(z, DURATIONS), z + DURATIONS[:, None] * f(z), rtol=0, atol=1e-15)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("solver", [TIGHT, Solver("dopri5", rtol=1e-3, atol=1e-4), Solver("rk4", step=0.25)])
def test_what_becomes_of_a_sample_does_not_depend_on_its_company(call, solver):
    flow, z, times = Flow(field(), solver=solver), states(), own_times()
    together = call(flow, z).detach()
    for row in range(len(z)):
        if together.shape[1] == 1:
            alone = flow(z[row : row + 1], DURATIONS[row : row + 1]).detach()[:, None]
        else:
            alone = flow.path(z[row : row + 1], Times(*(each[row : row + 1] for each in times))).detach()
        used = times.used[row] if together.shape[1] > 1 else slice(None)
        torch.testing.assert_close(together[row][used], alone[0][used], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("method", "step"), [("rk4", 0.25), ("euler", 0.1), ("dopri5", 0.5)])
def test_on_fixed_steps_aca_s_gradient_is_naive_s(call, method, step):
    f = field()
    aca, naive = (
        gradients(Flow(copy.deepcopy(f), solver=Solver(method, step=step, gradient=name)), call)
        for name in ("aca", "naive")
    )
    torch.testing.assert_close(aca, naive, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_at_tight_tolerances_all_gradients_are_that_of_the_flow(call):
    f = field()
    options = {"rtol": 1e-10, "atol": 1e-12}
    aca, naive, adjoint = (
        gradients(Flow(copy.deepcopy(f), solver=Solver("dopri5", gradient=name, **options)), call)
        for name in ("aca", "naive", "adjoint")
    )
    torch.testing.assert_close(aca, naive, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(aca, adjoint, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("solver", [Solver("rk4", step=0.5), Solver("dopri5", rtol=1e-8, atol=1e-10), EULER])
@pytest.mark.slow
def test_gradients_are_finite_differences(solver):
    flow = Flow(field(2), solver=solver)
    z = states(2, 2).requires_grad_()
    times = Times(*(each[:2, :3] for each in own_times()))
    assert torch.autograd.gradcheck(
        lambda z, *_: flow(z, DURATIONS[:2]), (z, *flow.parameters()), atol=1e-6, nondet_tol=1e-12
    )
    assert torch.autograd.gradcheck(
        lambda z, *_: flow.path(z, times), (z, *flow.parameters()), atol=1e-6, nondet_tol=1e-12
    )


@pytest.mark.parametrize("gradient", ["aca", "naive", "adjoint"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_work_is_what_the_right_hand_side_was_called_for(gradient, call):
    f, calls = field(), []
    f.register_forward_hook(lambda *_: calls.append(1))
    flow = Flow(f, solver=Solver("dopri5", rtol=1e-4, atol=1e-6, gradient=gradient))
    gradients(flow, call)
    work = work_of(flow, forget=True)
    assert work.forward + work.backward == len(calls) > 0
    assert work.accepted > 0
    assert work_of(flow).forward == 0


def test_more_samples_with_times_of_their_own_cost_as_many_steps_as_the_longest():
    """Times on the way are read from the interpolant: they cost no evaluation."""
    flow, z = Flow(field(), solver=Solver("dopri5", rtol=1e-4, atol=1e-6)), states()
    ends = torch.full((4, 1), 2.0)
    few = Times(ends, torch.ones(4, 1, dtype=torch.bool))
    t = torch.cat([2 * torch.from_numpy(np.random.default_rng(0).uniform(size=(4, 99))).sort(1).values, ends], 1)
    many = Times(t, torch.ones_like(t, dtype=torch.bool))
    costs = []
    for times in (few, many):
        flow.path(z, times)
        costs.append(work_of(flow, forget=True))
    assert costs[0].accepted == costs[1].accepted
    assert abs(costs[1].forward - costs[0].forward) <= 2  # choosing the first step


@pytest.mark.parametrize("gradient", ["aca", "naive"])
def test_a_batch_costs_no_more_rows_than_its_samples_one_by_one(gradient):
    """Samples that have arrived are left out of evaluations: ends, and with them steps, differ by a factor of 100."""
    f, rows = field(), []
    f.register_forward_hook(lambda _, given, out: rows.append(len(out)))
    flow = Flow(f, solver=Solver("dopri5", rtol=1e-5, atol=1e-7, gradient=gradient))
    t = torch.tensor([0.03, 0.3, 1.0, 3.0], dtype=torch.float64)[:, None] * torch.linspace(0.1, 1.0, 9)
    times = Times(t, torch.ones_like(t, dtype=torch.bool))
    flow.path(states().requires_grad_(), times).sum().backward()
    together, calls = sum(rows), len(rows)
    rows.clear()
    for row in range(4):
        one = slice(row, row + 1)
        flow.path(states()[one].requires_grad_(), Times(t[one], times.used[one])).sum().backward()
    assert together <= sum(rows)
    assert together < 0.8 * 4 * calls  # not all were under way all the time
