"""Calling a dense solution with what is no time of it: one line that says what is allowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import physode as po

pytestmark = pytest.mark.usefixtures("float64")


def decaying(batch=None, **options):
    y0 = torch.ones(2) if batch is None else torch.ones(batch, 2)
    control = "shared" if batch is None else "per-sample"
    return po.solve(lambda t, y: -y, y0, [0.0, 1.0], dense=True, step_control=control, **options)


WRONG = [
    ("now", TypeError, "`t` must be a time, or a tensor or sequence of times, got str"),
    (None, TypeError, "`t` must be a time, or a tensor or sequence of times, got NoneType"),
    ([0.1, "x"], TypeError, "`t` must be a time.*got list"),
    ([[0.1], [0.2, 0.3]], TypeError, "`t` must be a time.*got list"),
    ({"t": 0.1}, TypeError, "`t` must be a time.*got dict"),
    (0.5 + 0.1j, (TypeError, ValueError), "`t` must be"),
    (torch.tensor(0.5 + 0.1j), ValueError, "`t` must be real, got torch.complex"),
    (torch.tensor([True, False]), ValueError, "`t` must be real, got torch.bool"),
    (torch.zeros(2, 2), ValueError, r"`t` must have the shape \(\) or \(time,\), got \(2, 2\)"),
    (torch.zeros(1, 1, 1), ValueError, r"`t` must have the shape \(\) or \(time,\), got \(1, 1, 1\)"),
    (1.5, ValueError, "inside the solved span from 0 to 1, got 1.5"),
    (-1e-3, ValueError, "inside the solved span from 0 to 1, got -0.001"),
    (float("nan"), ValueError, "inside the solved span from 0 to 1, got nan"),
    (float("inf"), ValueError, "inside the solved span from 0 to 1, got inf"),
]


@pytest.mark.parametrize(("t", "error", "message"), WRONG)
def test_what_is_no_time_of_the_solution_is_named_in_one_line(t, error, message):
    with pytest.raises(error, match=message) as raised:
        decaying()(t)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("shape", [(2, 2), (2, 1), (4, 3, 2), (2, 4)])
def test_times_of_samples_have_their_axis(shape):
    with pytest.raises(ValueError, match=r"`t` must have the shape \(\), \(time,\) or \(time, batch=3\), got"):
        decaying(batch=3)(torch.full(shape, 0.5))


@pytest.mark.parametrize("t", [[0.25, 0.5], (0.25, 0.5), np.array([0.25, 0.5]), torch.tensor([0.25, 0.5]).float()])
def test_times_in_any_form_are_read(t):
    expected = torch.exp(-torch.tensor([0.25, 0.5]))[:, None].expand(2, 2)
    torch.testing.assert_close(decaying()(t), expected, rtol=1e-5, atol=0.0)
    assert decaying(batch=3)(t).shape == (2, 3, 2)


def test_whole_numbers_and_no_times_at_all_are_times():
    torch.testing.assert_close(decaying()(1), torch.exp(-torch.ones(2)), rtol=1e-5, atol=0.0)
    assert decaying()(torch.zeros(0)).shape == (0, 2)
    assert decaying()(torch.tensor([0, 1])).shape == (2, 2)
    assert decaying(batch=3)(torch.full((4, 3), 0.5)).shape == (4, 3, 2)


def test_a_solve_that_failed_at_its_start_is_known_there_alone():
    sol = po.solve(lambda t, y: y * torch.nan, torch.ones(2), [0.0, 1.0], dense=True, throw=False)
    assert torch.equal(sol(0.0), torch.ones(2))
    assert bool(sol(0.5).isnan().all())


def test_the_derivative_in_time_is_kept():
    t = torch.tensor(0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(decaying(rtol=1e-9, atol=1e-11)(t).sum(), t)
    assert float(slope) == pytest.approx(-2 * float(torch.exp(torch.tensor(-0.5))), rel=1e-5)
