"""What a solve has found, as the :class:`~physode.solution.Solution` that users get, and its failures as errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.events.found import Events, EventTimes
from physode.gradients.first_order import held
from physode.gradients.steps import Outcome, StepTable
from physode.gradients.steps import Recorded as StepsTaken
from physode.packing import Packing
from physode.problem import Problem
from physode.recording import Recorded
from physode.solution import Solution, Stats
from physode.solvers.grid import Grid
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
    plans: Sequence[Any] = (),
    stored: bool = False,
) -> Solution:
    """Return the solution that users get; where its outputs were ``stored`` in a file it has none.

    ``plans``: what passes back from it need, see :func:`~physode.gradients.first_order.held`.
    """
    record, packing = outcome.record, problem.dynamics.packing
    ends = torch.cat([problem.t[:1].detach(), record.clock().ends.detach()])
    by_method = problem.tableau.attempts() if isinstance(problem.tableau, StepMethod) else {}
    forward_calls, backward = problem.dynamics.calls, problem.backward  # not the problem, which holds the state
    return Solution(
        t=t if isinstance(t, Tensor) else problem.t,
        y=None if stored else _holding(packing.unpack(outcome.outputs, leading=1), packing, plans),
        status=record.status,
        ended=record.ended,
        stats=Stats(record.accepted, record.rejected, forward_calls, backward, by_method),
        step_times=ends,
        recorded=recorded,
        _dense=_Reader.of(problem, outcome.table, plans) if problem.keep_dense else None,
        events=Events([_with_plans(one, packing, plans) for one in events]) if plans else events,
    )


def _holding(state: Any, packing: Packing, plans: Sequence[Any]) -> Any:
    """Return a state of which every part holds what its gradient needs."""
    return packing.like([held(part, plans) for part in packing.parts(state)])


def _with_plans(event: EventTimes, packing: Packing, plans: Sequence[Any]) -> EventTimes:
    return replace(event, t=held(event.t, plans), y=_holding(event.y, packing, plans))


@dataclass(frozen=True)
class _Reader:
    """Evaluates a table of steps at any time."""

    packing: Packing
    table: StepTable | None
    per_sample: bool
    ends: Tensor
    start: Tensor
    plans: tuple[Any, ...]

    @classmethod
    def of(cls, problem: Problem, table: StepTable | None, plans: Sequence[Any]) -> _Reader:
        ends, start = problem.t.detach()[[0, -1]], problem.y0.detach()
        return cls(problem.dynamics.packing, table, problem.per_sample, ends, start, tuple(plans))

    def __getstate__(self) -> dict[str, Any]:
        table = None if self.table is None else StepTable(*(_detached(part) for part in self.table))
        return {**vars(self), "table": table, "plans": ()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    def __call__(self, t: Any) -> Any:
        t = self._checked(t)
        times = t.reshape(1) if t.ndim == 0 else t
        if self.per_sample and times.ndim == 1:
            times = times[:, None].expand(-1, self.ends.shape[1])
        low, high = self.ends.amin(0), self.ends.amax(0)
        outside = (times.detach() < low) | (times.detach() > high) | torch.isnan(times.detach())
        if bool(outside.any()):
            raise ValueError(
                f"`t` must lie inside the solved span from {float(low.min()):g} to {float(high.max()):g}, "
                f"got {float(times.detach()[outside][0]):g}"
            )
        values = self.packing.parts(self.packing.unpack(self._read(times), leading=1))
        return self.packing.like([held(part if t.ndim else part[0], self.plans) for part in values])

    def _checked(self, t: Any) -> Tensor:
        """Return times in float64 beside the solution."""
        try:
            times = t if isinstance(t, Tensor) else torch.as_tensor(t, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"`t` must be a time, or a tensor or sequence of times, got {type(t).__name__}") from None
        if times.is_complex() or times.dtype == torch.bool:
            raise ValueError(f"`t` must be real, got {times.dtype}")
        batch = self.ends.shape[1] if self.per_sample else None
        if times.ndim > 1 and (batch is None or times.ndim > 2 or times.shape[1] != batch):
            allowed = "() or (time,)" if batch is None else f"(), (time,) or (time, batch={batch})"
            raise ValueError(f"`t` must have the shape {allowed}, got {tuple(times.shape)}")
        return times.to(device=self.ends.device, dtype=torch.float64)

    def _read(self, times: Tensor) -> Tensor:
        """Return packed states; where no step was taken, the start is all that is known."""
        if self.table is not None:
            return self.table.read(times)
        known = expand(times == self.ends[0], self.start.ndim + 1)
        return torch.where(known, self.start, torch.nan)


def _detached(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.detach()
    return Grid(*(each.detach() for each in part)) if isinstance(part, Grid) else part


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
