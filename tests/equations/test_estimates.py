"""From a model file and a table to estimates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit

from physode.equations.model_file import read_model
from physode.estimation.fit import estimate
from physode.estimation.simulation import Simulator, SolverOptions

MODEL = """
version = 1
equations = "x' = -k*x + piecewise(height, t >= on and t < on + 0.01, 0)"
[constants]
k = { guess = 0.5, bounds = [0, 5] }
height = { value = 200.0 }
on = { value = 5.0 }
[states]
x = { start = { guess = 1.0 } }
"""


def closed_form(t, k, x0):
    """x' = -k x from x0, and 200 more a unit of time from 5 to 5.01."""
    end = np.clip(t, 5.0, 5.01)
    return x0 * np.exp(-k * t) + 200.0 / k * (np.exp(-k * (t - end)) - np.exp(-k * (t - 5.0))) * (t > 5.0)


@pytest.fixture
def estimation(tmp_path):
    t = np.linspace(0.0, 10.0, 21)
    x = closed_form(t, 0.3, 2.0) + 0.02 * np.random.default_rng(0).normal(size=t.size)
    (tmp_path / "model.toml").write_text(MODEL)
    rows = [f"{a!r},{b!r}" for a, b in zip(t.tolist(), x.tolist(), strict=True)]
    (tmp_path / "data.csv").write_text("\n".join(["time,x", *rows]))
    return read_model(tmp_path / "model.toml").estimation(tmp_path / "data.csv")


def test_a_short_pulse_is_not_stepped_over(estimation):
    t = estimation.measurements.times
    simulator = Simulator(estimation, SolverOptions(rtol=1e-9, atol=1e-11))
    rows = simulator.run(torch.tensor([[0.3, 2.0]], dtype=torch.float64), tangents=True)
    np.testing.assert_allclose(rows.x[:, 0], closed_form(t, 0.3, 2.0), rtol=1e-8)
    step = 1e-6
    slopes = [
        (closed_form(t, 0.3 + step, 2.0) - closed_form(t, 0.3 - step, 2.0)) / (2 * step),
        np.exp(-0.3 * t),
    ]
    np.testing.assert_allclose(rows.dx[:, 0], np.stack(slopes, -1), rtol=1e-6, atol=1e-8)


def test_estimates_are_those_of_SciPy_s_least_squares(estimation):
    t, x = estimation.measurements.times, estimation.measurements.values
    values, covariance = curve_fit(closed_form, t, x, p0=[0.5, 1.0])
    found = estimate(estimation, starts=1, rtol=1e-6, atol=1e-8)
    assert [constant.name for constant in found.constants] == ["k", "x(0)"]
    np.testing.assert_allclose([constant.value for constant in found.constants], values, rtol=1e-5)
    np.testing.assert_allclose(
        [constant.error for constant in found.constants], np.sqrt(np.diag(covariance)), rtol=1e-2
    )
