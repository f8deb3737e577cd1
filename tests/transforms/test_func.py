"""Solves under torch.func's transforms and in forward mode, against a closed form."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad

import physode as po
from physode.solvers import runge_kutta

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),  # torch's forward mode scripts its own formulas
]

TIGHT = {"rtol": 1e-9, "atol": 1e-11}
KINDS = {
    "adaptive": TIGHT,
    "fixed": {"method": "rk4", "step_size": 0.01},
    "to outputs": {"method": "rk4"},
    "grid": {"grid": torch.linspace(0, 1, 101, dtype=torch.float64)},
}
GRADIENTS = ["aca", "adjoint", "naive"]
RATE, START = torch.tensor(0.7, dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)


def rhs(t, y, rate):
    return -rate * y * y * torch.cos(t)


def end(rate, start, kind="adaptive", **options):
    times = torch.linspace(0, 1, 100) if kind == "to outputs" else [0.0, 0.3, 1.0]
    return po.solve(rhs, start, times, args=(rate,), **KINDS[kind], **options).y[-1]


def exact(rate, start, t=1.0):
    return start / (1 + rate * start * torch.sin(torch.as_tensor(t)))


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


CASES = [("adaptive", gradient) for gradient in GRADIENTS] + [(kind, "aca") for kind in KINDS if kind != "adaptive"]


@pytest.mark.parametrize(("kind", "gradient"), CASES)
@pytest.mark.slow
def test_derivatives_of_every_transform_are_those_of_the_closed_form(kind, gradient):
    def ours(rate, start):
        return end(rate, start, kind, gradient=gradient)

    for transform in (torch.func.jacfwd, torch.func.jacrev):
        for place in (0, 1):
            close(transform(ours, argnums=place)(RATE, START), transform(exact, argnums=place)(RATE, START))
    close(torch.func.jvp(ours, (RATE, START), (RATE, START))[1], torch.func.jvp(exact, (RATE, START), (RATE, START))[1])


@pytest.mark.parametrize("kind", ["adaptive", "fixed"])
def test_second_derivatives(kind):
    def total(rate, start, f):
        return f(rate, start).sum()

    def ours(rate, start):
        return end(rate, start, kind)

    close(
        torch.func.hessian(total, argnums=1)(RATE, START, ours),
        torch.func.hessian(total, argnums=1)(RATE, START, exact),
    )
    twice = torch.func.grad(torch.func.grad(total))
    close(twice(RATE, START, ours), twice(RATE, START, exact))


@pytest.mark.parametrize("kind", ["adaptive", "fixed"])
def test_vmap_over_parameters_and_initial_states(kind):
    rates, starts = torch.tensor([0.1, 0.7, 2.0]), torch.tensor([[0.5, 1.0], [1.0, 2.0], [3.0, 0.1]])
    close(torch.func.vmap(lambda rate, start: end(rate, start, kind))(rates, starts), exact(rates[:, None], starts))
    mapped = torch.func.vmap(torch.func.jacrev(lambda start, rate: end(rate, start, kind)))
    close(mapped(starts, rates), torch.func.vmap(torch.func.jacrev(lambda y, k: exact(k, y)))(starts, rates))


def test_the_hardest_of_mapped_solves_sets_the_steps():
    def ours(speed):
        return po.solve(lambda t, y: torch.sin(speed * t) * y, torch.ones(1), [0.0, 2.0], **TIGHT).y[-1, 0]

    speeds = torch.tensor([0.1, 60.0])
    close(torch.func.vmap(ours)(speeds), torch.exp((1 - torch.cos(2 * speeds)) / speeds))


@pytest.mark.parametrize("options", [TIGHT, {"method": "rk4", "step_size": 0.01}])
def test_times_are_differentiated_too(options):
    def ours(t):
        return po.solve(rhs, START, torch.stack([torch.zeros(()), t]), args=(RATE,), **options).y[-1]

    at = torch.tensor(0.8)
    for transform in (torch.func.jacfwd, torch.func.jacrev):
        close(transform(ours)(at), transform(lambda t: exact(RATE, START, t))(at))


def test_per_sample_steps_are_differentiated_too():
    def ours(rate):
        return end(rate, START[:, None], step_control="per-sample")[:, 0]

    for transform in (torch.func.jacfwd, torch.func.jacrev):
        close(transform(ours)(RATE), transform(exact)(RATE, START))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_forward_mode_has_the_right_tangent(gradient):
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(RATE, torch.tensor(2.0))
        tangent = forward_ad.unpack_dual(end(dual, START, gradient=gradient)).tangent
    close(tangent, torch.func.jvp(lambda rate: exact(rate, START), (RATE,), (torch.tensor(2.0),))[1])


def test_leaves_outside_of_the_transform_keep_their_gradients():
    net = torch.nn.Linear(2, 2, bias=False)
    mapped = torch.func.vmap(lambda start: po.solve(lambda t, y: net(y), start, [0.0, 1.0], **TIGHT).y[-1])
    starts = torch.eye(2)
    (found,) = torch.autograd.grad(mapped(starts).sum(), net.weight)
    weight = net.weight.detach().requires_grad_()
    (expected,) = torch.autograd.grad(torch.linalg.matrix_exp(weight).sum(), weight)
    close(found, expected)


def test_structures_and_interpolants_are_mapped():
    def ours(start):
        sol = po.solve(lambda t, y: {"a": -y["a"]}, {"a": start}, [0.0, 1.0], dense=True, **TIGHT)
        return sol(0.5)["a"]

    starts = torch.rand(3, 2)
    close(torch.func.vmap(ours)(starts), starts * torch.exp(torch.tensor(-0.5)))


def test_a_mapped_failure_has_its_name():
    with pytest.raises(po.errors.SolveError, match=r"the solve stopped at t = "):
        torch.func.vmap(lambda y: po.solve(lambda t, y: y * y, y, [0.0, 2.0]).y[-1])(torch.ones(3, 1))


def test_what_cannot_be_mapped_says_so():
    with pytest.raises(ValueError, match=r"vmap cannot map adaptive solves with step_control='per-sample'"):
        torch.func.vmap(lambda rate: end(rate, START[:, None], step_control="per-sample"))(torch.rand(3))
    with pytest.raises(ValueError, match=r"`t` cannot be mapped by torch.func.vmap"):
        torch.func.vmap(lambda t: po.solve(rhs, START, t, args=(RATE,)).y)(torch.tensor([[0.0, 1.0], [0.0, 2.0]]))


def test_per_sample_steps_of_a_module_with_buffers_are_differentiated_too():
    bodies, y0 = po.rhs.NBody([1.0, 1.0], G=1.0), torch.tensor([-0.5, 0, 0, 0.5, 0, 0, 0, -0.7, 0, 0, 0.7, 0])

    def end(y0):
        return po.solve(bodies, y0[None], [0.0, 1.0], step_control="per-sample").y[-1].sum()

    expected = y0.clone().requires_grad_()
    end(expected).backward()
    torch.testing.assert_close(torch.func.grad(end)(y0), expected.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", ["leapfrog", "yoshida4"])
def test_symplectic_steps_are_mapped_and_differentiated(method):
    def end(rate):
        oscillator = po.rhs.SecondOrder(lambda t, q: -rate * q)
        return po.solve(oscillator, (START, 0 * START), [0.0, 1.0], method=method, step_size=0.01).y[0][-1, 0]

    rates = torch.tensor([0.5, 2.0])
    slopes = -torch.sin(rates.sqrt()) / (2 * rates.sqrt())
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(end))(rates), slopes, rtol=1e-4, atol=0)
    torch.testing.assert_close(torch.func.jvp(end, (rates[0],), (torch.ones(()),))[1], slopes[0], rtol=1e-4, atol=0)


def test_regularised_solves_refuse_transforms():
    bodies = po.rhs.NBody([1.0, 1.0], G=1.0)
    with pytest.raises(ValueError, match=r"cannot be used under torch\.func"):
        torch.func.grad(lambda y0: po.solve_regularised(bodies, y0, [0.0, 1.0]).y.sum())(torch.arange(12.0))


def test_a_first_solve_under_a_transform_leaves_nothing_of_it_behind():
    runge_kutta._remembered_ratios.cache_clear()
    runge_kutta.column.cache_clear()
    torch.func.hessian(lambda y: po.solve(rhs, y, [0.0, 1.0], args=(RATE,)).y[-1].sum())(START)
    torch.func.vmap(lambda y: po.solve(rhs, y, [0.0, 1.0], args=(RATE,), step_size=0.1).y[-1])(START[:, None])
    close(po.solve(rhs, START, [0.0, 1.0], args=(RATE,), **TIGHT).y[-1], exact(RATE, START))
