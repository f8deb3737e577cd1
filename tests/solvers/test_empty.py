"""States without components and batches without samples: an empty answer, and gradients of 0."""

from __future__ import annotations

import pytest
import torch

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

SHAPES = [(0,), (3, 0), (0, 2)]
GRADIENTS = ["aca", "adjoint", "naive", po.ACA(memory="graph"), po.ACA(checkpoints=3)]
METHODS = {"dopri5": {}, "dopri8": {}, "rk4": {"step_size": 0.5}, "rodas5p": {}, "radau5": {}, "auto": {}, "alf": {}}


def decay(t, y, k):
    return -k * y


def coupled(t, y, k):
    return -k * y[0], y[0] - y[1]


@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize("gradient", GRADIENTS, ids=repr)
@pytest.mark.parametrize("method", METHODS)
def test_an_empty_state_has_an_empty_solution_and_gradients_of_0(method, gradient, control):
    for shape in SHAPES:
        y0, k = torch.zeros(shape, requires_grad=True), torch.tensor(2.0, requires_grad=True)
        options = {"method": method, "gradient": gradient, "step_control": control, **METHODS[method]}
        y = po.solve(decay, y0, [0.0, 0.5, 1.0], args=(k,), **options).y
        assert y.shape == (3, *shape)
        found = torch.autograd.grad(y.sum(), [k, y0])
        assert float(found[0]) == 0.0
        assert found[1].shape == shape
        first, second = po.solve(coupled, (y0, y0 + 1), [0.0, 1.0], args=(k,), **options).y
        assert first.shape == second.shape == (2, *shape)
        assert float(torch.autograd.grad((first + second).sum(), k)[0]) == 0.0


def test_parameters_that_are_no_arguments_have_gradients_of_0():
    k = torch.nn.Parameter(torch.tensor(2.0))
    for control in ("shared", "per-sample"):
        sol = po.solve(lambda t, y: -k * y, torch.zeros(0, 2), [0.0, 1.0], step_control=control)
        assert float(torch.autograd.grad(sol.y.sum(), k)[0]) == 0.0


def test_mali_takes_empty_samples():
    k = torch.tensor(2.0, requires_grad=True)
    sol = po.solve(
        lambda t, y, k: -k * y, torch.zeros(0, 3), [0.0, 1.0], args=(k,), method="alf", gradient="mali",
        step_control="per-sample",
    )  # fmt: skip
    assert float(torch.autograd.grad(sol.y.sum(), k)[0]) == 0.0


@pytest.mark.parametrize("control", ["shared", "per-sample"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_empty_dense_solution_can_be_called(shape, control):
    sol = po.solve(lambda t, y: -y, torch.zeros(shape), [0.0, 1.0], dense=True, step_control=control)
    assert sol(0.3).shape == shape
    assert sol(torch.tensor([0.2, 0.4])).shape == (2, *shape)


def test_an_empty_state_is_solved_with_events_and_without_compilation():
    y0 = torch.zeros(0, 2, requires_grad=True)
    sol = po.solve(lambda t, y: -y, y0, [0.0, 1.0], step_control="per-sample", compile=True)
    assert sol.y.shape == (2, 0, 2)
    sol = po.solve(lambda t, y: -y, y0, [0.0, 1.0], step_control="per-sample", jump_t=[0.5])
    assert sol.y.shape == (2, 0, 2)
