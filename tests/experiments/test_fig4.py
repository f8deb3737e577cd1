"""Fig. 4: what is lost when van der Pol's equation is integrated back, and what that does to gradients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from physode.experiments import fig4

CONFIG = fig4.Config(spans=(5.0, 15.0), points=101)


@pytest.fixture(scope="module")
def result():
    return fig4.run(CONFIG)


def van_der_pol(t, y):
    return [y[1], (0.15 - y[0] ** 2) * y[1] - y[0]]


def test_the_forward_trajectory_is_scipy_s(result):
    exact = solve_ivp(van_der_pol, (0, 15), [2.0, 0.0], method="DOP853", rtol=1e-12, atol=1e-13)
    error = np.linalg.norm(result.series["forward"][-1] - exact.y[:, -1])
    assert error == pytest.approx(result.rows[-1]["forward error at T"], rel=1e-6)
    assert error < 10 * CONFIG.rtol


def test_the_reverse_trajectory_misses_the_start_by_far_more_than_the_forward_error(result):
    for row in result.rows:
        assert row["reverse error at 0"] > 50 * row["forward error at T"]
    assert result.rows[-1]["reverse error at 0"] > 1.0


def test_the_checkpoints_recover_the_start_exactly_and_replay_to_rounding(result):
    for row in result.rows:
        assert row["ACA error at 0"] == 0.0
        assert row["ACA replay error"] < 1e-14
    np.testing.assert_array_equal(result.series["checkpoints"][0], [2.0, 0.0])


def test_the_adjoint_s_gradient_is_further_off_than_aca_s(result):
    for row in result.rows:
        assert row["gradient error, adjoint"] > 2 * row["gradient error, aca"]


def test_a_reverse_solve_that_diverges_counts_as_an_infinite_error():
    row = fig4.run(fig4.Config(spans=(20.0,), points=11)).rows[0]
    assert row["gradient error, adjoint"] == np.inf
    assert row["gradient error, aca"] < 0.1


def test_every_statement_of_the_paper_is_confirmed(result):
    assert [finding.agrees for finding in result.findings] == [True, True, True]
