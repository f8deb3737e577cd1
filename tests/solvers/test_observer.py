"""Watching a loop, and ending it early."""

from __future__ import annotations

import pytest
import torch

from physode.rhs_state import Statistics
from physode.solvers.clock import rms_shared
from physode.solvers.driver import integrate
from physode.solvers.grid import grid_of_times, walk_grid
from physode.solvers.step_control import Adaptive, Controller
from physode.solvers.tableaus import METHODS
from physode.solvers.trace import SavePolicy
from physode.status import Status


class Log:
    """Notes every attempt and its verdict; ends the solve once a time is passed."""

    def __init__(self, stop: float = float("inf")) -> None:
        self.attempts: list[tuple[float, float]] = []
        self.verdicts: list[bool] = []
        self.stop = stop

    def before(self, t, y, h):
        self.attempts.append((float(t), float(h)))

    def after(self, record, accepted):
        self.verdicts.append(accepted)
        return bool(record.ends) and float(record.ends[-1]) >= self.stop


def falling(t, y):
    return -y


def adaptive(log, *, first_step=None):
    t0, t1, y0 = torch.tensor(0.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64), torch.ones(1)
    steps = Adaptive(METHODS["dopri5"], Controller(), rms_shared, 1e-5, 1e-7, first_step=first_step)
    return integrate(
        falling, steps, t0, t1, y0, falling(t0, y0), wanted=SavePolicy([]), statistics=Statistics(), observer=log
    )


def fixed(log):
    grid = grid_of_times(torch.linspace(0.0, 2.0, 9, dtype=torch.float64))
    return walk_grid(falling, METHODS["rk4"], grid, torch.ones(1), None, wanted=SavePolicy([]), observer=log)


def test_every_attempt_is_seen_with_its_verdict():
    log = Log()
    record = adaptive(log, first_step=1.9)
    assert sum(log.verdicts) == int(record.accepted) == len(record)
    assert len(log.verdicts) - sum(log.verdicts) == int(record.rejected) > 0
    assert log.attempts[0] == (0.0, 1.9)


@pytest.mark.parametrize("solve", [adaptive, fixed])
def test_an_observer_ends_a_solve_which_then_counts_as_successful(solve):
    record = solve(Log(stop=0.9))
    assert record.status == Status.SUCCESS
    assert 0.9 <= float(record.ended) == float(record.ends[-1]) < 2.0
    assert int(record.accepted) == len(record) == len(record.nodes) - 1


def test_the_record_tells_what_the_controller_would_have_tried_next():
    record = adaptive(Log(stop=0.5))
    assert float(record.proposed) > 0.0
