"""Reading outputs between steps."""

from __future__ import annotations

import pytest
import torch

from physode.solvers.grid import grid_of_step_size, grid_of_times
from physode.solvers.interpolation import interpolate, locate

pytestmark = pytest.mark.usefixtures("float64")

GRID = torch.tensor([0.0, 1.0, 1.5, 4.0], dtype=torch.float64)


def test_outputs_are_found_in_their_steps():
    location = locate(torch.tensor([0.0, 0.25, 1.0, 1.25, 4.0]), *grid_of_times(GRID))
    assert location.step.tolist() == [0, 0, 0, 1, 2]
    assert location.theta.tolist() == [0.0, 0.25, 1.0, 0.5, 1.0]


def test_outputs_are_found_when_time_falls():
    location = locate(torch.tensor([4.0, 2.75, 1.25, 0.0]), *grid_of_times(GRID.flip(0)))
    assert location.step.tolist() == [0, 0, 1, 2]
    assert location.theta.tolist() == [0.0, 0.5, 0.5, 1.0]


def test_steps_of_size_zero_hold_no_outputs():
    starts = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    ends = torch.tensor([[1.0, 0.0], [1.0, 2.0], [3.0, 3.0]])
    times = torch.tensor([[0.5, 0.5], [1.0, 2.5], [2.0, 3.0]])
    location = locate(times, starts, ends - starts, ends)
    assert location.step.tolist() == [[0, 1], [0, 2], [2, 2]]
    assert location.theta.tolist() == [[0.5, 0.25], [1.0, 0.5], [0.5, 1.0]]


def test_hermites_coefficients_reproduce_a_cubic():
    def cubic(t):
        return 1 + t - 2 * t**2 + 0.5 * t**3

    def slope(t):
        return 1 - 4 * t + 1.5 * t**2

    starts, sizes, ends = grid_of_times(GRID)
    change, first, last = cubic(ends) - cubic(starts), sizes * slope(starts), sizes * slope(ends)
    coefficients = torch.stack([change, first - change, 2 * change - first - last], 1)[..., None]
    times = torch.linspace(0, 4, 23)
    found = interpolate(locate(times, starts, sizes, ends), cubic(starts)[:, None], coefficients, cubic(ends)[:, None])
    assert torch.allclose(found[:, 0], cubic(times), atol=1e-13)


def test_steps_of_one_size_end_on_the_end():
    grid = grid_of_step_size(torch.tensor(0.0), torch.tensor(1.0), 0.3, 100)
    assert grid.ends.tolist() == pytest.approx([0.3, 0.6, 0.9, 1.0])
    assert float(grid.ends[-1]) == 1.0
    tenths = grid_of_step_size(torch.tensor(0.0), torch.tensor(1.0), 0.1, 100)
    assert len(tenths.starts) == 10  # not eleven, though ten times 0.1 rounds below 1


def test_steps_of_one_size_per_sample_stop_at_each_samples_end():
    grid = grid_of_step_size(torch.zeros(2), torch.tensor([1.0, -0.4]), 0.5, 100)
    assert grid.ends.tolist() == [[0.5, -0.4], [1.0, -0.4]]
    assert grid.sizes.tolist() == [[0.5, -0.4], [0.5, 0.0]]
