"""The ODE block: integral, gradients, statistics, memory, and what does not depend on what."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from scipy.linalg import expm
from torch import nn

from physode import ACA, solve
from physode.errors import SolveError
from physode.models import EULER, ODEBlock, Solver, ode_blocks, set_solver, work_of
from physode.models.layers import conv3x3

pytestmark = pytest.mark.usefixtures("float64")

CHECKPOINTS = ACA(memory="checkpoint")


def change(channels=4, *, norm=True, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [conv3x3(channels, channels), nn.BatchNorm2d(channels), nn.ReLU()] if norm else []
        return nn.Sequential(*layers, conv3x3(channels, channels), *([nn.BatchNorm2d(channels)] if norm else []))


def images(batch=3, channels=4, seed=1):
    return torch.randn(batch, channels, 6, 6, generator=torch.Generator().manual_seed(seed))


def gradients(block, x):
    x = x.clone().requires_grad_()
    block.zero_grad()
    y = block(x)
    y.square().sum().backward()
    return [y.detach(), x.grad, *(parameter.grad.clone() for parameter in block.parameters())]


# The integral.


def test_a_linear_equation_is_integrated_to_its_exponential():
    f = nn.Linear(3, 3, bias=False)
    block = ODEBlock(f, solver=Solver("dopri5", rtol=1e-9, atol=1e-11)).eval()
    y = torch.randn(5, 3)
    exact = y @ torch.from_numpy(expm(f.weight.detach().numpy())).T
    torch.testing.assert_close(block(y), exact, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("solver", [EULER, Solver("euler"), Solver("heun_euler", step=1.0)])
def test_one_euler_step_is_a_residual_block(solver):
    block, x = ODEBlock(change(norm=False), solver=solver), images()
    slope = block.f(x)
    expected = x + slope if solver.method == "euler" else x + (slope + block.f(x + slope)) / 2
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


def test_fixed_steps_converge_at_the_order_of_their_method():
    torch.manual_seed(0)
    f = nn.Sequential(nn.Linear(4, 4), nn.Tanh())  # smooth
    x = torch.randn(3, 4)
    exact = ODEBlock(f, solver=Solver("dopri8", rtol=1e-12, atol=1e-12))(x)
    for method, order in (("euler", 1), ("midpoint", 2), ("rk4", 4)):
        errors = [float((ODEBlock(f, solver=Solver(method, step=h))(x) - exact).detach().norm()) for h in (0.1, 0.05)]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


# Gradients and statistics.


@pytest.mark.parametrize("aca", ["aca", CHECKPOINTS])
@pytest.mark.parametrize("method", [{"method": "heun_euler"}, {"method": "dopri5", "rtol": 1e-4}, {"step": 0.25}])
def test_aca_gradients_are_naive_s_on_the_accepted_steps_with_batch_norm(aca, method):
    """Naive differentiates the step-size search, too: it is given ACA's accepted steps."""
    block, x = ODEBlock(change(), solver=Solver(gradient=aca, **method)).train(), images()
    twin = copy.deepcopy(block)
    found = gradients(block, x)
    with torch.no_grad():
        grid = _accepted(copy.deepcopy(twin), x)
    z = x.clone().requires_grad_()
    y = solve(lambda t, y: twin.f(y), z, [0.0, 1.0], method=block.solver.method, grid=grid, gradient="naive").y[-1]
    y.square().sum().backward()
    expected = [y.detach(), z.grad, *(parameter.grad for parameter in twin.parameters())]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def _accepted(block, x):
    return solve(lambda t, y: block.f(y), x, [0.0, 1.0], **block.solver.arguments()).step_times


@pytest.mark.parametrize("gradient", ["aca", CHECKPOINTS, "naive", "adjoint"])
def test_statistics_move_with_accepted_forward_evaluations_only(gradient):
    solver = Solver("heun_euler", rtol=1e-3, atol=1e-3, gradient=gradient)
    block, x = ODEBlock(change(), solver=solver).train(), images()
    block(x).square().sum().backward()
    work = block.work()
    moved = int(block.f[1].num_batches_tracked)
    # Two evaluations a step, the second of which is the next one's first: and nothing for rejects or the way back.
    assert moved <= work.forward - work.rejected
    assert work.accepted + 1 <= moved <= 2 * work.accepted + 1
    assert float(block.f[1].running_var.min()) > 0


def test_statistics_are_the_same_for_all_gradient_methods_that_see_the_same_steps():
    found = []
    for gradient in ("aca", CHECKPOINTS, "naive"):
        block = ODEBlock(change(), solver=Solver(gradient=gradient)).train()
        block(images()).sum().backward()
        found.append(block.f[1].running_mean.clone())
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found[0], found[2], rtol=1e-12, atol=1e-14)


