"""Sorting of observations and wanted times, against loops over lists."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physode.models.flow import _own_clocks
from physode.models.observations import Points, Times, compact, latest

pytestmark = pytest.mark.usefixtures("float64")

GRID = [0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 3.0]  # few, so that times meet, and exact in binary


@st.composite
def ragged(draw, *, batch=None, channels=2, least=0):
    """Times and masks of a few series; unused places hold any time, even no number, between the others."""
    batch, places = draw(st.integers(1, 4)) if batch is None else batch, draw(st.integers(1, 6))
    t = torch.empty(batch, places)
    used = torch.zeros(batch, places, dtype=torch.bool)
    for row in range(batch):
        count = draw(st.integers(min(least, places), places))
        chosen = sorted(draw(st.permutations(range(places)))[:count])
        times = sorted(draw(st.permutations(GRID))[:count])
        junk = draw(st.lists(st.sampled_from([-7.0, 0.3, 99.0, math.nan]), min_size=places, max_size=places))
        t[row] = torch.tensor(junk)
        t[row, chosen] = torch.tensor(times)
        used[row, chosen] = True
    mask = used[..., None].expand(-1, -1, channels).clone()
    for place in used.nonzero().tolist():
        mask[(*place, draw(st.integers(0, channels - 1)))] = draw(st.booleans())
    mask[..., 0] |= used & ~mask.any(-1)
    x = torch.arange(1.0, batch * places * channels + 1).reshape(batch, places, channels)
    return Points(t, torch.where(mask, x, 0.0), mask)


def observations(points):
    """A list for each series: (time, values, mask) of the places used."""
    return [
        [(float(t), x.tolist(), m.tolist()) for t, x, m in zip(*row, strict=True) if bool(m.any())]
        for row in zip(*points, strict=True)
    ]


@given(ragged())
def test_compact_keeps_what_is_observed_in_its_order_and_no_place_that_no_series_needs(points):
    found = compact(points)
    assert observations(found) == observations(points)
    lengths = [len(row) for row in observations(points)]
    assert found.t.shape[1] == max(lengths)
    for row, length in enumerate(lengths):
        assert bool(found.used[row, :length].all())
        if length:
            assert bool((found.t[row, length:] == found.t[row, length - 1]).all())


@given(ragged(), st.randoms(use_true_random=False))
def test_where_leaves_out_what_is_not_chosen(points, random):
    chosen = torch.tensor([[random.random() < 0.5 for _ in row] for row in points.t])
    expected = [
        [(float(t), x.tolist(), m.tolist()) for t, x, m, c in zip(*row, strict=True) if bool(m.any() and c)]
        for row in zip(*points, chosen, strict=True)
    ]
    assert observations(points.where(chosen)) == expected


@given(ragged(), st.data())
def test_latest_counts_what_is_observed_strictly_before_a_wanted_time(points, data):
    observed = compact(points)
    wanted = data.draw(ragged(batch=len(observed.t)), label="wanted").times
    count, gap = latest(observed, wanted)
    for row in range(len(observed.t)):
        times = [float(t) for t, used in zip(observed.t[row], observed.used[row], strict=True) if bool(used)]
        for place in wanted.used[row].nonzero()[:, 0].tolist():
            now = float(wanted.t[row, place])
            before = [t for t in times if t < now]
            assert int(count[row, place]) == len(before)
            assert float(gap[row, place]) == (now - before[-1] if before else 0.0)


@given(ragged(least=1))
def test_own_clocks_rise_strictly_from_0_and_hold_every_wanted_time_and_end_at_the_last(points):
    times = points.times
    clock, places = _own_clocks(times)
    assert clock.shape[1] == len(times.t)
    assert bool((clock[0] == 0).all())
    assert bool((clock.diff(dim=0) > 0).all())
    later = [
        [float(t) for t, used in zip(*row, strict=True) if bool(used) and t > 0] for row in zip(*times, strict=True)
    ]
    assert len(clock) == 1 + max(len(row) for row in later)
    for row, wanted in enumerate(later):
        for column in times.used[row].nonzero()[:, 0].tolist():
            assert float(clock[places[row, column], row]) == float(times.t[row, column])
        if wanted and len(clock) > 1:
            assert float(clock[-1, row]) == wanted[-1]


@pytest.mark.parametrize("pair", [(0.5, math.nextafter(0.5, 1.0)), (1e-300, 1.0), (1e-12, 1e12)])
def test_clocks_have_room_beside_a_sample_of_many_times_however_close_a_sample_s_own_are(pair):
    t = torch.zeros(2, 200, dtype=torch.float64)
    t[0] = torch.linspace(0.01, 1.0, 200)
    t[1, :2] = torch.tensor(pair)
    used = torch.ones_like(t, dtype=torch.bool)
    used[1, 2:] = False
    clock, places = _own_clocks(Times(t, used))
    assert bool((clock.diff(dim=0) > 0).all())
    assert tuple(clock[places[1, :2], 1].tolist()) == pair


def test_nothing_wanted_after_the_beginning_needs_no_clock():
    clock, places = _own_clocks(Times(torch.tensor([[0.0, 5.0]]), torch.tensor([[True, False]])))
    assert clock.tolist() == [[0.0]]
    assert places.tolist() == [[0, 0]]
