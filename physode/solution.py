"""What a solve returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.autograd import held
from physode.errors import SolveError
from physode.events.event import NO_EVENTS, Events, EventTimes
from physode.gradients.outputs import Outcome, StepRecord, Table
from physode.problem.dynamics import Calls
from physode.problem.packing import Packing, as_times
from physode.problem.problem import Problem
from physode.solvers.clock import expand
from physode.solvers.method import StepMethod
from physode.solvers.recorder import Recorded
from physode.status import Status
from physode.summary import Described, Summary, frame

__all__ = ["KnownTimes", "Solution", "Stats", "answer", "raise_failures"]

_MOST_FAILURES = 5  # that are named


@dataclass(frozen=True, repr=False)
class Stats(Described):
    """The work of a solve.

    Attributes
    ----------
    accepted, rejected
        Steps and rejected attempts: ``()`` with shared steps, ``(batch,)`` with per-sample steps.
    attempts
        Their sum.
    rhs_forward
        Calls of the right-hand side during the solve.
    fused
        Whether the solve was one kernel (docs/fused.md).
    unfused
        Why it was not, where that was wanted and cannot be; else empty.
    by_method
        With ``method="auto"``, the attempts made by each method, of all samples together; else empty.
    """

    accepted: Tensor
    rejected: Tensor
    rhs_forward: int
    _backward: Calls
    by_method: Mapping[str, int] = field(default_factory=dict)
    fused: bool = False
    unfused: str = ""

    @property
    def attempts(self) -> Tensor:
        """Accepted and rejected steps together."""
        return self.accepted + self.rejected

    @property
    def rhs_backward(self) -> int:
        """Calls of the right-hand side in backward passes so far (a batched replay counts once)."""
        return self._backward.count

    @property
    def summary(self) -> Summary:
        """The numbers in words."""
        facts = {
            "steps": _counted(self.accepted),
            "rejected": _counted(self.rejected),
            "evaluations": f"{self.rhs_forward} forward, {self.rhs_backward} backward",
            **{f"steps of {name}": str(count) for name, count in self.by_method.items()},
            **({"one kernel": "yes"} if self.fused else {"no kernel": self.unfused} if self.unfused else {}),
        }
        return Summary("Stats of a solve", facts)


@dataclass(frozen=True, repr=False)
class Solution(Described):
    """The solution of an initial value problem.

    Attributes
    ----------
    t
        The output times as given.
    y
        The states there, ``(time, *y0.shape)``, in the structure of ``y0``; NaN where a solve or sample had failed or
        ended. None where they went to a file (``sink``): :func:`physode.datasets.read_trajectories` reads them.
    status
        :class:`physode.Status` codes, int8: ``()`` with shared steps, ``(batch,)`` with per-sample steps.
    ended
        The time at which each solve or sample ended, float64.
    stats
        The work done.
    recorded
        What ``record`` asked for, by name: ``t`` and ``values``, one row a step.
    events
        Of each event its times, states and samples (:class:`~physode.events.event.EventTimes`), by place or by name.
    """

    t: Tensor
    y: Any
    status: Tensor
    ended: Tensor
    stats: Stats
    _step_times: Callable[[], Tensor]
    recorded: Mapping[str, Recorded] = field(default_factory=dict)
    _dense: Callable[[Any], Any] | None = None
    events: Events = NO_EVENTS

    def __getstate__(self) -> dict[str, Any]:
        """Return what is kept of a solution in a file or handed to another process: all but its graph."""
        kept = {each.name: _without_graph(getattr(self, each.name)) for each in fields(self)}
        return kept | {"_step_times": KnownTimes(self.step_times)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    @property
    def step_times(self) -> Tensor:
        """The accepted steps' ends, starting with the first time, ``(steps + 1, *groups)``."""
        return self._step_times()

    @property
    def success(self) -> bool:
        """Whether every sample reached the end time, or the event that was to end it."""
        return not bool(_failed(self.status).any())

    @property
    def failures(self) -> dict[int, tuple[Status, float]]:
        """Status and time of each failed sample (sample 0 stands for the whole with shared steps)."""
        codes, times = self.status.reshape(-1).tolist(), self.ended.reshape(-1).tolist()
        rows = enumerate(zip(codes, times, strict=True))
        return {i: (Status(code), time) for i, (code, time) in rows if _failed(code)}

    @property
    def summary(self) -> Summary:
        """Shape, span, status, and the work done."""
        times, parts = torch.as_tensor(self.t), [] if self.y is None else list(_labelled(self.y, "y"))
        ends = times.reshape(len(times), -1)[[0, -1], 0].tolist()
        shapes = ", ".join(f"{label} {tuple(part.shape)}" for label, part in parts) or "outputs in a file"
        failures = [f"{_sample(i, self.status)}{code.reason}, t = {at:.6g}" for i, (code, at) in self.failures.items()]
        title = f"Solution at {len(times)} times from {ends[0]:.6g} to {ends[1]:.6g}: {shapes}"
        facts = {"status": "success" if not failures else f"{len(failures)} failed", **self.stats.summary.facts}
        more = [f"... {len(failures) - _MOST_FAILURES} more"] if len(failures) > _MOST_FAILURES else []
        return Summary(title, facts, notes=(*failures[:_MOST_FAILURES], *more))

    def to_frame(self) -> Any:
        """Return the states as a pandas DataFrame: a row a time, a column an element, such as ``y[0, 2]``.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        ValueError
            If the states are in a file (``sink``), or samples have times of their own.
        """
        times = torch.as_tensor(self.t).detach().cpu()
        if self.y is None or times.ndim > 1:
            reason = "its states are in a file" if self.y is None else "its samples have times of their own"
            raise ValueError(f"this solution is no single table: {reason}")
        columns: dict[str, Any] = {"t": times.numpy()}
        for label, part in _labelled(self.y, "y"):
            states = part.detach().cpu().numpy()
            for place in np.ndindex(states.shape[1:]):
                columns[f"{label}[{', '.join(map(str, place))}]" if place else label] = states[:, *place]
        return frame(columns, index="t")

    def __call__(self, t: Tensor | float) -> Any:
        """Evaluate the solution by the method's own interpolant.

        Parameters
        ----------
        t
            A time, ``(time,)`` times, or with per-sample steps also ``(time, batch)``, inside the solved span.

        Returns
        -------
        Tensor or structure of tensors
            ``(*y0.shape)`` for one time, else ``(time, *y0.shape)``; differentiable like ``y``, and with respect to
            ``t``.

        Raises
        ------
        TypeError, ValueError
            If the solve did not keep its interpolants (``dense=True``), or ``t`` is no time, has another shape or lies
            outside the span.
        """
        if self._dense is None:
            raise ValueError("this solution keeps no interpolants; solve with `dense=True`")
        return self._dense(t)


