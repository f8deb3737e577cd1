"""Interpolants of many steps at once."""

from __future__ import annotations

import pytest
import torch

import physode as po
from physode.solvers import interpolation
from physode.solvers.interpolation import DeferredInterpolants
from physode.solvers.runge_kutta import end_derivative, interpolant, take_step
from physode.solvers.tableaus import METHODS
from physode.solvers.trace import Trace

pytestmark = pytest.mark.usefixtures("float64")


def turning(t, y):
    return torch.stack([y[..., 1], -y[..., 0]], -1)


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3"])
@pytest.mark.parametrize("sizes", [[0.1, 0.2, 0.05], [torch.tensor([0.1, 0.3]), torch.tensor([0.0, 0.2])]])
def test_they_equal_those_of_single_steps(method, sizes):
    tableau, y = METHODS[method], torch.tensor([[1.0, 0.0], [0.5, -0.5]])
    record, waiting, expected, t = Trace(nodes=[y]), DeferredInterpolants(turning, tableau, y), [], 0.0
    for h in sizes:
        step = take_step(turning, tableau, t * h, y, h)
        k_end = end_derivative(turning, t * h, h, step)
        record.append(t, h, t + h, step.y, None)
        waiting.add(record, h, step, k_end)
        expected.append(interpolant(turning, tableau, t, y, h, step, k_end))
        y = step.y
    waiting.fill(record)
    for found, right in zip(record.dense, expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-14, atol=1e-15)


def test_outputs_do_not_depend_on_how_many_wait(monkeypatch):
    def outputs():
        with torch.no_grad():
            return po.solve(turning, torch.tensor([1.0, 0.0]), torch.linspace(0.0, 5.0, 50)).y

    together = outputs()
    monkeypatch.setattr(interpolation, "_ELEMENTS", 40)
    assert torch.equal(outputs(), together)


def test_methods_with_extra_stages_do_not_wait():
    assert not DeferredInterpolants(turning, METHODS["dopri8"], torch.zeros(2)).useful
