"""Outputs of solves with events in files, written as pieces end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import physode as po
from physode.datasets import read_trajectories

pytestmark = pytest.mark.usefixtures("float64")

G = 9.81


def fall(t, y):
    return torch.stack([y[..., 1], torch.full_like(y[..., 1], -G)], -1)


def bounced(t, y):
    return torch.stack([y[..., 0], -0.8 * y[..., 1]], -1)


FLOOR = po.Event(lambda t, y: y[..., 0], direction=-1, jump=bounced)
LAST = po.Event(lambda t, y: y[..., 0], direction=-1, jump=bounced, max_count=2)
DROPS = torch.tensor([[1.0, 0.0], [0.3, 0.0], [0.2, 0.0]])


@pytest.mark.parametrize(
    ("options", "events"),
    [({}, FLOOR), ({}, LAST), ({"method": "rk4", "step_size": 0.03}, FLOOR)],
    ids=["goes on", "ends", "goes on in fixed steps"],
)
@pytest.mark.parametrize(("y0", "control"), [(DROPS[0], "shared"), (DROPS, "per-sample")])
def test_a_file_holds_the_outputs_that_memory_would(tmp_path, options, y0, control, events):
    times = torch.linspace(0, 1.5, 1001)
    options = {"events": events, "step_control": control, "jump_t": [0.9], "throw": False, **options}
    sol = po.solve(fall, y0, times, sink=tmp_path / "y.h5", **options)
    kept = po.solve(fall, y0, times, **options)
    data = read_trajectories(tmp_path / "y.h5")
    expected = (kept.y[:, None] if control == "shared" else kept.y).swapaxes(0, 1)
    np.testing.assert_array_equal(data.y, expected.numpy())
    np.testing.assert_array_equal(np.atleast_1d(data.attrs["status"]), kept.status.reshape(-1).numpy())
    np.testing.assert_array_equal(np.atleast_1d(data.attrs["ended"]), kept.ended.reshape(-1).numpy())
    assert sol.y is None
    assert torch.equal(sol.events[0].t, kept.events[0].t)
    assert torch.equal(sol.events[0].y, kept.events[0].y)


def test_samples_with_times_of_their_own_that_stop_at_once_or_later(tmp_path):
    ends = torch.tensor([1.5, 1e-3, 1.5])
    times = torch.linspace(0, 1, 301)[:, None] * ends
    y0 = torch.tensor([[1.0, 0.0], [0.3, 0.0], [1e-9, -1.0]])
    options = {"events": po.Event(FLOOR.condition, terminal=True), "step_control": "per-sample"}
    po.solve(fall, y0, times, sink=tmp_path / "y.h5", **options)
    kept = po.solve(fall, y0, times, **options)
    np.testing.assert_array_equal(read_trajectories(tmp_path / "y.h5").y, kept.y.swapaxes(0, 1).numpy())
    assert kept.y[1:, 2].isnan().all()


def test_a_solve_that_is_stopped_leaves_nan_behind_it(tmp_path):
    times = torch.linspace(0, 1.5, 101)
    options = {"events": FLOOR, "monitor": lambda moment: moment.t >= 0.6, "throw": False}
    sol = po.solve(fall, DROPS[0], times, sink=tmp_path / "y.h5", **options)
    kept = po.solve(fall, DROPS[0], times, **options)
    assert sol.status == po.Status.STOPPED
    np.testing.assert_array_equal(read_trajectories(tmp_path / "y.h5").y[0], kept.y.numpy())


def test_an_interrupted_solve_leaves_the_pieces_before(tmp_path):
    def interrupt(moment):
        if moment.t > 0.6:
            raise KeyboardInterrupt

    times = torch.linspace(0, 1.5, 101)
    with pytest.raises(KeyboardInterrupt):
        po.solve(fall, DROPS[0], times, sink=tmp_path / "y.h5", events=FLOOR, monitor=interrupt)
    data = read_trajectories(tmp_path / "y.h5")
    assert data.attrs["interrupted"]
    written = ~np.isnan(data.y[0, :, 0])
    np.testing.assert_array_equal(written, times.numpy() <= np.sqrt(2 / G))


def test_gradients_and_a_file_are_not_asked_for_together(tmp_path):
    with pytest.raises(ValueError, match="`sink` keeps no outputs to differentiate"):
        po.solve(fall, DROPS[0].clone().requires_grad_(), [0.0, 1.0], sink=tmp_path / "y.h5", events=FLOOR)
