"""Implicit methods need derivatives of f: in all of torch's modes, and where they are 0 by right."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch

import physode as po

pytestmark = pytest.mark.usefixtures("float64")

METHODS = {
    "rodas5p": {}, "radau5": {}, "kencarp5": {}, "kvaerno3": {}, "auto": {}, "implicit_euler": {"step_size": 0.1},
    "radauIIA5": {"step_size": 0.1},
}  # fmt: skip
EACH = [
    pytest.param(name, marks=pytest.mark.slow) if name == "kvaerno3" else name  # takes many steps
    for name in METHODS
]
MODES = {"grad": contextlib.nullcontext, "no_grad": torch.no_grad, "inference": torch.inference_mode}


def solved(f, y0, t1, method, **options):
    return po.solve(f, y0, [0.0, t1], method=method, **METHODS[method], **options).y[-1].detach()


@pytest.mark.parametrize("mode", ["no_grad", "inference"])
@pytest.mark.parametrize("method", EACH)
def test_a_stiff_solve_in_every_mode_has_the_values_it_has_with_gradients(method, mode):
    rate = torch.tensor(300.0, requires_grad=True)
    net = torch.nn.Linear(2, 2)

    def f(t, y, k):
        return -rate * (y - torch.cos(t)) + net(y) * k

    y0, k = torch.tensor([0.3, 2.0]), torch.tensor(1.5)
    expected = solved(f, y0, 0.5, method, args=(k,))
    with MODES[mode]():
        again = solved(f, torch.tensor([0.3, 2.0]), 0.5, method, args=(torch.tensor(1.5),))
    assert torch.equal(again.clone(), expected)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("method", EACH)
def test_tensors_made_in_inference_mode_take_part(method, inside):
    with torch.inference_mode():
        y0, rate, net = torch.tensor([1.0, 2.0]), torch.tensor(20.0), torch.nn.Linear(2, 2)
    f = lambda t, y, k: -rate * k * y**2 + net(y)  # noqa: E731
    plain = torch.nn.Linear(2, 2)
    plain.load_state_dict({name: value.detach().clone() for name, value in net.state_dict().items()})
    with torch.inference_mode() if inside else torch.no_grad():
        found = solved(f, y0, 0.2, method, args=(rate / 10,)).clone()
    expected = solved(lambda t, y: -40.0 * y**2 + plain(y), torch.tensor([1.0, 2.0]), 0.2, method)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("structure", [("banded", 1, 1), "diagonal"])
def test_a_structure_is_used_in_inference_mode(structure):
    f = lambda t, y: -100 * y**3  # noqa: E731
    y0 = torch.linspace(0.5, 1.5, 40)
    with torch.inference_mode():
        found = po.solve(f, y0, [0.0, 1.0], method="rodas5p", jac_structure=structure, rtol=1e-8).y[-1].clone()
    torch.testing.assert_close(found, y0 / torch.sqrt(1 + 200 * y0**2), rtol=1e-6, atol=0.0)


PIECEWISE = {
    "table": lambda t, y: -torch.linspace(1, 2, 11)[(5 * y).long().clamp(0, 10)],
    "parameters": lambda t, y: -torch.linspace(1, 2, 11).requires_grad_()[(5 * y).long().clamp(0, 10)],
    "branches": lambda t, y: -torch.where(y < 1, torch.tensor(1.3), 2.0),
    "branches of a parameter": lambda t, y: -torch.where(y < 1, torch.tensor(1.3, requires_grad=True), 2.0),
    "comparison": lambda t, y: -1.0 - (y > 0.7).to(y.dtype),
    "equality": lambda t, y: -1.0 - (y == 0.995).to(y.dtype),
    "of time": lambda t, y: -torch.linspace(1, 2, 11)[(10 * t).long()].expand_as(y),
}


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, "grad") for name in PIECEWISE), ("table", "inference"), ("branches", "no_grad")]
)
def test_a_right_hand_side_of_constant_pieces_is_solved(name, mode):
    """At 0.995 a move of a hundredth passes the branch at 1; the state starts on a table's jump, too."""
    f = PIECEWISE[name]
    y0 = torch.tensor([0.995, 0.4, 1.7])
    with torch.no_grad():
        expected = po.solve(f, y0, [0.0, 0.3], method="dopri5", rtol=1e-7, atol=1e-9).y[-1]
    for method in ("rodas5p", "radau5", "kencarp5", "auto"):
        with MODES[mode]():
            found = solved(f, y0, 0.3, method, rtol=1e-7, atol=1e-9).clone()
        torch.testing.assert_close(found, expected, rtol=0.0, atol=2e-4)


