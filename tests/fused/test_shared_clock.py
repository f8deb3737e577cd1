"""Batches whose samples share their steps: the largest error of all decides."""

from __future__ import annotations

import pytest
import torch

from tests.fused.same import Swing, assert_same

pytestmark = pytest.mark.usefixtures("float64")

TIMES = torch.linspace(0.0, 2.0, 5, dtype=torch.float64)


@pytest.mark.parametrize("sample", [0, 3, 8, 9])
def test_an_attempt_in_which_one_sample_is_no_number_is_rejected_whichever_it_is(sample):
    y0 = torch.linspace(-1.0, 0.0, 10).unsqueeze(1).repeat(1, 2)
    y0[sample] = 0.97
    options = {"method": "bosh3", "rtol": 1e-4, "atol": 1e-5, "first_step": 1.5}
    sol = assert_same(lambda t, y: torch.sqrt(1.0 - y), y0, TIMES[:2] * 0.68, **options)
    assert int(sol.stats.rejected) > 0


@pytest.mark.slow
def test_two_error_estimates_are_each_the_largest_of_all_samples():
    y0 = torch.randn(11, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sol = assert_same(Swing(), y0, TIMES, args=(torch.tensor(0.05),), method="dopri8", rtol=1e-7, atol=1e-9, clock=1e-6)
    assert int(sol.stats.rejected) > 0
