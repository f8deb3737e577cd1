"""What watches a solve: the caller's callbacks, and the search for an event."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.compat.methods import ACCEPT, REJECT, STEP, Method
from physode.problem.packing import Packing
from physode.solvers.clock import Number, absolute, detached
from physode.solvers.trace import Trace

__all__ = ["ADJOINT_CALLBACKS", "Callbacks", "EventWatch"]

ADJOINT_CALLBACKS = {f"{name}_adjoint": name for name in (STEP, ACCEPT, REJECT)}


@dataclass
class Callbacks:
    """torchdiffeq's callbacks, attributes of the right-hand side, each called with ``(t0, y0, dt)``."""

    packing: Packing
    found: dict[str, Callable[..., Any]]

    @classmethod
    def of(cls, func: Callable[..., Any], packing: Packing, method: Method) -> Callbacks:
        """Find the callbacks of ``func``; warn of those that the method does not call."""
        found = {name: getattr(func, name) for name in (STEP, ACCEPT, REJECT) if hasattr(func, name)}
        unsupported = {name for name in found if name not in method.callbacks}
        if unsupported:
            warnings.warn(f"Solver '{method.name}' does not support callbacks {unsupported}", stacklevel=4)
        return cls(packing, {name: call for name, call in found.items() if name not in unsupported})

    def before(self, t: Number, y: Tensor, h: Number) -> None:
        """Call ``callback_step``."""
        self._attempt = (detached(t), y, absolute(detached(h)))
        self._call(STEP)

    def after(self, record: Trace, accepted: bool) -> bool:
        """Call ``callback_accept_step`` or ``callback_reject_step``."""
        del record
        self._call(ACCEPT if accepted else REJECT)
        return False

    def _call(self, name: str) -> None:
        if name in self.found:
            t, y, size = self._attempt
            self.found[name](t, self.packing.unpack(y), size)


@dataclass
class EventWatch:
    """Ends a solve with the step in which an event function changes its sign.

    Attributes
    ----------
    event
        The event function of the time and the packed state, positive at the start.
    time_dtype
        The dtype of the times that it is given.
    callbacks
        The caller's, called as well.
    """

    event: Callable[[Tensor, Tensor], Tensor]
    time_dtype: torch.dtype
    callbacks: Callbacks
    found: bool = False

    def before(self, t: Number, y: Tensor, h: Number) -> None:
        """Pass the attempt on."""
        self.callbacks.before(t, y, h)

    def after(self, record: Trace, accepted: bool) -> bool:
        """Look at the event function at the end of an accepted step."""
        self.callbacks.after(record, accepted)
        self.found = accepted and not self.value(record.ends[-1], record.nodes[-1]) > 0.0
        return self.found

    def value(self, t: Number, y: Tensor) -> float:
        """Evaluate the event function, without a graph."""
        with torch.no_grad():
            return float(self.event(torch.as_tensor(t).detach().to(self.time_dtype), y.detach()))