def test_a_table_beside_a_slope_counts_as_constant_in_the_jacobian():
    table = torch.tensor([3.0, 5.0])
    f = lambda t, y: -1e3 * (y - table[(y > 10.0).long()])  # noqa: E731
    for method in METHODS:
        found = solved(f, torch.zeros(2), 1.0, method)
        torch.testing.assert_close(found, torch.full((2,), 3.0), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1.0, 1e-20, 0.0])
@pytest.mark.parametrize("method", ["rodas5p", "radau5", "kencarp5", "auto", "implicit_euler"])
def test_what_cannot_be_differentiated_is_still_refused(method, size, mode):
    k = torch.tensor(2.0, requires_grad=True)
    hidden = [
        lambda t, y: 1.0 - 50 * y.detach(),
        lambda t, y: -k * torch.from_numpy(1 + y.detach().numpy()),
        lambda t, y: -torch.exp(y.detach()),
    ]
    for f in hidden if size else hidden[:1]:
        with MODES[mode](), pytest.raises(ValueError, match="cannot be differentiated"):
            solved(f, torch.full((2,), size), 1.0, method)


def test_the_slope_in_time_counts_in_inference_mode():
    """rodas5p keeps order 5 only with df/dt."""
    f = lambda t, y: -10 * (y - torch.sin(5 * t))  # noqa: E731
    exact = lambda t: (100 * math.sin(5 * t) - 50 * math.cos(5 * t) + 50 * math.exp(-10 * t)) / 125  # noqa: E731
    errors = []
    for steps in (20, 40):
        with torch.inference_mode():
            end = po.solve(f, torch.zeros(1), [0.0, 1.0], method="rodas5p", step_size=1 / steps).y[-1]
        errors.append(abs(float(end) - exact(1.0)))
    assert errors[0] / errors[1] > 16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("where", ["around", "inside"])
@pytest.mark.parametrize("method", ["rodas5p", "radau5"])
def test_samples_that_stand_alone_are_believed_under_autocast_and_coupled_ones_are_not(method, where, dtype):
    for seed in range(3):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 8)).float()
        y0 = torch.randn(5, 8, dtype=torch.float32)

        def alone(t, y):
            with torch.autocast("cpu", dtype=dtype):
                return net(y).float() - 3 * y  # noqa: B023

        def coupled(t, y):
            return alone(t, y) + y.mean(0)

        options = {"method": method, "jac_structure": "samples", "rtol": 1e-2, "atol": 1e-3}
        with torch.autocast("cpu", dtype=dtype) if where == "around" else contextlib.nullcontext():
            found = po.solve(alone, y0, [0.0, 1.0], **options).y[-1]
            with pytest.raises(ValueError, match="`jac_structure` 'samples' does not hold"):
                po.solve(coupled, y0, [0.0, 1.0], **options)
        precise = po.solve(lambda t, y: net(y) - 3 * y, y0, [0.0, 1.0], method=method).y[-1]  # noqa: B023
        torch.testing.assert_close(found, precise, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("gradient", ["aca", "naive", "adjoint"])
@pytest.mark.parametrize("method", METHODS)
def test_parameters_of_constant_pieces_have_their_gradient(method, gradient):
    """y' = a below 1, and table[i]: dy/da is the time spent there."""
    a, table = torch.tensor(0.5, requires_grad=True), torch.tensor([0.25, 3.0], requires_grad=True)
    y0 = torch.tensor([0.1], requires_grad=True)
    options = {"gradient": gradient, **METHODS[method]}
    end = po.solve(lambda t, y: torch.where(y < 1, a, 2.0), y0, [0.0, 1.0], method=method, **options).y[-1]
    found = torch.autograd.grad(end.sum(), [a, y0])
    torch.testing.assert_close(torch.stack([part.sum() for part in found]), torch.ones(2), rtol=1e-9, atol=0.0)
    end = po.solve(lambda t, y: table[(y > 1).long()], y0, [0.0, 1.0], method=method, **options).y[-1]
    (found,) = torch.autograd.grad(end.sum(), table)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0]), rtol=1e-9, atol=1e-12)
