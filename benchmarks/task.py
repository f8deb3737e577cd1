"""What every contestant is asked to do: one initial value problem, and the gradient of its outputs' mean square."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Answer", "Task", "Twin", "Work", "loss_of"]


@dataclass(frozen=True)
class Twin:
    """The right-hand side in jax, ``f(t, y, params)``, for states with or without a leading batch axis.

    ``mapped`` says that the parameters have one row a sample, like the states. ``max_steps`` is diffrax's bound, by
    default its own.
    """

    f: Callable[[Any, Any, Any], Any]
    mapped: bool = False
    max_steps: int = 4096


@dataclass(frozen=True)
class Task:
    """An initial value problem, posed alike to all.

    Attributes
    ----------
    f
        The right-hand side ``f(t, y)``, which has no use for ``t``.
    params
        The leaves of ``f`` whose gradients are asked for.
    y0
        The initial state, whose gradient is asked for too: one sample, or a batch along its first axis.
    t
        Output times, ``(time,)``, or ``(time, batch)`` where each sample has its own.
    tol
        Relative tolerance.
    atol
        Absolute tolerance, by default the same number.
    method
        physode's name of it.
    end_only
        Whether only the last state is an output.
    twin
        The same right-hand side in jax.
    """

    f: torch.nn.Module
    params: tuple[Tensor, ...]
    y0: Tensor
    t: Tensor
    tol: float
    method: str = "dopri5"
    end_only: bool = False
    twin: Twin | None = None
    atol: float | None = None

    @property
    def wrt(self) -> tuple[Tensor, ...]:
        """What gradients are asked for."""
        return (*self.params, self.y0)

    @property
    def absolute(self) -> float:
        """The absolute tolerance."""
        return self.tol if self.atol is None else self.atol

    def held_to(self, factor: float) -> Task:
        """Return the same task with both tolerances times a factor."""
        return replace(self, tol=self.tol * factor, atol=self.absolute * factor)

    def with_f(self, f: torch.nn.Module) -> Task:
        """Return the same task with another right-hand side."""
        return replace(self, f=f)

    def kept(self, y: Tensor) -> Tensor:
        """Return the outputs that count of all outputs ``(time, ...)``."""
        return y[-1:] if self.end_only else y


class Answer(NamedTuple):
    """Outputs ``(time, *y0.shape)``, and the gradients in :attr:`Task.wrt` (none for a solve alone)."""

    outputs: Tensor
    gradients: tuple[Tensor, ...]


class Work(NamedTuple):
    """Calls of the right-hand side in the solve and in its backward pass; rows are calls times samples.

    ``useful`` is the share of rows of samples that were still under way: samples with clocks of their own wait for the
    last. Steps are those of one clock: of the whole state, or means over samples. None where a package does not tell.
    """

    calls: int | None = None
    backward_calls: int | None = None
    rows: int | None = None
    useful: float | None = None
    accepted: float | None = None
    rejected: float | None = None


def loss_of(y: Tensor) -> Tensor:
    """Return the mean square of the outputs."""
    return y.square().mean()
