from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from physode.errors import ConfigError
from physode.models import cut, time_step


def grid(points, step=0.1, start=2.0):
    return start + step * torch.arange(points, dtype=torch.float64)


def test_sequences_follow_one_another_without_overlap(rng):
    y = torch.from_numpy(rng.normal(size=(12, 3)))
    assert torch.equal(cut(y, 4), torch.stack((y[:4], y[4:8], y[8:])))


def test_trajectories_are_cut_one_after_another(rng):
    y = torch.from_numpy(rng.normal(size=(7, 2, 3)))
    assert torch.equal(cut(y, 3), torch.stack((y[:3, 0], y[3:6, 0], y[:3, 1], y[3:6, 1])))


@pytest.mark.parametrize(("points", "said"), [(11, ["the last 2 of 11 points fill no sequence of 3"]), (12, [])])
def test_points_left_over_are_left_out_and_said(caplog, points, said):
    y = torch.arange(3.0 * points).reshape(points, 3)
    with caplog.at_level(logging.INFO, logger="physode"):
        assert len(cut(y, 3)) == points // 3
    assert [record.getMessage().partition(" and are")[0] for record in caplog.records] == said


@pytest.mark.parametrize("length", [-1, 0, 1, 6])
def test_a_length_that_cannot_be_cut_is_refused(length):
    with pytest.raises(ConfigError, match=f"at most the 5 points to train on, got {length}; choose shorter"):
        cut(torch.zeros(5, 3), length)


def test_missing_values_are_refused_with_a_remedy():
    y = torch.zeros(10, 2, 3)
    y[4, 1, 2] = torch.nan
    with pytest.raises(ConfigError, match=r"equally spaced points without gaps; point 4 .*rhs='augmented'"):
        cut(y, 5)


@pytest.mark.parametrize("step", [0.1, -0.1, 1e-9, 3e7])
def test_the_step_of_equally_spaced_times_is_found_forwards_and_backwards(step):
    assert time_step(grid(1000, step, start=0.0)) == pytest.approx(step, rel=1e-12)


def test_times_printed_with_few_digits_are_equally_spaced():
    assert time_step(torch.from_numpy(np.round(np.linspace(0, 1, 301), 5))) == pytest.approx(1 / 300)


def test_trajectories_may_begin_at_different_times_but_share_the_step():
    t = torch.stack((grid(9), grid(9, start=5.0)), 1)
    assert time_step(t) == pytest.approx(0.1)
    with pytest.raises(ConfigError, match=r"point 1 at t=5.2 is not 1 steps of 0.1 after t=5"):
        time_step(torch.stack((grid(9), grid(9, 0.2, start=5.0)), 1))


@pytest.mark.parametrize(
    "t",
    [
        torch.cat((grid(5), grid(9)[6:])),
        grid(9) ** 2,
        torch.cat((grid(9)[:3], grid(9)[2:])),
        grid(9)[[0, 2, 1, 3, 4]],
        torch.where(torch.arange(9) == 4, torch.nan, grid(9)),
        torch.full((9,), torch.nan),
        torch.ones(9),
    ],
    ids=["a missing point", "growing steps", "a point twice", "out of order", "a missing time", "no times", "one time"],
)
def test_uneven_times_are_refused_with_a_remedy(t):
    with pytest.raises(ConfigError, match=r"an LSTM needs equally spaced points: point \d .*rhs='augmented'"):
        time_step(t)
    with pytest.raises(ConfigError, match="equally spaced"):
        cut(torch.zeros(len(t), 3), 2, t=t)


def test_one_point_has_no_step():
    with pytest.raises(ConfigError, match="at least 2 of them, got 1"):
        time_step(grid(1))
