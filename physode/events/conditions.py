"""The conditions of all events as the engine calls them: packed states, float64 times, one value a group."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.events.event import Event
from physode.problem.dynamics import Dynamics
from physode.solvers.clock import expand
from physode.transforms import under_func

__all__ = ["Conditions", "summed"]

_SMALLEST = 1e-6  # of the largest component, and of the span: what is nearer to zero rounds like that


@dataclass(frozen=True)
class Conditions:
    """Evaluates the conditions and jumps of ``events``, with the arguments of ``dynamics``."""

    events: Sequence[Event]
    dynamics: Dynamics

    def value(self, index: int, t: Tensor, y: Tensor) -> Tensor:
        """Return the condition of one event, float64 and shaped like ``t``: one value a group."""
        found: Any = self.events[index].condition(*self._inputs(t, y))
        one = f"one real number a sample, ({t.numel()},)" if t.ndim else "one real number"
        if not isinstance(found, Tensor):
            found = self._tensor(index, found, one, y)
        if found.dtype == torch.bool:
            raise ValueError(
                f"the condition of {self.label(index)} must return {one} that changes its sign at the event, got "
                "torch.bool; return a difference instead of a comparison"
            )
        if found.is_complex() or found.numel() != t.numel():
            raise ValueError(
                f"the condition of {self.label(index)} must return {one}, got {found.dtype} of shape "
                f"{tuple(found.shape)}"
            )
        value: Tensor = found.reshape(t.shape).double()
        return value

    def values(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the conditions of all events, ``(events, groups)``, groups as one axis."""
        return torch.stack([self.value(index, t, y).reshape(-1) for index in range(len(self.events))])

    def check(self, values: Tensor, t: Tensor, groups: Tensor) -> None:
        """Raise where a condition is NaN."""
        bad = torch.isnan(values) & groups
        if bool(bad.any()):
            index, group = bad.nonzero()[0].tolist()
            where = f" for sample {group}" if len(groups) > 1 else ""
            raise SolveError(
                f"the condition of {self.label(index)} is NaN at t = {float(t[group]):.9g}{where}; "
                "it must be a number at every state that the solve reaches"
            )

    def slopes(self, index: int, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\partial_t g`, one value a group, and :math:`\partial_y g`, like ``y``, without a graph."""
        if under_func():
            by_t, by_y = torch.func.grad(lambda t, y: self.value(index, t, y).sum(), (0, 1))(t, y)
            return by_t, by_y
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a condition that is a plain number: it has no slope
            time, state = t.detach().requires_grad_(), y.detach().requires_grad_()
            value = self.value(index, time, state)
            found: Sequence[Tensor | None] = (None, None)
            if value.requires_grad:
                found = torch.autograd.grad(value.sum(), [time, state], allow_unused=True)
        by_t, by_y = (torch.zeros_like(x) if d is None else d for d, x in zip(found, (t, y), strict=True))
        return by_t, by_y

    def rates(self, index: int, t: Tensor, y: Tensor, f: Tensor) -> Tensor:
        r"""Return :math:`\dot g = \partial_t g + \partial_y g \cdot f`, one value a group, without a graph."""
        by_t, by_y = self.slopes(index, t, y)
        return by_t + summed(_product(by_y, f.detach()), t)

    def tendency(self, index: int, t: Tensor, y: Tensor, f: Tensor) -> Tensor:
        r"""Return the sign of :math:`\dot g`, 0 where it is no more than the rounding of what it is made of."""
        by_t, by_y = self.slopes(index, t, y)
        rate = by_t + summed(_product(by_y, f.detach()), t)
        rounding = self.rounding * (by_t.abs() + summed(by_y.abs() * f.detach().abs(), t))
        return torch.where(rate.abs() > rounding, torch.sign(rate), 0.0)

    def noise(self, index: int, t: Tensor, y: Tensor, slopes: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return how large a condition may be by the rounding of what it is made of alone, one value a group."""
        by_t, by_y = self.slopes(index, t, y) if slopes is None else slopes
        largest = (y.abs().reshape(len(y), -1).amax(1) if t.ndim else y.abs().amax()).double()
        time = torch.maximum(t.detach().abs(), _SMALLEST * (self.dynamics.high - self.dynamics.low))
        state = torch.maximum(y.detach().abs(), expand((_SMALLEST * largest).to(y.abs().dtype), y.ndim))
        return self.rounding * (by_t.abs() * time + summed(by_y.abs() * state, t))

    @property
    def rounding(self) -> float:
        """A relative error that some operations on rounded numbers make."""
        return 16 * torch.finfo(self.dynamics.dtype).eps

    def jumped(self, index: int, t: Tensor, y: Tensor) -> Tensor:
        """Return the states behind the jump of one event."""
        jump = self.events[index].jump
        assert jump is not None
        packing = self.dynamics.packing
        found = jump(*self._inputs(t, y))
        try:
            packed = packing.pack(found)
            fits = packed.shape == y.shape and packed.dtype == y.dtype
        except (TypeError, KeyError, IndexError, AttributeError, RuntimeError):
            fits = False
        if not fits:
            got = f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"the jump of {self.label(index)} must return a state like `y0`, got {got}")
        return packed

    def label(self, index: int) -> str:
        """Return what messages call an event."""
        name = self.events[index].name
        return f"event {index}" if name is None else f"event {name!r}"

    def _tensor(self, index: int, found: Any, one: str, y: Tensor) -> Tensor:
        """Return a condition's value that is no tensor as one."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numbers in lists that have a graph: it ends here, as with float()
                value = torch.as_tensor(found, device=y.device)
        except (TypeError, ValueError, RuntimeError):
            got = "None; is a `return` missing?" if found is None else type(found).__name__
            raise TypeError(f"the condition of {self.label(index)} must return {one}, got {got}") from None
        return value if value.dtype == torch.bool or value.is_complex() else value.double()

    def _inputs(self, t: Tensor, y: Tensor) -> tuple[Any, ...]:
        time = expand(t.to(self.dynamics.dtype), self.dynamics.time_ndim)
        return time, self.dynamics.packing.unpack(y), *self.dynamics.args


def summed(values: Tensor, t: Tensor) -> Tensor:
    """Return the sum of each group's values, float64; ``t`` has one value a group."""
    return (values.reshape(len(values), -1).sum(1) if t.ndim else values.sum()).double()


def _product(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).real if b.is_complex() else a * b
