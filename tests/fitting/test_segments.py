"""Trajectories cut into segments: what is counted, and what hangs together."""

from __future__ import annotations

import pytest
import torch

from physode.fitting.data import FitData
from physode.fitting.schedule import Stage
from physode.fitting.segments import cut

TIMES, COLUMNS = 14, 2


def data_of(n: int, *, own_times: bool = False, steps: int = TIMES) -> FitData:
    """Values that tell their place: time, trajectory and column as decimal digits; the first state is given."""
    t = torch.arange(TIMES, dtype=torch.float64)
    places = 100 * t[:, None, None] + 10 * torch.arange(n)[:, None] + torch.arange(COLUMNS)
    y = places if n > 1 else places[:, 0]
    training = torch.ones_like(y, dtype=torch.bool)
    training[0] = training[steps:] = False
    training[5] = False  # missing
    if own_times:
        t = t[:, None] + 0.1 * torch.arange(n, dtype=torch.float64)
    weights = 1.0 + y
    return FitData(t=t, y0=y[0], y=y, training=training, beyond=~training, steps=steps, weights=weights)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("times", [3, TIMES])
def test_one_segment_is_the_trajectory(n, times):
    data = data_of(n)
    found = cut(data, Stage(1, times))
    assert torch.equal(found.y, data.y[:times])
    assert torch.equal(found.t, data.t[:times])
    assert torch.equal(found.counted, data.training[:times])
    assert (found.trajectories, found.starts, found.links) == (tuple(range(n)), (0,) * n, ())
    assert found.batched == (n > 1)


@pytest.mark.parametrize("own_times", [False, True])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("segments", [2, 3, 4, 5])
def test_segments_count_every_value_once(n, segments, own_times):
    data = data_of(n, own_times=own_times and n > 1)
    found = cut(data, Stage(1, TIMES, segments))
    assert torch.equal(found.y[found.counted].sort().values, data.y[data.training].sort().values)
    assert torch.equal(found.weights, 1.0 + found.y)
    t = data.t if data.t.ndim == 2 else data.t[:, None].expand(-1, n)
    for row, (trajectory, start) in enumerate(zip(found.trajectories, found.starts, strict=True)):
        assert torch.equal(found.t[:, row], t[start : start + len(found.t), trajectory])
        values = data.y[start : start + len(found.t)]
        assert torch.equal(found.y[:, row], values[:, trajectory] if n > 1 else values)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("segments", [2, 3, 4, 5])
def test_links_join_each_segment_with_the_next_at_its_beginning(n, segments):
    found = cut(data_of(n), Stage(1, TIMES, segments))
    rows = len(found.starts)
    assert [link.after for link in found.links] == [row for row in range(rows) if found.starts[row] > 0]
    for link in found.links:
        assert found.trajectories[link.before] == found.trajectories[link.after]
        assert torch.equal(found.y[link.index, link.before], found.y[0, link.after])
        assert torch.equal(found.t[link.index, link.before], found.t[0, link.after])


def test_segments_stay_within_the_training_span():
    found = cut(data_of(1, steps=9), Stage(1, 9, 2))
    assert found.t.max() == 8
    assert found.starts == (0, 4)
