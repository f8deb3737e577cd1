"""The gradient methods against each other, finite differences and exact results."""

from __future__ import annotations

import copy
import math
import weakref

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import physode as po
from physode.problem.evaluation import find_leaves, graph_clock
from physode.solvers.tableaus import METHODS
from tests.systems import Spiral, van_der_pol

pytestmark = pytest.mark.usefixtures("float64")

EXACT = {
    "aca": po.ACA(),
    "aca sequential": po.ACA(memory="checkpoint", parallel=False),
    "aca kept": po.ACA(parallel=False),
    "aca parallel": po.ACA(parallel=True),
    "aca graph": po.ACA(memory="graph"),
    "naive": po.Naive(),
}
FIXED = [name for name, tableau in METHODS.items() if not tableau.adaptive]


def gradients(gradient, *, method="dopri5", **options):
    system = Spiral()
    y0 = torch.tensor([1.0, 0.5], requires_grad=True)
    times = torch.linspace(0, 2, 9, requires_grad=True)
    sol = po.solve(system, y0, times, method=method, gradient=gradient, **options)
    loss = (sol.y * torch.linspace(0.5, 1.5, 18).reshape(9, 2)).sum()
    return torch.autograd.grad(loss, [y0, times, *system.parameters()])


def assert_close(found, expected, tolerance=1e-10):
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("name", ["aca", "aca sequential", "aca kept", "aca graph"])
def test_aca_equals_naive_on_the_same_accepted_steps(method, name):
    with torch.no_grad():
        steps = po.solve(
            Spiral(), torch.tensor([1.0, 0.5]), [0.0, 2.0], method=method if method not in FIXED else "dopri5",
            rtol=1e-4, atol=1e-4,
        ).step_times  # fmt: skip
    expected = gradients("naive", method=method, grid=steps)
    assert_close(gradients(EXACT[name], method=method, grid=steps), expected)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "heun_euler" else name  # takes many steps
        for name in METHODS
        if name not in FIXED
    ],
)
def test_sequential_equals_parallel_kept_and_graph_on_adaptive_steps(method):
    options = {"method": method, "rtol": 1e-5, "atol": 1e-6}
    sequential = gradients(EXACT["aca sequential"], **options)
    assert_close(gradients(EXACT["aca parallel"], **options), sequential)
    assert_close(gradients(EXACT["aca graph"], **options), sequential)
    assert_close(gradients(EXACT["aca kept"], **options), sequential)


def test_the_parallel_pass_in_several_chunks_equals_one(monkeypatch):
    whole = gradients(EXACT["aca parallel"])
    monkeypatch.setattr("physode.gradients.aca._chunk_length", lambda *_: 3)
    assert_close(gradients(EXACT["aca parallel"]), whole, 1e-13)


def test_the_adjoint_agrees_to_tolerance():
    exact = gradients("naive", rtol=1e-10, atol=1e-12)
    assert_close(gradients("adjoint", rtol=1e-10, atol=1e-12), exact, 1e-7)
    assert_close(gradients(po.Adjoint(norm="seminorm", rtol=1e-10, atol=1e-12), rtol=1e-10, atol=1e-12), exact, 1e-7)


@pytest.mark.parametrize(
    "name", [name if name in ("aca", "naive") else pytest.param(name, marks=pytest.mark.slow) for name in EXACT]
)
def test_gradcheck(name):
    def end(y0, t, rate):
        f = lambda t, y, rate: torch.sin(t) - rate * y * y  # noqa: E731
        return po.solve(f, y0, t, args=(rate,), rtol=1e-11, atol=1e-12, gradient=EXACT[name]).y

    inputs = (torch.rand(3, requires_grad=True), torch.tensor([0.0, 0.4, 1.0], requires_grad=True))
    assert gradcheck(end, (*inputs, torch.tensor(0.7, requires_grad=True)))


@pytest.mark.parametrize("name", ["aca graph", "naive"])
def test_gradgradcheck(name):
    def end(y0, rate):
        f = lambda t, y, rate: -rate * y * y  # noqa: E731
        return po.solve(f, y0, [0.0, 0.4, 1.0], args=(rate,), grid=torch.linspace(0, 1, 6), gradient=EXACT[name]).y[-1]

    inputs = (torch.rand(2, requires_grad=True), torch.tensor(0.7, requires_grad=True))
    assert gradgradcheck(end, inputs)


@pytest.mark.parametrize("gradient", [po.ACA(checkpoints=4), "adjoint"])
def test_a_second_derivative_that_would_be_wrong_raises(gradient):
    y0 = torch.ones(1, requires_grad=True)
    y = po.solve(lambda t, y: -y * y, y0, [0.0, 1.0], gradient=gradient).y[-1].sum()
    (first,) = torch.autograd.grad(y, y0, create_graph=True)
    assert first.item() == pytest.approx(0.25, rel=1e-4)
    with pytest.raises(RuntimeError, match="ACA\\(memory='graph'\\)"):
        first.sum().backward()


