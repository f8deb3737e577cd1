"""Gradients through implicit steps: every method the same, and those of finite differences."""

from __future__ import annotations

import logging

import pytest
import torch

import physode as po
from physode.sensitivity import sensitivities
from tests.solvers.implicit.problems import ADAPTIVE, driven

pytestmark = pytest.mark.usefixtures("float64")

WAYS = {
    "sequential": po.ACA(memory="checkpoint", parallel=False),
    "kept": po.ACA(parallel=False),
    "parallel": po.ACA(parallel=True),
    "graph": po.ACA(memory="graph"),
}
METHODS = [*ADAPTIVE, "implicit_midpoint", "trapezoid", "trbdf2", "radauIIA5", "gl4"]


def loss(mu, y0, t, way, **options):
    y = po.solve(driven, y0, t, args=(mu,), gradient=way, **options).y
    return (y * torch.linspace(0.5, 1.5, y.numel()).reshape(y.shape)).sum()


def inputs(per_sample=False):
    start = [[2.0, 0.0], [1.5, 0.3], [0.5, -0.2]] if per_sample else [2.0, 0.0]
    return (
        torch.tensor(8.0, requires_grad=True),
        torch.tensor(start, requires_grad=True),
        torch.linspace(0, 1, 4).requires_grad_(),
    )


def gradients(way, per_sample=False, **options):
    given = inputs(per_sample)
    return torch.autograd.grad(loss(*given, way, **options), given)


def assert_close(found, expected, tolerance=1e-10):
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_aca_equals_naive_on_the_same_steps(method, caplog):
    options = {"method": method, "grid": torch.tensor([0.0, 0.1, 0.25, 0.5, 0.8, 1.0])}
    expected = gradients("naive", **options)
    with caplog.at_level(logging.WARNING):
        for way in WAYS.values():
            assert_close(gradients(way, **options), expected)
    assert not caplog.records  # the parallel pass took place


@pytest.mark.parametrize("method", ["kencarp5", "radau5", "rodas5p"])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.slow
def test_every_way_agrees_on_adaptive_steps(method, per_sample):
    control = "per-sample" if per_sample else "shared"
    options = {"method": method, "rtol": 1e-3, "atol": 1e-5, "step_control": control}
    expected = gradients(WAYS["graph"], per_sample, **options)
    for way in ("sequential", "kept", "parallel"):
        assert_close(gradients(WAYS[way], per_sample, **options), expected)
    assert all(bool(part.isfinite().all()) for part in gradients("naive", per_sample, **options))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_finite_differences(method):
    options = {"method": method, "grid": torch.tensor([0.0, 0.1, 0.25, 0.5, 0.8, 1.0])}
    mu, y0, t = (part.detach() for part in inputs())
    found = gradients("aca", **options)
    e = 1e-5
    with torch.no_grad():
        by_mu = (loss(mu + e, y0, t, "aca", **options) - loss(mu - e, y0, t, "aca", **options)) / (2 * e)
        d = torch.tensor([e, 0.0])
        by_y = (loss(mu, y0 + d, t, "aca", **options) - loss(mu, y0 - d, t, "aca", **options)) / (2 * e)
    assert float(found[0]) == pytest.approx(float(by_mu), rel=1e-6, abs=1e-7)
    assert float(found[1][0]) == pytest.approx(float(by_y), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("method", ["kencarp5", "rodas5p", "gl4"])
def test_the_adjoint_agrees_to_tolerance(method):
    options = (
        {"method": method, "rtol": 1e-7, "atol": 1e-9} if method != "gl4" else {"method": method, "step_size": 0.02}
    )
    mu = torch.tensor(0.5, requires_grad=True)
    y0, t = torch.tensor([1.0, 0.5], requires_grad=True), torch.tensor([0.0, 0.5])
    exact = torch.autograd.grad(loss(mu, y0, t, "aca", **options), (mu, y0))
    assert_close(torch.autograd.grad(loss(mu, y0, t, "adjoint", **options), (mu, y0)), exact, 1e-4)


@pytest.mark.parametrize("method", ["kencarp5", "radau5", "rodas5p"])
@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.slow
def test_forward_sensitivities_equal_the_backward_gradient(method, control):
    """Nested transforms of torch.func: vmap over steps of a Jacobian of a step that has a Jacobian."""
    mu, y0 = torch.tensor(8.0, requires_grad=True), torch.tensor([[2.0, 0.0]])
    f = lambda t, y, mu: driven(t, y, mu)  # noqa: E731
    options = {"method": method, "rtol": 1e-3, "atol": 1e-5, "step_control": control}
    found = sensitivities(f, y0, [0.0, 0.5, 1.0], [mu], args=(mu,), **options).jacobian
    end = po.solve(f, y0, [0.0, 0.5, 1.0], args=(mu,), **options).y
    for i in range(2):
        (expected,) = torch.autograd.grad(end[1, 0, i], mu, retain_graph=True)
        assert float(found[1, 0, i, 0]) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("gradient", ["naive", "aca", po.ACA(memory="graph")], ids=["naive", "aca", "graph"])
@pytest.mark.parametrize("method", ["rodas5p", "gl4", "radau5", "kencarp5", "trapezoid"])
def test_second_derivatives(method, gradient):
    def end(y0):
        return po.solve(
            lambda t, y: -y * y, y0, [0.0, 1.0], method=method, grid=torch.linspace(0, 1, 4), gradient=gradient
        ).y[-1]

    assert torch.autograd.gradgradcheck(end, (torch.tensor([1.0, 0.4], requires_grad=True),))


def test_an_implicit_runge_kutta_method_refuses_third_derivatives():
    y0 = torch.ones(1, requires_grad=True)
    end = po.solve(lambda t, y: -y * y, y0, [0.0, 1.0], method="gl4", gradient="naive").y[-1].sum()
    (first,) = torch.autograd.grad(end, y0, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="third derivatives through implicit Runge-Kutta methods are not computed"):
        torch.autograd.grad(second.sum(), y0)
