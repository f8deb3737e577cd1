"""Which stages a fit goes through, and the segments that each compares."""

from __future__ import annotations

import pytest
import torch

from physode.fitting import FitConfig
from physode.fitting.data import FitData
from physode.fitting.multiple_shooting import Stage, cut, stages


def data_of(steps: int, *, columns: int = 2, missing: slice | None = None) -> FitData:
    """Zeros at `steps` times of training and ten beyond, the first of them given."""
    t = torch.arange(steps + 10, dtype=torch.float64)
    y = torch.zeros(steps + 10, columns, dtype=torch.float64)
    training = torch.ones_like(y, dtype=torch.bool)
    training[steps:] = training[0] = False
    if missing is not None:
        training[missing] = False
    return FitData(t=t, y0=y[0], y=y, training=training, beyond=~training, steps=steps)


def stages_of(schedule: str, data: FitData, *, unknowns: int = 2, count: int = 5) -> tuple[Stage, ...]:
    return stages(FitConfig(schedule=schedule, stages=None if schedule == "full" else count).completed(), data,
                  unknowns=unknowns)  # fmt: skip


@pytest.mark.parametrize("schedule", ["growing", "matching"])
def test_spans_double(schedule):
    found = stages_of(schedule, data_of(161))
    assert [stage.times - 1 for stage in found] == [10, 20, 40, 80, 160]
    assert {stage.segments for stage in found} == {1}


def test_segments_halve():
    found = stages_of("shooting", data_of(161))
    assert [stage.segments for stage in found] == [16, 8, 4, 2, 1]
    assert {stage.times for stage in found} == {161}


def test_segments_have_four_intervals_at_least():
    assert [stage.segments for stage in stages_of("shooting", data_of(18))] == [4, 2, 1]
    assert [stage.segments for stage in stages_of("shooting", data_of(4))] == [1]


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 50, 161])
@pytest.mark.parametrize("schedule", ["full", "growing", "shooting", "matching"])
def test_the_last_stage_is_the_whole_training_span(schedule, steps):
    *others, last = stages_of(schedule, data_of(steps))
    assert (last.times, last.segments, last.last) == (steps, 1, True)
    assert not any(stage.last for stage in others)
    assert [stage.number for stage in (*others, last)] == list(range(1, len(others) + 2))


@pytest.mark.parametrize("unknowns", [1, 4, 9, 30])
def test_no_stage_but_the_last_has_fewer_values_than_unknowns_and_one(unknowns):
    data = data_of(33, missing=slice(3, 8))
    *others, _ = stages_of("growing", data, unknowns=unknowns)
    assert all(int(data.training[: stage.times].sum()) >= unknowns + 1 for stage in others)
    assert len({stage.times for stage in others}) == len(others)


def test_data_too_few_for_the_unknowns_are_looked_at_once():
    assert [stage.times for stage in stages_of("growing", data_of(8), unknowns=100)] == [8]


TIMES, COLUMNS = 14, 2


def labelled_data(n: int, *, own_times: bool = False, steps: int = TIMES) -> FitData:
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
    data = labelled_data(n)
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
    data = labelled_data(n, own_times=own_times and n > 1)
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
    found = cut(labelled_data(n), Stage(1, TIMES, segments))
    rows = len(found.starts)
    assert [link.after for link in found.links] == [row for row in range(rows) if found.starts[row] > 0]
    for link in found.links:
        assert found.trajectories[link.before] == found.trajectories[link.after]
        assert torch.equal(found.y[link.index, link.before], found.y[0, link.after])
        assert torch.equal(found.t[link.index, link.before], found.t[0, link.after])


def test_segments_stay_within_the_training_span():
    found = cut(labelled_data(1, steps=9), Stage(1, 9, 2))
    assert found.t.max() == 8
    assert found.starts == (0, 4)
