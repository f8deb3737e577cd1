"""Quantities recorded at every accepted step."""

from __future__ import annotations

import pytest
import torch

import physode as po
from physode.rhs import HarmonicOscillator, ThreeBody

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("gradient", ["aca", "naive", "adjoint"])
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step_size": 0.1}, {"step_control": "per-sample"}])
def test_each_accepted_step_has_a_row(gradient, options):
    y0 = torch.tensor([[1.0, 0.0], [0.2, 3.0]], requires_grad=True)
    times = torch.linspace(0, 2, 3)
    sol = po.solve(HarmonicOscillator(2.0), y0, times, gradient=gradient, dense=True,
                   record={"x": lambda t, y: y[..., 0], "t": lambda t, y: t}, **options)  # fmt: skip
    assert torch.equal(sol.recorded["x"].t, sol.step_times)
    assert torch.equal(sol.recorded["t"].values, sol.step_times)
    assert torch.allclose(sol.recorded["x"].values, sol(sol.step_times)[..., 0], atol=1e-12)
    assert not sol.recorded["x"].values.requires_grad
    without = po.solve(HarmonicOscillator(2.0), y0, times, gradient=gradient, dense=True, **options)
    assert torch.equal(without.y, sol.y)
    assert without.recorded == {}


def test_bodies_record_energy_momentum_and_angular_momentum():
    preset = ThreeBody.find_preset("figure-eight")
    sol = po.solve(ThreeBody.from_preset("figure-eight"), torch.tensor(preset.y0), [0.0, 1.0], record="invariants")
    steps = len(sol.step_times)
    shapes = {name: tuple(found.values.shape) for name, found in sol.recorded.items()}
    assert shapes == {"energy": (steps,), "momentum": (steps, 3), "angular_momentum": (steps, 3)}
    assert torch.allclose(sol.recorded["energy"].values, sol.recorded["energy"].values[0], rtol=1e-5)


def test_functions_get_the_structure_of_the_state_and_an_energy_its_arguments():
    system = po.rhs.Hamiltonian(lambda q, p, k: (p**2 + k * q**2).sum(-1) / 2)
    pair = torch.ones(1), torch.zeros(1)
    sol = po.solve(system, pair, [0.0, 1.0], args=(torch.tensor(4.0),), record="invariants", method="alf", rtol=1e-5)
    assert torch.allclose(sol.recorded["energy"].values, torch.tensor(2.0), atol=1e-3)
    assert sol.recorded["energy"].values[0] == 2.0


@pytest.mark.parametrize("record", ["energy", {"energy": 1.0}, 3])
def test_what_cannot_record_is_refused(record):
    with pytest.raises(TypeError, match="`record` must be 'invariants' or a mapping"):
        po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], record=record)


def test_invariants_of_a_function_are_unknown():
    with pytest.raises(ValueError, match="'invariants' needs an `f` that knows them"):
        po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], record="invariants")


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"a": lambda t, y: None}, TypeError, r"`record\['a'\]` must return a tensor or a number, .* got NoneType"),
        ({"a": lambda t, y: (y, y)}, TypeError, "got tuple"),
        ({"a": lambda t, y: y[: 1 + (t > 0)]}, ValueError, r"one shape, got \(1,\) first and then \(2,\)"),
        ({"a": lambda t, y: {"b": y}, "b": lambda t, y: 2 * y}, ValueError, "must give 'b' once at every step"),
    ],
)
def test_functions_that_return_no_quantity_are_named(record, error, message):
    with pytest.raises(error, match=message):
        po.solve(lambda t, y: -y, torch.ones(2), [0.0, 1.0], record=record)