def test_checkpoints_hold_less_for_the_backward_pass_than_naive_does():
    def held(gradient):
        sizes = []
        block = ODEBlock(change(8), solver=Solver("heun_euler", rtol=1e-3, atol=1e-3, gradient=gradient)).train()
        keep = lambda tensor: sizes.append(tensor.numel()) or tensor  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = block(images(8, 8)).sum()
        loss.backward()
        return sum(sizes)

    assert 3 * held(CHECKPOINTS) < held("naive")


def test_dropout_inside_is_drawn_once_a_solve():
    f = nn.Sequential(nn.Linear(200, 200), nn.Dropout(0.5))
    with torch.no_grad():
        f[0].weight.zero_()
        f[0].bias.fill_(1.0)
    y = ODEBlock(f, solver=Solver("rk4", step=0.1)).train()(torch.zeros(1, 200))
    assert set(y.flatten().round(decimals=9).tolist()) == {0.0, 2.0}  # left out, or doubled, from first to last


@pytest.mark.parametrize("gradient", [CHECKPOINTS, "aca", "naive", "adjoint"])
def test_mixed_precision_holds_in_the_backward_pass_too(gradient):
    """What is recomputed must be what was computed, though the backward pass runs outside of autocast."""
    seen = []
    block = ODEBlock(change(norm=False), solver=Solver("rk4", step=0.25, gradient=gradient)).float()
    block.f.register_forward_hook(lambda module, arguments, found: seen.append(found.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = block(images().float())
    forward = len(seen)
    y.square().sum().backward()
    assert set(seen) == {torch.bfloat16}
    assert len(seen) > forward or gradient in ("aca", "naive")
    assert y.dtype == block.f[0].weight.grad.dtype == torch.float32


@pytest.mark.parametrize("gradient", ["aca", "naive", "adjoint"])
def test_in_mixed_precision_states_are_single_though_layers_before_give_half(gradient):
    """Steps of a hundredth in a state of eight bits would be lost: 0.01 is below half a unit of 4 in bfloat16."""
    f = nn.Conv2d(2, 2, 1).float()
    nn.init.zeros_(f.weight)
    nn.init.constant_(f.bias, 1.0)
    block = ODEBlock(f, solver=Solver("rk4", step=0.01, gradient=gradient))
    start = torch.full((1, 2, 3, 3), 4.0, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = block(start)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, torch.full_like(y, 5.0), rtol=1e-5, atol=0)
    y.sum().backward()
    torch.testing.assert_close(start.grad, torch.ones_like(start))


# Evaluation.


def test_what_a_sample_gives_does_not_depend_on_its_company():
    block = ODEBlock(change(), solver=Solver(rtol=1e-3, atol=1e-3)).eval()
    x = images(6) * torch.arange(1, 7).view(-1, 1, 1, 1)
    together = block(x)
    alone = torch.cat([block(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(block(x.flip(0)), together.flip(0), rtol=1e-10, atol=1e-11)


def test_the_solver_may_be_another_one_after_training():
    block, x = ODEBlock(change()).eval(), images()
    weights = copy.deepcopy(block.state_dict())
    coarse = block(x)
    set_solver(block, Solver("dopri5", rtol=1e-8, atol=1e-8))
    fine = block(x)
    set_solver(block, Solver("rk4", step=0.02))
    torch.testing.assert_close(block(x), fine, rtol=1e-4, atol=1e-4)  # relu's kinks
    assert not torch.equal(coarse, fine)
    assert all(torch.equal(weights[name], value) for name, value in block.state_dict().items())


def test_work_is_counted_and_forgotten():
    model = nn.Sequential(ODEBlock(change(), solver=EULER), ODEBlock(change(), solver=Solver("rk4", step=0.5)))
    assert len(ode_blocks(model)) == 2
    model(images()).sum().backward()
    assert (work_of(model).forward, work_of(model).accepted) == (1 + 8, 1 + 2)
    assert work_of(model, forget=True).forward == 9
    assert work_of(model).forward == 0


def test_a_block_can_be_copied_after_a_solve():
    block = ODEBlock(change())
    block(images()).sum().backward()
    twin = copy.deepcopy(block)
    assert twin.work() == block.work()
    block.eval()
    torch.testing.assert_close(twin.eval()(images()), block(images()), rtol=0, atol=0)


# What is refused.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "rk9"}, "`method` must be one of euler"),
        ({"gradient": "backprop"}, "`gradient` must be one of"),
        ({"rtol": 0.0}, "`rtol` must be above 0, got 0.0"),
        ({"step": 2.0}, "`step` must be above 0 and at most 1"),
    ],
)
def test_a_solver_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Solver(**settings)


def test_a_state_that_is_not_finite_is_named():
    block = ODEBlock(change(norm=False))
    with pytest.raises((SolveError, ValueError), match="finite"):
        block(images().mul(torch.nan))