@pytest.mark.parametrize("name", ["aca", "aca sequential", "aca kept", "aca graph", "naive"])
@pytest.mark.parametrize("method", ["dopri5", pytest.param("heun_euler", marks=pytest.mark.slow)])
def test_per_sample_gradients_are_those_of_each_sample_alone(name, method):
    generator = torch.Generator().manual_seed(3)
    y0 = torch.randn(5, 2, generator=generator)
    mu = torch.rand(5, 1, generator=generator) * 4

    def both(rows):
        state, rate = y0[rows].requires_grad_(), mu[rows].requires_grad_()
        sol = po.solve(
            van_der_pol, state, torch.linspace(0, 1, 4), args=(rate,), step_control="per-sample", method=method,
            rtol=1e-4, atol=1e-5, gradient=EXACT[name],
        )  # fmt: skip
        return torch.autograd.grad(sol.y.square().sum(), [state, rate])

    batch = both(slice(0, 5))
    for i in range(5):
        alone = both(slice(i, i + 1))
        assert_close([part[i : i + 1] for part in batch], alone, 1e-12)


@pytest.mark.parametrize(
    "gradient",
    ["aca", po.ACA(parallel=False), *(pytest.param(way, marks=pytest.mark.slow) for way in ("naive", "adjoint"))],
)
def test_complex_states_have_gradients(gradient):
    def end(y0, w):
        return po.solve(lambda t, y: (1j * w - 0.1) * y * y.abs(), y0, [0.0, 0.5, 1.0], gradient=gradient,
                        rtol=1e-11, atol=1e-12).y  # fmt: skip

    assert gradcheck(end, (torch.tensor([1 + 0.5j], requires_grad=True), torch.tensor([1.3], requires_grad=True)))


@pytest.mark.parametrize("gradient", ["aca", po.ACA(parallel=False), "naive", "adjoint"])
def test_structured_states_have_gradients(gradient):
    x = torch.ones(2, requires_grad=True)
    sol = po.solve(lambda t, y: {"x": y["v"], "v": -y["x"]}, {"x": x, "v": torch.zeros(2)}, [0.0, 1.0],
                   gradient=gradient, rtol=1e-9, atol=1e-11)  # fmt: skip
    (found,) = torch.autograd.grad(sol.y["x"][-1].sum(), x)
    assert found.tolist() == pytest.approx([math.cos(1.0)] * 2, rel=1e-7)


def test_a_dense_solution_has_gradients_in_state_and_time():
    y0 = torch.ones(1, requires_grad=True)
    sol = po.solve(lambda t, y: -y, y0, [0.0, 2.0], dense=True, rtol=1e-9, atol=1e-11)
    time = torch.tensor(0.7, requires_grad=True)
    by_state, by_time = torch.autograd.grad(sol(time).sum(), [y0, time])
    assert float(by_state) == pytest.approx(math.exp(-0.7), rel=1e-6)
    assert float(by_time) == pytest.approx(-math.exp(-0.7), rel=1e-5)


def test_a_failed_sample_does_not_spoil_the_gradients_of_shared_parameters():
    rate = torch.tensor(1.0, requires_grad=True)
    f = lambda t, y, rate: rate * y * y  # noqa: E731
    times = torch.linspace(0, 1.5, 4)
    good = torch.tensor([[0.1], [0.3]])
    bad = torch.tensor([[torch.nan], [0.1], [5.0], [0.3]])
    for gradient in ("aca", po.ACA(parallel=False)):
        options = {"args": (rate,), "step_control": "per-sample", "gradient": gradient}
        expected = torch.autograd.grad(po.solve(f, good, times, **options).y.sum(), rate)
        sol = po.solve(f, bad, times, throw=False, **options)
        assert sorted(sol.failures) == [0, 2]
        assert_close(torch.autograd.grad(sol.y[:, [1, 3]].sum(), rate), expected, 1e-12)


