"""Exact discrete Jacobians, and the covariance they give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import physode as po
from physode.sensitivity import correlation, covariance, sensitivities
from physode.solvers.tableaus import METHODS
from tests.systems import Spiral, van_der_pol

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("method", list(METHODS))
def test_jacobians_equal_reverse_mode_gradients(method):
    system, y0, times = Spiral(), torch.tensor([1.0, 0.5], requires_grad=True), torch.linspace(0, 2, 6)
    parameters = list(system.parameters())
    options = {"method": method, "rtol": 1e-5, "atol": 1e-6}
    found = sensitivities(system, y0, times, parameters, initial_state=True, **options)
    sol = po.solve(system, y0, times, **options)
    assert torch.equal(found.y, sol.y.detach())
    for k in (1, 3, 5):
        for d in (0, 1):
            rows = torch.autograd.grad(sol.y[k, d], [*parameters, y0], retain_graph=True)
            expected = torch.cat([row.reshape(-1) for row in rows])
            assert torch.allclose(found.jacobian[k, d], expected, atol=1e-10)


def test_jacobians_per_sample_with_shared_parameters():
    y0 = torch.randn(4, 2)
    mu = torch.tensor(1.5, requires_grad=True)
    times = torch.linspace(0, 2, 5)
    batch = sensitivities(van_der_pol, y0, times, [mu], args=(mu,), step_control="per-sample", initial_state=True)
    assert batch.jacobian.shape == (5, 4, 2, 3)
    for i in range(4):
        alone = sensitivities(
            van_der_pol, y0[i : i + 1], times, [mu], args=(mu,), step_control="per-sample", initial_state=True
        )
        assert torch.allclose(batch.jacobian[:, i], alone.jacobian[:, 0], atol=1e-12)


def test_jacobians_agree_with_finite_differences():
    mu = torch.tensor(1.5, requires_grad=True)
    y0, times, step = torch.tensor([2.0, 0.0]), torch.linspace(0, 2, 5), 1e-5
    options = {"rtol": 1e-11, "atol": 1e-12}
    found = sensitivities(van_der_pol, y0, times, [mu], args=(mu,), **options).jacobian[..., 0]
    ahead, behind = (po.solve(van_der_pol, y0, times, args=(mu.detach() + s,), **options).y for s in (step, -step))
    assert torch.allclose(found, (ahead - behind) / (2 * step), atol=1e-6)


def test_a_right_hand_side_that_cannot_be_mapped_is_differentiated_step_by_step():
    rate = torch.tensor(0.7, requires_grad=True)

    def f(t, y, rate):
        return -rate * y if float(t) < 10 else y

    found = sensitivities(f, torch.ones(1), [0.0, 1.0], [rate], args=(rate,), rtol=1e-9, atol=1e-11)
    assert float(found.jacobian[-1]) == pytest.approx(-np.exp(-0.7), rel=1e-7)


@pytest.mark.parametrize("control", ["shared", "per-sample"])
def test_where_no_step_is_taken_the_start_alone_has_derivatives(control):
    y0, k = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]]), torch.tensor(2.0)
    found = sensitivities(
        lambda t, y, k: -k * torch.sqrt(y), y0, torch.linspace(0, 1, 3), [k], args=(k,), initial_state=True,
        throw=False, step_control=control,
    )  # fmt: skip
    assert torch.equal(found.y[0], y0)
    assert bool(found.jacobian[1:].isnan().all())
    columns = 2 if control == "per-sample" else 4
    own = torch.eye(columns).reshape(-1, 2, columns).expand(2, 2, columns)
    assert torch.equal(found.jacobian[0], torch.cat([torch.zeros(2, 2, 1), own], -1))


def test_a_parameter_that_is_nowhere_is_named():
    with pytest.raises(ValueError, match="neither registered in `f` nor in `args`"):
        sensitivities(Spiral(), torch.ones(2), [0.0, 1.0], [torch.ones(3, requires_grad=True)])


def test_covariance_is_that_of_linear_regression():
    rng = np.random.default_rng(0)
    design = rng.normal(size=(50, 3)) * [1.0, 1e-3, 1e4]
    data = design @ [1.0, 2.0, 3.0] + rng.normal(size=50) * 0.1
    fitted, squares, *_ = np.linalg.lstsq(design, data, rcond=None)
    expected = float(squares[0]) / 47 * np.linalg.inv(design.T @ design)
    found = covariance(torch.tensor(design), residuals=torch.tensor(data - design @ fitted))
    assert np.allclose(found.numpy(), expected, rtol=1e-8)
    assert np.allclose(covariance(torch.tensor(design), sigma=0.1), 0.01 * np.linalg.inv(design.T @ design), rtol=1e-8)
    assert np.allclose(correlation(found).diagonal(), 1.0)


def test_covariance_of_what_the_data_do_not_determine_raises():
    column = torch.rand(20, 1)
    with pytest.raises(ValueError, match="do not determine every parameter"):
        covariance(torch.cat([column, 2 * column], 1), sigma=1.0)
    with pytest.raises(ValueError, match="give `sigma`"):
        covariance(column)


@pytest.mark.parametrize("method", ["dopri5", "rodas5p"])
def test_jacobians_with_parameters_of_each_samples_own(method):
    def f(t, y, p, order):
        return torch.stack([y[:, 1], p[:, 0] * (1 - y[:, 0] ** 2) * y[:, 1] - p[:, 1] * y[:, 0] ** order[:, 0]], -1)

    y0 = torch.tensor([[2.0, 0.0], [1.0, 0.5], [0.3, 1.0]], requires_grad=True)
    p = torch.tensor([[1.0, 1.0], [3.0, 2.0], [5.0, 1.5]], requires_grad=True)
    order, times = torch.tensor([[1.0], [3.0], [1.0]]), torch.linspace(0, 2, 5)
    options = {"args": (p, order), "method": method, "step_control": "per-sample"}
    found = sensitivities(f, y0, times, [p], sample_args=True, initial_state=True, **options)
    assert found.jacobian.shape == (5, 3, 2, 4)
    y = po.solve(f, y0, times, **options).y
    for k, i, d in ((1, 0, 0), (3, 1, 1), (4, 2, 0), (4, 1, 1)):
        by_p, by_y0 = torch.autograd.grad(y[k, i, d], [p, y0], retain_graph=True)
        assert torch.allclose(found.jacobian[k, i, d], torch.cat([by_p[i], by_y0[i]]), rtol=1e-9, atol=1e-10)


def test_parameters_are_shared_by_all_samples_or_of_each():
    own, shared = torch.ones(3, 1, requires_grad=True), torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="must all have one row a sample"):
        sensitivities(
            lambda t, y, own, shared: -own * shared * y,
            torch.ones(3, 1),
            [0.0, 1.0],
            [own, shared],
            args=(own, shared),
            sample_args=(True, False),
            step_control="per-sample",
        )