@dataclass(frozen=True)
class KnownTimes:
    """Gives what is known already."""

    times: Tensor

    def __call__(self) -> Tensor:
        """Return the times between steps."""
        return self.times


def _labelled(state: Any, label: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a state in any structure, with what they are called."""
    if isinstance(state, Tensor):
        yield label, state
        return
    names = state.items() if isinstance(state, Mapping) else enumerate(state)
    yield from ((str(name) if isinstance(name, str) else f"{label}{name}", part) for name, part in names)


def _counted(count: Tensor) -> str:
    """Return a count, or of many samples the smallest and the largest."""
    if count.ndim == 0 or not count.numel():
        return str(int(count.sum()))
    low, high = int(count.min()), int(count.max())
    return str(low) if low == high else f"{low} to {high} a sample"


def _sample(index: int, status: Tensor) -> str:
    return "" if status.ndim == 0 else f"sample {index}: "


def _step_times(start: Tensor, record: StepRecord) -> Callable[[], Tensor]:
    """Return what gives the times between steps, put together when somebody asks."""
    return cache(lambda: torch.cat([start, record.clock().ends.detach()]))


def _without_graph(value: Any) -> Any:
    """Return a value of tensors in any structure, without their graphs."""
    if isinstance(value, Tensor):
        return value.detach()
    if callable(value):  # a reader of interpolants, which sees to this itself
        return value
    if isinstance(value, Events):
        return Events([_without_graph(one) for one in value])
    if isinstance(value, Mapping):
        return {key: _without_graph(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_without_graph(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _without_graph(getattr(value, each.name)) for each in fields(value)})
    return value


def answer(
    t: Any,
    problem: Problem,
    outcome: Outcome,
    events: Events,
    recorded: dict[str, Recorded],
    *,
    dense: bool = False,
    plans: Sequence[object] = (),
    stored: bool = False,
) -> Solution:
    """Return the solution that users get; where its outputs were ``stored`` in a file it has none.

    ``plans``: what passes back from it need, see :func:`~physode.autograd.held`.
    """
    record, packing = outcome.record, problem.dynamics.packing
    by_method = problem.tableau.attempts() if isinstance(problem.tableau, StepMethod) else {}
    forward_calls, backward = problem.dynamics.calls.count, problem.backward  # not the problem, which holds the state
    return Solution(
        t=t if isinstance(t, Tensor) else problem.t,
        y=None if stored else _holding(packing.unpack(outcome.outputs, leading=1), packing, plans),
        status=record.status,
        ended=record.ended,
        stats=Stats(
            record.accepted,
            record.rejected,
            forward_calls,
            backward,
            by_method,
            problem.engine.fused,
            problem.engine.reason,
        ),
        _step_times=_step_times(problem.t[:1].detach(), record),
        recorded=recorded,
        _dense=_Reader.of(problem, outcome.table, plans) if dense else None,
        events=events if events is NO_EVENTS else Events([_with_plans(one, packing, plans) for one in events]),
    )


def _holding(state: Any, packing: Packing, plans: Sequence[object]) -> Any:
    """Return a state of which every part holds what its gradient needs."""
    return packing.like([held(part, plans) for part in packing.parts(state)])


def _with_plans(event: EventTimes, packing: Packing, plans: Sequence[object]) -> EventTimes:
    return replace(event, t=held(event.t, plans), y=_holding(event.y, packing, plans))


@dataclass(frozen=True)
class _Reader:
    """Evaluates a table of steps at any time."""

    packing: Packing
    table: Table | None
    per_sample: bool
    ends: Tensor
    start: Tensor
    plans: tuple[object, ...]

    @classmethod
    def of(cls, problem: Problem, table: Table | None, plans: Sequence[object]) -> _Reader:
        ends, start = problem.t.detach()[[0, -1]], problem.y0.detach()
        return cls(problem.dynamics.packing, table, problem.per_sample, ends, start, tuple(plans))

    def __getstate__(self) -> dict[str, Any]:
        table = None if self.table is None else self.table.kept()
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
            times = as_times(t)
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


def _failed(codes: Any) -> Any:
    """Tell which status codes, a number or a tensor of them, are failures: neither a success nor an event's end."""
    return (codes != int(Status.SUCCESS)) & (codes != int(Status.EVENT))


def raise_failures(record: StepRecord, solution: Solution | None = None) -> None:
    """Raise :class:`SolveError` if any group of the record failed; it carries the ``solution``."""
    status, ended = record.status.reshape(-1), record.ended.reshape(-1)
    bad = _failed(status).nonzero().flatten().tolist()
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
