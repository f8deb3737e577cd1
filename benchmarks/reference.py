"""The right answer to a task: a tight solution in double precision, by another package where there is one."""

from __future__ import annotations

from typing import Any

from benchmarks.peers import on_union, physode, torchdiffeq
from benchmarks.task import Answer, Task

__all__ = ["reference"]

_LARGE = 1000  # elements of a state beyond which a graph of all steps takes too much memory


def reference(task: Task, gradient: bool) -> Answer:
    """Solve a task that was posed at a tight tolerance in double precision.

    torchdiffeq does it by plain back-propagation, so that physode is not its own judge; large states, or none of
    torchdiffeq, leave it to physode's ACA with per-sample steps.
    """
    other = torchdiffeq()
    small = task.y0.numel() <= _LARGE
    other = on_union(other) if task.t.ndim > 1 else other
    shape: dict[str, Any] = {"step_control": "per-sample"} if task.y0.ndim > 1 else {}
    peer = other if small and other.missing is None else physode(**shape)
    runner = peer.prepare(task, gradient)
    return runner.answer(runner.run())
