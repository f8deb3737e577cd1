"""How often intervals and bands contain the truth, over a few simulated data sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cases.coverage import STUDIES, cover

pytestmark = pytest.mark.slow

SETS = 40


@pytest.mark.parametrize("study", STUDIES[:2], ids=lambda study: study.name)
def test_intervals_and_bands_contain_the_truth_as_often_as_they_say(study):
    coverage = cover(study, SETS, seed=1)
    assert coverage.arrived == SETS
    assert set(coverage.constants) == set(study.truth)
    # Of 40 right intervals fewer than 33 contain the truth once in 2,500 times.
    assert min(coverage.constants.values()) >= 33 / SETS
    assert np.mean(list(coverage.constants.values())) == pytest.approx(0.95, abs=0.05)
    assert coverage.mean.mean() == pytest.approx(0.95, abs=0.05)
    assert coverage.new.mean() == pytest.approx(0.95, abs=0.02)
    assert coverage.mean.shape == coverage.new.shape == coverage.times.shape


def test_noise_that_is_larger_than_declared_is_noticed():
    epidemic = STUDIES[1]
    loud = replace(epidemic, draw=lambda rng, curve: rng.normal(curve, 3 * np.sqrt(1 + curve)))
    coverage = cover(loud, 20)
    # Three times the spread: intervals of 1.96 spreads contain the truth as often as 0.65 normal deviations do, 49 %.
    assert np.mean(list(coverage.constants.values())) < 0.75
    assert coverage.new.mean() < 0.6
