"""What a solve has found, as the :class:`~physode.solution.Solution` that users get, and its failures as errors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.events.found import Events
from physode.gradients.steps import Outcome, StepTable
from physode.gradients.steps import Recorded as StepsTaken
from physode.problem import Problem
from physode.recording import Recorded
from physode.solution import Solution, Stats
from physode.solvers.method import StepMethod
from physode.status import Status, failed

__all__ = ["answer", "raise_failures"]


def answer(
    t: Any,
    problem: Problem,
    outcome: Outcome,
    events: Events,
    recorded: dict[str, Recorded],
    *,
    stored: bool = False,
) -> Solution:
    """Return the solution that users get; where its outputs were ``stored`` in a file it has none."""
    record, packing = outcome.record, problem.dynamics.packing
    ends = torch.cat([problem.t[:1].detach(), record.clock().ends.detach()])
    by_method = problem.tableau.attempts() if isinstance(problem.tableau, StepMethod) else {}
    forward_calls, backward = problem.dynamics.calls, problem.backward  # not the problem, which holds the state
    return Solution(
        t=t if isinstance(t, Tensor) else problem.t,
        y=None if stored else packing.unpack(outcome.outputs, leading=1),
        status=record.status,
        ended=record.ended,
        stats=Stats(record.accepted, record.rejected, forward_calls, lambda: backward.calls, by_method),
        step_times=ends,
        recorded=recorded,
        _dense=None if outcome.table is None else _Reader(problem, outcome.table),
        events=events,
    )


class _Reader:
    """Evaluates a table of steps at any time."""

    def __init__(self, problem: Problem, table: StepTable) -> None:
        self._packing, self._table, self._per_sample = problem.dynamics.packing, table, problem.per_sample
        self._ends = problem.t.detach()[[0, -1]]

    def __call__(self, t: Tensor) -> Any:
        times = t.reshape(1) if t.ndim == 0 else t
        if self._per_sample and times.ndim == 1:
            times = times[:, None].expand(-1, self._ends.shape[1])
        low, high = self._ends.amin(0), self._ends.amax(0)
        outside = (times.detach() < low) | (times.detach() > high) | torch.isnan(times.detach())
        if bool(outside.any()):
            raise ValueError(
                f"`t` must lie inside the solved span from {float(low.min()):g} to {float(high.max()):g}, "
                f"got {float(times.detach()[outside][0]):g}"
            )
        values = self._packing.unpack(self._table.read(times), leading=1)
        if t.ndim:
            return values
        return self._packing.like([part[0] for part in self._packing_parts(values)])

    def _packing_parts(self, values: Any) -> list[Tensor]:
        return [values] if self._packing.keys is None else [values[key] for key in self._packing.keys]


def raise_failures(record: StepsTaken, solution: Solution | None = None) -> None:
    """Raise :class:`SolveError` if any group of the record failed; it carries the ``solution``."""
    status, ended = record.status.reshape(-1), record.ended.reshape(-1)
    bad = failed(status).nonzero().flatten().tolist()
    if not bad:
        return
    first = bad[0]
    reason = Status(int(status[first])).reason
    if record.status.ndim == 0:
        raise SolveError(f"the solve stopped at t = {float(ended[first]):.9g}: {reason}", solution)
    others = f" ({len(bad)} of {len(status)} samples failed)" if len(bad) > 1 else ""
    raise SolveError(
        f"sample {first} stopped at t = {float(ended[first]):.9g}: {reason}{others}; "
        "throw=False returns the other samples and a status for each",
        solution,
    )
