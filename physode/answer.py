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
from physode.solvers.groups import expand
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
        _dense=_Reader(problem, outcome.table) if problem.keep_dense else None,
        events=events,
    )


class _Reader:
    """Evaluates a table of steps at any time."""

    def __init__(self, problem: Problem, table: StepTable | None) -> None:
        self._packing, self._table, self._per_sample = problem.dynamics.packing, table, problem.per_sample
        self._ends, self._start = problem.t.detach()[[0, -1]], problem.y0.detach()

    def __call__(self, t: Any) -> Any:
        t = self._checked(t)
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
        values = self._packing.unpack(self._read(times), leading=1)
        if t.ndim:
            return values
        return self._packing.like([part[0] for part in self._packing_parts(values)])

    def _checked(self, t: Any) -> Tensor:
        """Return times in float64 beside the solution."""
        try:
            times = t if isinstance(t, Tensor) else torch.as_tensor(t, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"`t` must be a time, or a tensor or sequence of times, got {type(t).__name__}") from None
        if times.is_complex() or times.dtype == torch.bool:
            raise ValueError(f"`t` must be real, got {times.dtype}")
        batch = self._ends.shape[1] if self._per_sample else None
        if times.ndim > 1 and (batch is None or times.ndim > 2 or times.shape[1] != batch):
            allowed = "() or (time,)" if batch is None else f"(), (time,) or (time, batch={batch})"
            raise ValueError(f"`t` must have the shape {allowed}, got {tuple(times.shape)}")
        return times.to(device=self._ends.device, dtype=torch.float64)

    def _read(self, times: Tensor) -> Tensor:
        """Return packed states; where no step was taken, the start is all that is known."""
        if self._table is not None:
            return self._table.read(times)
        known = expand(times == self._ends[0], self._start.ndim + 1)
        return torch.where(known, self._start, torch.nan)

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