class TestWhatGradientsReach:
    @pytest.mark.parametrize("gradient", ["aca", po.ACA(parallel=False), "adjoint", "naive"])
    def test_a_parameter_that_nothing_registers(self, gradient):
        class Hidden:
            def __init__(self):
                self.weights = [torch.tensor(0.5, requires_grad=True)]

            def __call__(self, t, y):
                return -self.weights[0] * y

        f = Hidden()
        po.solve(f, torch.ones(1), [0.0, 1.0], gradient=gradient, rtol=1e-9, atol=1e-11).y[-1].sum().backward()
        assert float(f.weights[0].grad) == pytest.approx(-math.exp(-0.5), rel=1e-6)

    @pytest.mark.parametrize("gradient", ["aca", po.ACA(parallel=False), "adjoint", "naive"])
    def test_weights_that_another_network_makes(self, gradient):
        log_rate = torch.tensor(math.log(0.5), requires_grad=True)
        rate = log_rate.exp()
        sol = po.solve(lambda t, y: -rate * y, torch.ones(1), [0.0, 1.0], gradient=gradient, rtol=1e-9, atol=1e-11)
        sol.y[-1].sum().backward()
        assert float(log_rate.grad) == pytest.approx(-0.5 * math.exp(-0.5), rel=1e-6)

    @pytest.mark.parametrize("gradient", ["aca", po.ACA(parallel=False)])
    def test_args_with_a_graph_of_their_own(self, gradient):
        seed = torch.tensor(0.25, requires_grad=True)
        rate = seed * 2
        options = {"gradient": gradient, "rtol": 1e-9, "atol": 1e-11}
        sol = po.solve(lambda t, y, rate: -rate * y, torch.ones(1), [0.0, 1.0], args=(rate,), **options)
        sol.y[-1].sum().backward()
        assert float(seed.grad) == pytest.approx(-2 * math.exp(-0.5), rel=1e-6)

    def test_frozen_and_unused_parameters_are_fine(self):
        system = Spiral()
        system.drive.requires_grad_(False)
        system.unused = torch.nn.Parameter(torch.ones(3))
        po.solve(system, torch.tensor([1.0, 0.0]), [0.0, 1.0]).y[-1].sum().backward()
        assert system.rate.grad is not None
        assert system.drive.grad is None
        assert system.unused.grad is None

    @pytest.mark.parametrize("parallel", [True, False])
    def test_an_unregistered_parameter_used_only_later_has_its_gradient(self, parallel):
        late = torch.tensor(1.0, requires_grad=True)

        def f(t, y):
            return -y * (late if float(t) > 0.5 else 1.0)

        y0 = torch.ones(1, requires_grad=True)
        gradient = po.ACA(parallel=parallel)
        y = po.solve(f, y0, [0.0, 1.0], gradient=gradient, jump_t=[0.5]).y[-1].sum()
        (found,) = torch.autograd.grad(y, late)
        assert found.item() == pytest.approx(-0.5 * math.exp(-1.0), rel=1e-5)

    @pytest.mark.parametrize("parallel", [True, False])
    def test_a_hidden_parameter_used_only_later_is_named_not_lost(self, parallel):
        late = torch.tensor(1.0, requires_grad=True)
        hidden = weakref.ref(late)

        def f(t, y):
            return -y * (hidden() if float(t) > 0.5 else 1.0)

        y0 = torch.ones(1, requires_grad=True)
        y = po.solve(f, y0, [0.0, 1.0], gradient=po.ACA(parallel=parallel)).y[-1].sum()
        with pytest.raises(RuntimeError, match=r"evaluation at the start did not use: register it .* `jump_t`"):
            y.backward()

    def test_leaves_behind_earlier_operations_are_told_apart(self):
        direct = torch.ones((), requires_grad=True)
        made = torch.ones((), requires_grad=True) * 2
        since = graph_clock()
        assert not find_leaves(direct * 3, (), [], [], since).outside
        assert find_leaves(made * 3, (), [], [], since).outside
        found = find_leaves(made * 3, (), [], [made], since)
        assert not found.outside
        assert found.tensors[0] is made


