"""Whether contestants give the same answer, and the right one: those that do not are not timed."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.jax_peer import diffrax
from benchmarks.peers import Peer, on_union, physode, torchdiffeq
from benchmarks.task import Answer, Task

__all__ = ["Bounds", "Errors", "disagreement", "errors_of", "reference", "relative_error"]


class Errors(NamedTuple):
    """Relative errors, in the root mean square: of the outputs, and of the worst gradient."""

    outputs: float
    gradients: float


class Bounds(NamedTuple):
    """Errors up to which answers agree; far above the tolerance, far below a mistake."""

    outputs: float = 1e-2
    gradients: float = 5e-2


def relative_error(found: Tensor, right: Tensor) -> float:
    """Return |found - right| / |right| in the Euclidean norm; infinite for other shapes and for what is no number."""
    if found.shape != right.shape:
        return float("inf")
    difference = float(torch.linalg.vector_norm(found.to(right.dtype) - right))
    if difference == 0.0:
        return 0.0
    error = difference / max(float(torch.linalg.vector_norm(right)), torch.finfo(right.dtype).tiny)
    return error if math.isfinite(error) else float("inf")


def errors_of(found: Answer, right: Answer) -> Errors:
    """Compare an answer with the right one."""
    if len(found.gradients) != len(right.gradients):
        return Errors(relative_error(found.outputs, right.outputs), float("inf"))
    pairs = zip(found.gradients, right.gradients, strict=True)
    gradients = max((relative_error(a, b) for a, b in pairs), default=0.0)
    return Errors(relative_error(found.outputs, right.outputs), gradients)


def disagreement(errors: Errors, bounds: Bounds) -> str | None:
    """Return what is wrong with an answer, or None."""
    if not errors.outputs <= bounds.outputs:
        return f"outputs differ by {errors.outputs:.1e}"
    if not errors.gradients <= bounds.gradients:
        return f"gradients differ by {errors.gradients:.1e}"
    return None


_LARGE = 1000  # elements of a state beyond which a graph of all steps takes too much memory


def reference(task: Task, gradient: bool) -> Answer:
    """Solve a task that was posed at a tight tolerance in double precision.

    torchdiffeq does it by plain back-propagation, or diffrax where states are large or stiff, so that physode is not
    its own judge; where there is no right-hand side in jax, or none of the packages, it is left to physode's ACA with
    per-sample steps.
    """
    peer = _judge(task)
    runner = peer.prepare(task, gradient)
    return runner.answer(runner.run())


def _judge(task: Task) -> Peer:
    other = torchdiffeq()
    if task.y0.numel() <= _LARGE and task.method != "rodas5p" and other.missing is None:
        return on_union(other) if task.t.ndim > 1 else other
    if task.twin is not None and diffrax().missing is None:
        return diffrax()
    shape: dict[str, Any] = {"step_control": "per-sample"} if task.y0.ndim > 1 else {}
    return physode(**shape)
