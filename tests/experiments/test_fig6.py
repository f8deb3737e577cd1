"""Fig. 6: what the three methods' gradient errors on dz/dt = k z are, and what they are made of."""

from __future__ import annotations

import importlib.util
import math
import sys

import pytest

from physode.experiments import fig6

SPANS = (1.0, 5.0, 10.0, 15.0, 20.0)
# The errors of the three methods are all truncation errors of the same size; a factor this large is no advantage.
SAME_SIZE = 2.0


@pytest.fixture(scope="module")
def result():
    return fig6.run(fig6.Config(spans=SPANS, peers=False))


def rows(result, sign):
    return [row for row in result.rows if row["k"] * sign > 0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_aca_s_error_is_the_forward_solve_s_twice_and_nothing_else(dtype):
    for row in fig6.run(fig6.Config(spans=SPANS, peers=False, dtype=dtype)).rows:
        rounding = 1e-13 if dtype == "float64" else 2e-5 if row["k"] < 0 else 2e-6
        assert row["aca"] == pytest.approx(row["aca, predicted"], abs=rounding)
        assert row["aca, predicted"] == pytest.approx(2 * row["forward error"], rel=0.02)


def test_the_exact_gradient_is_the_paper_s(result):
    for row in result.rows:
        assert row["exact dL/dz0"] == pytest.approx(2 * math.exp(2 * row["k"] * row["T"]), rel=1e-14)


def test_where_the_solution_decays_the_adjoint_s_error_is_larger_and_grows_with_t(result):
    ratios = [row["adjoint"] / row["aca"] for row in rows(result, -1) if row["T"] >= 2]
    assert all(ratio > SAME_SIZE for ratio in ratios)
    assert ratios[-1] > 10


def test_where_the_solution_grows_all_errors_are_of_one_size_near_the_tolerance(result):
    for row in rows(result, +1):
        for other in ("adjoint", "naive"):
            assert row["aca"] / SAME_SIZE < row[other] < row["aca"] * SAME_SIZE
        assert row["aca"] < 1e-4


def test_without_an_absolute_tolerance_naive_equals_aca():
    """The steps then do not depend on z0, and the search for them adds nothing to the gradient."""
    for row in fig6.run(fig6.Config(spans=SPANS, atol=1e-300, peers=False)).rows:
        assert row["naive"] == pytest.approx(row["aca"], abs=1e-12)


@pytest.mark.skipif(importlib.util.find_spec("torchdiffeq") is None, reason="torchdiffeq is not installed")
def test_where_the_solution_grows_aca_s_error_is_below_torchdiffeq_s():
    """The paper's comparison: its naive and adjoint methods are torchdiffeq's."""
    for row in fig6.run(fig6.Config(rates=(0.25, 0.5, 1.0), spans=SPANS)).rows:
        assert row["aca"] < row["torchdiffeq naive"]
        assert row["aca"] < row["torchdiffeq adjoint"]


def test_torchdiffeq_is_left_out_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    result = fig6.run(fig6.Config(rates=(0.5,), spans=(1.0,)))
    assert not any("torchdiffeq" in name for name in result.rows[0])


def test_findings_say_where_the_paper_is_not_confirmed(result):
    by_place = {finding.ours.split(":")[0]: finding for finding in result.findings if "on this engine" in finding.ours}
    assert set(by_place) == {"growth (k > 0), on this engine", "decay (k < 0), on this engine"}
    assert not by_place["growth (k > 0), on this engine"].agrees
    assert result.findings[-1].agrees