class TestChangedInPlace:
    @pytest.mark.parametrize("gradient", ["aca", po.ACA(parallel=False), po.ACA(checkpoints=3), "adjoint"])
    def test_weights_changed_between_forward_and_backward_raise(self, gradient):
        system = Spiral()
        y = po.solve(system, torch.tensor([1.0, 0.0]), [0.0, 1.0], gradient=gradient).y[-1].sum()
        with torch.no_grad():
            system.rate.mul_(2.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()

    def test_the_initial_state_changed_between_forward_and_backward_raises(self):
        y0 = torch.tensor([1.0, 0.0])
        y = po.solve(Spiral(), y0, [0.0, 1.0]).y[-1].sum()
        y0.mul_(2.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()

    @pytest.mark.parametrize("gradient", ["aca", po.ACA(parallel=False)])
    def test_outputs_changed_in_place_leave_the_gradient_right(self, gradient):
        y0 = torch.ones(1, requires_grad=True)
        sol = po.solve(lambda t, y: -y, y0, [0.0, 1.0], gradient=gradient, rtol=1e-9, atol=1e-11)
        loss = sol.y[-1].sum()
        with torch.no_grad():
            sol.y.mul_(3.0)
        loss.backward()
        assert float(y0.grad) == pytest.approx(math.exp(-1.0), rel=1e-7)


def test_accumulating_two_backward_passes_works():
    system = Spiral()
    sol = po.solve(system, torch.tensor([1.0, 0.0]), [0.0, 1.0, 2.0])
    sol.y[1].sum().backward(retain_graph=True)
    sol.y[2].sum().backward()
    both = copy.deepcopy(system)
    both.zero_grad()
    po.solve(both, torch.tensor([1.0, 0.0]), [0.0, 1.0, 2.0]).y[1:].sum().backward()
    assert_close([system.rate.grad], [both.rate.grad], 1e-12)


def test_evaluations_are_counted_forwards_and_backwards():
    calls = 0

    class Counted(Spiral):
        def forward(self, t, y):
            nonlocal calls
            calls += 1
            return super().forward(t, y)

    one_by_one = po.ACA(memory="checkpoint", parallel=False)
    sol = po.solve(Counted(), torch.tensor([1.0, 0.0]), [0.0, 2.0], gradient=one_by_one)
    assert sol.stats.rhs_forward == calls
    assert sol.stats.rhs_backward == 0
    assert int(sol.stats.attempts) == int(sol.stats.accepted) + int(sol.stats.rejected)
    calls = 0
    sol.y[-1].sum().backward()
    assert sol.stats.rhs_backward == calls == 6 * int(sol.stats.accepted)


@pytest.mark.parametrize("way", ["aca", po.ACA(parallel=False), po.ACA(memory="graph"), "naive"], ids=str)
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step_size": 0.1}])
def test_a_gradient_to_be_differentiated_counts_what_the_start_and_args_depend_on_once(way, options):
    weight = torch.tensor(0.8, requires_grad=True)

    def end():
        rate, start, last = weight.square(), torch.stack([weight, 2 * weight]), 1 + weight
        times = torch.stack([0 * weight, 0.47 * last, last])
        sol = po.solve(lambda t, y, k: -k * weight * y, start, times, args=(rate,), gradient=way, **options)
        return sol.y[1:].sum()

    (alone,) = torch.autograd.grad(end(), weight)
    (first,) = torch.autograd.grad(end(), weight, create_graph=True)
    (second,) = torch.autograd.grad(first, weight)
    x = weight.detach()
    exact = [lambda w: 3 * w * (torch.exp(-(w**3) * (1 + w)) + torch.exp(-0.47 * (w**3) * (1 + w)))]
    exact += [torch.func.grad(exact[0]), torch.func.grad(torch.func.grad(exact[0]))]
    torch.testing.assert_close(first.detach(), alone, rtol=1e-12, atol=0)
    torch.testing.assert_close(first.detach(), exact[1](x), rtol=1e-4, atol=0)
    torch.testing.assert_close(second, exact[2](x), rtol=1e-3, atol=0)


@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize(
    "options", [{}, {"events": po.Event(lambda t, y, k: y[..., 0] - 0.7, jump=lambda t, y, k: y / 2)}]
)
def test_a_dense_solution_of_the_adjoint_method_has_its_gradients(control, options):
    start = torch.tensor([1.0, 0.4]) if control == "shared" else torch.tensor([[1.0, 0.4], [0.9, 0.1]])
    at = torch.tensor([0.9, 0.31, 0.0, 0.7, 0.7, 2.0])

    def gradients(way):
        y0, k, times, w = (x.clone().requires_grad_() for x in (start, torch.tensor(0.8), at, torch.tensor(1.3)))
        tight = {"rtol": 1e-10, "atol": 1e-12, "step_control": control, "gradient": way, "dense": True}
        sol = po.solve(lambda t, y, k: -k * w * y + torch.sin(t), y0, [0.0, 0.5, 2.0], args=(k,), **tight, **options)
        weights = torch.arange(1.0, 7.0).reshape(-1, *[1] * start.ndim)
        return torch.autograd.grad((weights * sol(times)).square().sum(), [y0, k, times, w])

    for found, expected in zip(gradients("adjoint"), gradients("aca"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", [name for name in EXACT if name not in ("naive", "aca graph")])
def test_what_reaches_no_output_has_no_gradient_to_be_differentiated(way):
    unused = torch.tensor(1.0, requires_grad=True)
    y = po.solve(lambda t, y, k: -y, torch.ones(2), [0.0, 0.5, 1.0], args=(unused,), gradient=EXACT[way]).y
    found = torch.autograd.grad(y.sum(), unused, create_graph=True, allow_unused=True)
    assert found == (None,)
