"""Which stages a fit goes through."""

from __future__ import annotations

import pytest
import torch

from physode.fitting import FitConfig
from physode.fitting.data import FitData
from physode.fitting.schedule import Stage, stages


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
