"""Whether contestants give the same answer: those that do not are not timed."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.task import Answer

__all__ = ["Bounds", "Errors", "disagreement", "errors_of", "relative_error"]


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
