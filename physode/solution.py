"""What a solve returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from torch import Tensor

from physode.events.found import Events
from physode.problem import Tally
from physode.recording import Recorded
from physode.status import Status, failed

__all__ = ["Solution", "Stats"]


@dataclass(frozen=True)
class Stats:
    """The work of a solve.

    Attributes
    ----------
    accepted, rejected
        Steps and rejected attempts: ``()`` with shared steps, ``(batch,)`` with per-sample steps.
    attempts
        Their sum.
    rhs_forward
        Calls of the right-hand side during the solve.
    by_method
        With ``method="auto"``, the attempts made by each method, of all samples together; else empty.
    """

    accepted: Tensor
    rejected: Tensor
    rhs_forward: int
    _backward: Tally
    by_method: Mapping[str, int] = field(default_factory=dict)

    @property
    def attempts(self) -> Tensor:
        """Accepted and rejected steps together."""
        return self.accepted + self.rejected

    @property
    def rhs_backward(self) -> int:
        """Calls of the right-hand side in backward passes so far (a batched replay counts once)."""
        return self._backward.calls


@dataclass(frozen=True)
class Solution:
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
    step_times
        The accepted steps' ends, starting with the first time, ``(steps + 1, *groups)``.
    recorded
        What ``record`` asked for, by name: ``t`` and ``values``, one row a step.
    events
        Of each event its times, states and samples (:class:`~physode.events.found.EventTimes`), by place or by name.
    """

    t: Tensor
    y: Any
    status: Tensor
    ended: Tensor
    stats: Stats
    step_times: Tensor
    recorded: Mapping[str, Recorded] = field(default_factory=dict)
    _dense: Callable[[Any], Any] | None = None
    events: Events = field(default_factory=Events)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is kept of a solution in a file or handed to another process: all but its graph."""
        return {each.name: _without_graph(getattr(self, each.name)) for each in fields(self)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    @property
    def success(self) -> bool:
        """Whether every sample reached the end time, or the event that was to end it."""
        return not bool(failed(self.status).any())

    @property
    def failures(self) -> dict[int, tuple[Status, float]]:
        """Status and time of each failed sample (sample 0 stands for the whole with shared steps)."""
        codes, times = self.status.reshape(-1).tolist(), self.ended.reshape(-1).tolist()
        rows = enumerate(zip(codes, times, strict=True))
        return {i: (Status(code), time) for i, (code, time) in rows if failed(code)}

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
