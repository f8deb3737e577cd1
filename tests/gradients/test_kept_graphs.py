"""Graphs kept from the forward pass: the same gradients as replays give, within a budget, and gone after use."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

import physode as po
from physode.gradients.kept_graphs import KeptGraphs, free_bytes, saved_bytes
from physode.problem.checks import pose
from physode.problem.evaluation import graph_clock
from physode.solvers.tableaus import METHODS
from tests.systems import Spiral, van_der_pol

pytestmark = pytest.mark.usefixtures("float64")

KEPT = po.ACA(parallel=False)
REPLAYED = po.ACA(memory="checkpoint", parallel=False)
ADAPTIVE = [name for name, tableau in METHODS.items() if tableau.adaptive]
BOTH = {"auto": KEPT, "checkpoint": REPLAYED}


class Block(nn.Module):
    """A network with batch norm, stiff enough for rejected attempts."""

    def __init__(self, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), layer or nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, t, y):
        return 20 * self.net(y)


def assert_close(found, expected, tolerance=1e-11):
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


def spiral(gradient, *, times=9, through=None, **options):
    """Return gradients and the solution; ``through`` reads what the loss is made of."""
    system = Spiral()
    y0 = torch.tensor([1.0, 0.5], requires_grad=True)
    sol = po.solve(system, y0, torch.linspace(0, 2, times), gradient=gradient, **options)
    y = sol.y if through is None else through(sol)
    loss = (y * torch.linspace(0.5, 1.5, y.numel()).reshape(y.shape)).sum()
    return torch.autograd.grad(loss, [y0, *system.parameters()]), sol


def bytes_of_a_step():
    """The cost of one step of the spiral by dopri5, as the estimate has it."""
    return KeptGraphs(pose(Spiral(), torch.tensor([1.0, 0.5]), [0.0, 2.0]), 0).cost


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("times", [9, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 60))])
def test_kept_graphs_give_the_gradients_of_replays_and_no_evaluation_is_made_again(method, times):
    options = {"method": method, "rtol": 1e-5, "atol": 1e-6, "times": times, "first_step": 1.0}
    found, sol = spiral(KEPT, **options)
    expected, replayed = spiral(REPLAYED, **options)
    assert int(sol.stats.rejected) > 0
    assert_close(found, expected)
    assert torch.equal(sol.y, replayed.y)
    assert sol.stats.rhs_forward == replayed.stats.rhs_forward
    assert sol.stats.rhs_backward == 0 < replayed.stats.rhs_backward
    naive, _ = spiral("naive", method=method, times=times, grid=sol.step_times)
    assert_close(found, naive)


@pytest.mark.parametrize("method", ["dopri5", pytest.param("heun_euler", marks=pytest.mark.slow), "dopri8"])
def test_dense_solutions_have_the_same_gradients(method):
    def between(sol):
        return torch.stack([sol(torch.tensor(t)) for t in (0.1, 0.77, 1.9)])

    options = {"method": method, "dense": True, "through": between}
    assert_close(spiral(KEPT, **options)[0], spiral(REPLAYED, **options)[0])


@pytest.mark.parametrize("steps", [0, 1, 3, 10])
@pytest.mark.parametrize("times", [2, 60])
def test_beyond_the_budget_steps_are_replayed(steps, times):
    one = bytes_of_a_step()
    found, sol = spiral(po.ACA(parallel=False, budget=steps * one), times=times)
    expected, replayed = spiral(REPLAYED, times=times)
    taken = int(sol.stats.accepted)
    assert taken > 10
    assert_close(found, expected)
    if times == 2:
        assert sol.stats.rhs_backward == 6 * (taken - steps)
    assert (0 < sol.stats.rhs_backward < replayed.stats.rhs_backward) == (steps > 0)


class TestBatchNorm:
    @pytest.mark.parametrize("method", ADAPTIVE)
    @pytest.mark.parametrize("times", [2, 5])
    def test_gradients_and_statistics_are_those_of_replays(self, method, times):
        y0 = torch.randn(16, 3)
        first = Block()
        found = {}
        for name, gradient in BOTH.items():
            block = copy.deepcopy(first)
            sol = po.solve(
                block, y0, torch.linspace(0, 0.3, times), method=method, rtol=1e-2, atol=1e-2, gradient=gradient
            )
            assert int(sol.stats.rejected) > 0
            before = [buffer.clone() for buffer in block.buffers()]
            gradients = torch.autograd.grad(sol.y.square().sum(), list(block.parameters()))
            assert all(map(torch.equal, before, block.buffers()))
            found[name] = gradients, before
        assert_close(found["auto"][0], found["checkpoint"][0], 1e-9)
        assert all(map(torch.equal, found["auto"][1], found["checkpoint"][1]))


class TestWhatGradientsReach:
    def test_samples_with_steps_of_their_own_on_a_grid(self):
        y0, times, grid = torch.randn(5, 2), torch.linspace(0, 1, 4), torch.linspace(0, 1, 30)
        found, backward = [], []
        for gradient in BOTH.values():
            mu = torch.linspace(0, 4, 5)[:, None].requires_grad_()
            sol = po.solve(van_der_pol, y0, times, args=(mu,), step_control="per-sample", gradient=gradient, grid=grid)
            found.append(torch.autograd.grad(sol.y.square().sum(), mu))
            backward.append(sol.stats.rhs_backward)
        assert_close(*found)
        assert backward[0] == 0 < backward[1]

    @pytest.mark.parametrize(("skip", "budget"), [(False, None), (True, 40_000)])
    def test_samples_that_are_rejected_apart_or_arrive_early_pass_through(self, skip, budget):
        rates = torch.tensor([0.1, 3.0, 40.0]).requires_grad_()
        f = lambda t, y: torch.stack([y[:, 1], rates.sum() * (1 - y[:, 0] ** 2) * y[:, 1] - y[:, 0]], 1)  # noqa: E731
        times = torch.tensor([[0.0, 0.0, 0.0], [0.2, 1.0, 2.0], [0.3, 2.0, 2.5]])
        found = []
        for gradient in (po.ACA(memory="checkpoint", parallel=False), po.ACA(parallel=False, budget=budget)):
            y0 = torch.tensor([[2.0, 0.0], [0.1, 1.0], [3.0, -1.0]]).requires_grad_()
            options = {"step_control": "per-sample", "skip_finished": skip, "gradient": gradient}
            sol = po.solve(f, y0, times, **options)
            assert int((sol.stats.rejected > 0).sum()) > 0
            assert len(set(sol.stats.rejected.tolist())) > 1
            found.append(torch.autograd.grad(sol.y.square().sum(), [y0, rates]))
            backward = sol.stats.rhs_backward
        assert_close(*found)
        assert (backward == 0) == (budget is None)

    def test_a_rejected_attempt_that_is_not_finite_leaves_the_other_samples_gradients_alone(self):
        rate = torch.tensor(1.0, requires_grad=True)

        def f(t, y):
            return rate * torch.where(y > 2.0, torch.nan, y.sqrt() * 0 + y)

        y0, found = torch.tensor([[0.1], [0.3]]), []
        for gradient in (po.ACA(memory="checkpoint", parallel=False), po.ACA(parallel=False)):
            ends = torch.stack([torch.zeros(2), torch.tensor([1.0, 1.8])])
            sol = po.solve(f, y0, ends, step_control="per-sample", first_step=1.9, rtol=1e-3, gradient=gradient)
            found.append(torch.autograd.grad(sol.y[-1].sum(), rate))
        assert int(sol.stats.rejected.sum()) > 0
        assert_close(*found)

    def test_a_constant_right_hand_side_and_outputs_at_the_start_only(self):
        y0 = torch.tensor([1.0, 0.5], requires_grad=True)
        slope = torch.ones(2, requires_grad=True)
        y = po.solve(lambda t, y: slope, y0, [0.0, 1.0], gradient=KEPT).y
        by_state, by_slope = torch.autograd.grad(y[-1].sum(), [y0, slope], retain_graph=True)
        assert_close([by_state, by_slope], [torch.ones(2), torch.ones(2)])
        assert_close(torch.autograd.grad(y[0].sum(), y0), [torch.ones(2)])

    def test_a_right_hand_side_that_differentiates(self):
        found = []
        for gradient in BOTH.values():
            mass = torch.tensor(1.3, requires_grad=True)
            slope = torch.func.grad(lambda y: (mass * torch.cos(y)).sum())  # noqa: B023
            sol = po.solve(lambda t, y: slope(y), torch.tensor([1.0, 0.5]), [0.0, 1.0], gradient=gradient)  # noqa: B023
            found.append(torch.autograd.grad(sol.y.square().sum(), mass))
        assert_close(*found)


def test_a_failed_solve_is_replayed():
    rate = torch.tensor(1.0, requires_grad=True)
    found = []
    for gradient in BOTH.values():
        sol = po.solve(lambda t, y: rate * y * y, torch.ones(1), [0.0, 0.5, 2.0], gradient=gradient, throw=False)
        assert not sol.success
        found.append(torch.autograd.grad(sol.y[1].sum(), rate))
        assert sol.stats.rhs_backward > 0
    assert_close(*found)


def test_a_second_derivative_is_that_of_all_steps():
    y0 = torch.ones(1, requires_grad=True)
    y = po.solve(lambda t, y: -y * y, y0, [0.0, 1.0], gradient=KEPT).y[-1].sum()
    (first,) = torch.autograd.grad(y, y0, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y0)
    assert second.item() == pytest.approx(-0.25, rel=1e-4)  # y = y0 / (1 + y0)


def test_a_second_backward_pass_replays_and_agrees():
    system, y0 = Spiral(), torch.tensor([1.0, 0.5], requires_grad=True)
    sol = po.solve(system, y0, [0.0, 1.0, 2.0], gradient=KEPT)
    wanted = [y0, *system.parameters()]
    first = torch.autograd.grad(sol.y.square().sum(), wanted, retain_graph=True)
    assert sol.stats.rhs_backward == 0
    assert_close(torch.autograd.grad(sol.y.square().sum(), wanted), first)
    assert sol.stats.rhs_backward > 0


class _Watched(torch.autograd.Function):
    """The identity with an object in its graph that weak references see."""

    @staticmethod
    def forward(ctx, y, alive):
        ctx.token = _Token()
        alive.add(ctx.token)
        return y.clone()

    @staticmethod
    def backward(ctx, cotangent):
        return cotangent, None


class _Token:
    pass


class TestMemory:
    def alive(self, *, grad=True, **options):
        tokens: weakref.WeakSet[_Token] = weakref.WeakSet()
        rate = torch.tensor(2.0, requires_grad=True)
        with torch.set_grad_enabled(grad):
            sol = po.solve(
                lambda t, y: -rate * _Watched.apply(y, tokens) ** 3, torch.ones(2), [0.0, 3.0], gradient=KEPT, **options
            )
        gc.collect()
        return sol, tokens

    def test_each_evaluation_of_accepted_steps_has_one_graph(self):
        sol, tokens = self.alive(first_step=3.0)
        assert int(sol.stats.rejected) > 0
        assert len(tokens) == 1 + 6 * int(sol.stats.accepted)

    def test_graphs_go_with_the_first_backward_pass(self):
        sol, tokens = self.alive()
        sol.y[-1].sum().backward(retain_graph=True)
        gc.collect()
        assert len(tokens) == 0

    def test_graphs_go_with_the_solution(self):
        sol, tokens = self.alive()
        del sol
        assert len(tokens) == 0

    def test_without_gradients_nothing_is_kept(self):
        assert len(self.alive(grad=False)[1]) == 0


def test_what_an_evaluation_saves_is_counted_once_a_storage_without_parameters():
    weight = torch.ones(3, 3, requires_grad=True)
    y = torch.ones(5, 3, requires_grad=True)
    before = y * y.detach()
    since = graph_clock()
    hidden = torch.tanh(before @ weight.T)
    assert saved_bytes((hidden * hidden).sum(), since) == 2 * 5 * 3 * 8
    assert saved_bytes(y, since) == 0


def test_some_memory_is_free():
    assert free_bytes(torch.device("cpu")) > 2**20


@pytest.mark.parametrize(("name", "value"), [("memory", "all"), ("budget", -1)])
def test_options_that_make_no_sense_are_errors(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        po.ACA(**{name: value})
