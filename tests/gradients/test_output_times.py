"""Derivatives of outputs in their own times, wherever in a step these lie."""

from __future__ import annotations

import pytest
import torch

import physode as po
from physode.compat.torchdiffeq import odeint

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),  # torch's forward mode scripts its own formulas
]

WAYS = {
    "aca": po.ACA(),
    "one by one": po.ACA(parallel=False),
    "graph": po.ACA(memory="graph"),
    "checkpoints": po.ACA(checkpoints=2),
    "adjoint": po.Adjoint(),
    "naive": po.Naive(),
}
TIMES = torch.tensor([0.0, 0.1, 0.25, 0.4], dtype=torch.float64)  # the second and the last end a step of 0.1
EXACT = torch.cat([torch.exp(-TIMES[1:]).sum()[None], -torch.exp(-TIMES[1:])])
STEPS = {
    "step_size": {"method": "rk4", "step_size": 0.1},
    "small": {"method": "dopri5", "step_size": 0.05},
    "implicit": {"method": "rodas5p", "step_size": 0.05},
    "grid": {"method": "rk4", "grid": torch.tensor([0.0, 0.1, 0.25, 0.3, 0.4], dtype=torch.float64)},
    "outputs": {"method": "rk4"},
    "jumps": {"jump_t": [0.1, 0.25]},
}


def decay(t, y):
    return -y


def slope(function, at):
    at = at.clone().requires_grad_()
    return torch.autograd.grad(function(at), at)[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", list(STEPS))
@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_outputs_at_steps_ends_move_with_their_times(way, steps, control):
    y0 = torch.ones(1) if control == "shared" else torch.full((2, 1), 0.5)

    def total(t):
        return po.solve(decay, y0, t, gradient=WAYS[way], step_control=control, **STEPS[steps]).y[1:].sum()

    torch.testing.assert_close(slope(total, TIMES), EXACT, rtol=5e-5, atol=0)


@pytest.mark.parametrize("way", WAYS)
def test_outputs_at_steps_ends_move_with_their_times_beside_events(way):
    half = po.Event(lambda t, y: y[0] - 0.85, jump=lambda t, y: y - 0.05)

    def total(t):
        return po.solve(decay, torch.ones(1), t, gradient=WAYS[way], events=half, **STEPS["step_size"]).y[1:].sum()

    found = slope(total, TIMES)
    ahead = [total(TIMES + 1e-6 * torch.eye(4)[i]) - total(TIMES - 1e-6 * torch.eye(4)[i]) for i in range(1, 4)]
    torch.testing.assert_close(found[1:], torch.stack(ahead).detach() / 2e-6, rtol=5e-5, atol=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", ["step_size", "outputs"])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_a_dense_solution_has_its_derivative_at_steps_ends(way, steps, control):
    y0 = torch.ones(1) if control == "shared" else torch.full((2, 1), 0.5)
    sol = po.solve(decay, y0, TIMES, gradient=WAYS[way], step_control=control, dense=True, **STEPS[steps])
    at = torch.tensor([0.1, 0.4, 0.2, 0.25, 0.33])
    torch.testing.assert_close(slope(lambda t: sol(t).sum(), at), -torch.exp(-at), rtol=5e-5, atol=0)


def test_adaptive_steps_that_end_on_an_output_move_with_it():
    first = po.solve(decay, torch.ones(1), [0.0, 3.0]).step_times
    times = torch.stack([first[0], first[2], first[-1]])
    found = slope(lambda t: po.solve(decay, torch.ones(1), t).y[1, 0], times)
    assert torch.equal(po.solve(decay, torch.ones(1), times).step_times, first)
    exact = torch.exp(-times[1])
    torch.testing.assert_close(found, torch.stack([exact, -exact, 0 * exact]), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("transform", [torch.func.jacfwd, torch.func.jacrev])
def test_transforms_move_outputs_at_steps_ends(transform):
    found = transform(lambda t: po.solve(decay, torch.ones(1), t, **STEPS["step_size"]).y[1:].sum())(TIMES)
    torch.testing.assert_close(found, EXACT, rtol=5e-5, atol=0)


def test_the_drop_in_moves_outputs_at_steps_ends():
    options = {"method": "rk4", "options": {"step_size": 0.1}}
    found = slope(lambda t: odeint(decay, torch.ones(1), t, **options)[1:].sum(), TIMES)
    torch.testing.assert_close(found, EXACT, rtol=1e-3, atol=0)


@pytest.mark.parametrize("way", ["aca", "graph", "naive", "func"])
def test_second_derivatives_of_outputs_at_steps_ends(way):
    def driven(t, y, k):
        return -k * y * torch.cos(t)

    def end(k, t):
        times = torch.stack([torch.zeros(()), t, torch.ones(())])
        return po.solve(
            driven, torch.ones(1), times, args=(k,), gradient=WAYS.get(way, "aca"), method="dopri5", step_size=0.1
        ).y[1, 0]

    at = torch.tensor([0.7, 0.4])
    exact = torch.func.hessian(lambda x: torch.exp(-x[0] * torch.sin(x[1])))(at)
    hessian = torch.func.hessian if way == "func" else lambda f: lambda x: torch.autograd.functional.hessian(f, x)
    torch.testing.assert_close(hessian(lambda x: end(x[0], x[1]))(at), exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("options", [{"grid": TIMES}, {"step_size": 0.05}, {"step_size": 0.04}, {}])
def test_samples_that_failed_leave_the_times_of_others_alone(options):
    def bursting(t, y):
        return torch.where(y > 0.9, y / (y < 1.05), -y)

    times = TIMES.clone().requires_grad_()
    y0 = torch.tensor([[1.0], [0.5]])
    sol = po.solve(bursting, y0, times, step_control="per-sample", method="dopri5", throw=False, **options)
    assert sol.success is False
    assert int(sol.status[1]) == po.Status.SUCCESS
    (found,) = torch.autograd.grad(sol.y[1:, 1].sum(), times)
    torch.testing.assert_close(found[1:3], 0.5 * EXACT[1:3], rtol=1e-3, atol=0)


@pytest.mark.parametrize("way", [name for name in WAYS if name not in ("adjoint", "naive")])
def test_times_without_gradients_cost_no_evaluation(way):
    def calls(times):
        y0 = torch.ones(1, requires_grad=True)
        sol = po.solve(decay, y0, times, gradient=WAYS[way], **STEPS["step_size"])
        sol.y[1:].sum().backward()
        return sol.stats.rhs_forward, sol.stats.rhs_backward, sol.y

    without, moving = calls(TIMES), calls(TIMES.clone().requires_grad_())
    assert moving[0] == without[0]
    assert torch.equal(moving[2], without[2])
