"""Slopes, errors, forecasts and sums: the pure parts of the benchmarks."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.agreement import Bounds, Errors, disagreement, errors_of, relative_error
from benchmarks.costs import Cost, refusal, slope
from benchmarks.memory import available_bytes, highest_sum, peak_bytes
from benchmarks.peers import Counted
from benchmarks.task import Answer


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_slope_of_a_power_is_its_exponent(power):
    x = [1.0, 3.0, 10.0, 50.0]
    assert slope(x, [7.0 * value**power for value in x]) == pytest.approx(power, abs=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [([1.0], [1.0], "two points"), ([1.0, 2.0], [1.0], "two points"), ([1.0, 2.0], [0.0, 1.0], "positive"),
     ([2.0, 2.0], [1.0, 3.0], "different")],
)  # fmt: skip
def test_a_slope_that_is_not_defined_is_an_error(x, y, why):
    with pytest.raises(ValueError, match=why):
        slope(x, y)


def test_the_relative_error_is_that_of_the_euclidean_norm():
    right = torch.tensor([3.0, 4.0])
    assert relative_error(right + torch.tensor([0.0, 0.05]), right) == pytest.approx(0.01, rel=1e-5)
    assert relative_error(right, right.double()) == 0.0


@pytest.mark.parametrize("found", [torch.zeros(3), torch.tensor([math.nan, 1.0]), torch.tensor([math.inf, 1.0])])
def test_another_shape_and_no_number_are_infinitely_wrong(found):
    assert relative_error(found, torch.ones(2)) == math.inf


def test_errors_are_the_outputs_and_the_worst_gradient_s():
    one = torch.ones(4)
    errors = errors_of(Answer(1.1 * one, (one, 0.5 * one)), Answer(one, (one, one)))
    assert errors.outputs == pytest.approx(0.1, rel=1e-5)
    assert errors.gradients == pytest.approx(0.5)


def test_a_missing_gradient_is_infinitely_wrong():
    one = torch.ones(2)
    assert errors_of(Answer(one, ()), Answer(one, (one,))).gradients == math.inf


def test_answers_disagree_beyond_the_bounds_and_when_they_are_no_numbers():
    bounds = Bounds(1e-2, 1e-1)
    assert disagreement(Errors(1e-3, 1e-2), bounds) is None
    assert "outputs differ by 2.0e-02" in str(disagreement(Errors(2e-2, 0.0), bounds))
    assert "gradients differ by 2.0e-01" in str(disagreement(Errors(0.0, 0.2), bounds))
    assert disagreement(Errors(math.inf, 0.0), bounds) is not None


def test_a_run_is_refused_for_its_memory_or_its_time():
    cost = Cost(seconds=2.0, bytes=10**9).times(10)
    assert cost == Cost(20.0, 10**10)
    assert refusal(cost, longest=60.0, available=2 * 10**10) is None
    assert "10 GB of 12 GB" in str(refusal(cost, longest=60.0, available=12 * 10**9))
    assert "20 s" in str(refusal(cost, longest=10.0, available=2 * 10**10))


def test_the_highest_sum_is_the_peak_of_what_is_held():
    assert highest_sum([5, 3, -4, 2, -6]) == 8
    assert highest_sum([-5, 2]) == 0


@pytest.mark.slow
def test_the_peak_counts_what_autograd_saves():
    x = torch.ones(250_000, requires_grad=True)  # a megabyte

    def work() -> None:
        y = x
        for _ in range(5):
            y = y.sin()
        y.sum().backward()

    assert 5e6 <= peak_bytes(work) <= 9e6


def test_the_machine_has_memory():
    assert available_bytes() > 0


def test_a_counted_right_hand_side_counts_calls_rows_and_verdicts():
    f = Counted(torch.nn.Identity())
    f.f.forward = lambda t, y: -y
    assert torch.equal(f(torch.tensor(0.0), torch.ones(3, 2)), -torch.ones(3, 2))
    f(torch.tensor(0.0), torch.ones(2))
    f.callback_accept_step()
    f.callback_reject_step(1, 2)
    assert (f.calls, f.rows, f.accepted, f.rejected) == (2, 4, 1, 1)
