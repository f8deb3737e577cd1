"""torch.func around implicit steps: mapping and derivatives agree with loops and backward passes."""

from __future__ import annotations

import pytest
import torch

import physode as po
from tests.solvers.implicit.problems import driven

pytestmark = [
    pytest.mark.usefixtures("float64"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),  # torch's forward mode scripts its own formulas
]

METHODS = ["kencarp5", "radau5", "rodas5p"]
T = torch.tensor([0.0, 0.3, 0.5], dtype=torch.float64)


def end(mu, method):
    return po.solve(driven, torch.tensor([2.0, 0.0]), T, args=(mu,), method=method, grid=T).y[-1]


@pytest.mark.parametrize("method", METHODS)
def test_mapping_over_a_parameter_is_solving_for_each(method):
    values = torch.tensor([1.0, 4.0, 9.0])
    with torch.no_grad():
        found = torch.func.vmap(lambda mu: end(mu, method))(values)
        expected = torch.stack([end(mu, method) for mu in values])
    assert torch.allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_forward_mode_equals_the_backward_pass(method):
    mu = torch.tensor(5.0)
    value, tangent = torch.func.jvp(lambda mu: end(mu, method), (mu,), (torch.ones(()),))
    parameter = mu.clone().requires_grad_()
    again = end(parameter, method)
    assert torch.allclose(value, again, rtol=1e-12)
    for i in range(2):
        (expected,) = torch.autograd.grad(again[i], parameter, retain_graph=True)
        assert float(tangent[i]) == pytest.approx(float(expected), rel=1e-8)


@pytest.mark.parametrize("method", ["radau5", pytest.param("rodas5p", marks=pytest.mark.slow)])
def test_mapped_adaptive_steps_are_differentiated_too(method):
    def loss(mu):
        return po.solve(
            driven, torch.tensor([2.0, 0.0]), [0.0, 0.5], args=(mu,), method=method, rtol=1e-6, atol=1e-8
        ).y[-1, 0]  # fmt: skip

    values = torch.tensor([1.0, 6.0])
    found = torch.func.vmap(torch.func.grad(loss))(values)
    for value, slope in zip(values, found, strict=True):
        parameter = value.clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(parameter), parameter)
        assert float(slope) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("outer", [torch.func.jacfwd, torch.func.jacrev])
@pytest.mark.parametrize("inner", [torch.func.jacfwd, torch.func.jacrev])
def test_second_derivatives_in_either_mode(outer, inner):
    def end(k):
        f = lambda t, y: -k * (y**2 - torch.cos(t))  # noqa: E731
        return po.solve(f, torch.ones(1), [0.0, 1.0], method="radauIIA3", step_size=0.5).y[-1, 0]

    k = torch.tensor(5.0)
    difference = (torch.func.grad(end)(k + 1e-4) - torch.func.grad(end)(k - 1e-4)) / 2e-4
    assert float(outer(inner(end))(k)) == pytest.approx(float(difference), rel=1e-6)


def test_forward_mode_twice_is_refused_where_torch_gets_it_wrong():
    def end(k):
        return po.solve(lambda t, y: -k * y**2, torch.ones(1), [0.0, 1.0], method="rodas5p").y[-1, 0]

    with pytest.raises(RuntimeError, match=r"write torch.func.jacfwd\(torch.func.jacrev"):
        torch.func.jacfwd(torch.func.jacfwd(end))(torch.tensor(2.0))
    k = torch.tensor(2.0)
    difference = (torch.func.grad(end)(k + 1e-4) - torch.func.grad(end)(k - 1e-4)) / 2e-4
    assert float(torch.func.jacfwd(torch.func.jacrev(end))(k)) == pytest.approx(float(difference), rel=1e-4)
