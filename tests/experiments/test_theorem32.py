"""Theorem 3.2 on a linear equation: closed forms beside solves, and what the paper's equations leave out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from physode.experiments import theorem32
from physode.experiments.theorem32 import Config, Linear
from physode.solvers.tableaus import METHODS


@pytest.fixture(scope="module")
def result():
    return theorem32.run(Config(steps=(32, 64)))


def linear(name, steps=16):
    config = Config()
    A, z0 = (torch.tensor(value, dtype=torch.float64) for value in (config.matrix, config.z0))
    return Linear(METHODS[name], A, z0, config.span, steps)


def finest(result):
    return [row for row in result.rows if row["steps"] == 64]


def test_the_stability_function_of_a_method_of_order_p_with_p_stages_is_the_exponential_s_series():
    for name, p in (("euler", 1), ("midpoint", 2), ("bosh3", 3), ("rk4", 4)):
        problem = linear(name)
        series = sum(torch.linalg.matrix_power(0.1 * problem.A, n) / math.factorial(n) for n in range(p + 1))
        assert torch.allclose(problem.step(0.1), series, rtol=1e-14, atol=0)


def test_the_leading_local_error_is_the_step_less_the_flow():
    for name in Config().methods:
        problem, h = linear(name), 2e-2
        exact = torch.from_numpy(expm(h * problem.A.numpy()))
        local = (problem.step(h) - exact) @ problem.z0 / h ** (problem.tableau.order + 1)
        leading = problem.leading(problem.z0)
        assert (local - leading).norm() < 0.1 * leading.norm()


def test_errors_of_solves_are_those_of_matrix_powers(result):
    for row in result.rows:
        problem = linear(row["method"], row["steps"])
        ahead, behind = (np.linalg.matrix_power(problem.step(s * problem.h).numpy(), row["steps"]) for s in (1, -1))
        z0 = problem.z0.numpy()
        missed = np.linalg.norm(behind @ ahead @ z0 - z0)
        assert row["miss of z(0)"] == pytest.approx(missed, rel=1e-3, abs=1e-14)
        error = np.linalg.norm(ahead @ z0 - expm(problem.span * problem.A.numpy()) @ z0)
        assert row["error at T"] == pytest.approx(error, rel=1e-3, abs=1e-14)


def test_where_p_is_odd_the_errors_there_and_back_add_up(result):
    for row in finest(result):
        if row["p"] % 2:
            assert row["carried back"] == pytest.approx(row["miss of z(0)"], rel=0.05)


def test_where_p_is_even_they_cancel_and_the_miss_is_one_order_smaller(result):
    for name in ("midpoint", "rk4"):
        coarse, fine = (row for row in result.rows if row["method"] == name)
        assert math.log2(coarse["miss of z(0)"] / fine["miss of z(0)"]) == pytest.approx(fine["p"] + 1, abs=0.05)
        assert fine["carried back"] == 0.0
        assert fine["Eq. 16, printed"] > 3 * fine["miss of z(0)"]


def test_aca_s_gradient_is_the_derivative_of_what_was_computed_and_the_adjoint_s_is_not(result):
    for row in result.rows:
        assert row["gradient, aca"] < 1e-13
        assert row["gradient, adjoint"] > 1e-10
        assert row["ACA's replays miss"] == 0.0


def test_findings_agree_with_eq_15_and_not_with_eq_22_where_p_is_even(result):
    verdicts = {finding.paper[:15]: finding.agrees for finding in result.findings}
    assert verdicts["Eq. 15: the err"]
    assert not verdicts["Eq. 22, even p:"]
    assert verdicts["Eq. 22, odd p: "]
