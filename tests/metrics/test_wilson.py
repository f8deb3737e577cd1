"""Intervals of accuracies."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest, norm

from physode.metrics import wilson_interval


@pytest.mark.parametrize(("hits", "samples"), [(0, 10), (10, 10), (1, 1), (81, 263), (9477, 10_000)])
@pytest.mark.parametrize("level", [0.68, 0.95])
def test_it_is_scipy_s(hits, samples, level):
    reference = binomtest(hits, samples).proportion_ci(level, method="wilson")
    assert wilson_interval(hits, samples, level=level) == pytest.approx(tuple(reference), abs=1e-15)


def test_it_is_newcombe_s_published_example():
    # Newcombe (1998), Statistics in Medicine 17, 857, Table I: 81 of 263 and 0 of 20, score method.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_its_limits_solve_the_score_equation():
    low, high = wilson_interval(30, 40)
    for p in (low, high):
        assert abs(0.75 - p) / (p * (1 - p) / 40) ** 0.5 == pytest.approx(norm.ppf(0.975))


@pytest.mark.parametrize(("hits", "samples"), [(3, 2), (-1, 5), (0, 0)])
def test_impossible_counts_are_refused(hits, samples):
    with pytest.raises(ValueError, match="`hits` must be from 0 to `samples`"):
        wilson_interval(hits, samples)


def test_a_level_in_percent_is_refused():
    with pytest.raises(ValueError, match="`level` must be between 0 and 1, got 95"):
        wilson_interval(1, 2, level=95)
