"""torchdiffeq's callbacks, attributes of the right-hand side, as the engine's loop calls them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.compat.methods import ACCEPT, REJECT, STEP, Method
from physode.solvers.clock import Number
from physode.solvers.trace import Trace

__all__ = ["Callbacks", "adjoint_callbacks"]


@dataclass
class Callbacks:
    """An observer of a solve's loop that calls each of ``found``, by name, with ``(t0, y0, dt)``.

    ``state``: makes a packed state what callbacks are given; ``time``: the same for the clock, whose unit is ``scale``.
    """

    found: Mapping[str, Callable[..., Any]]
    state: Callable[[Tensor], Any]
    time: Callable[[Number], Tensor] = lambda t: torch.as_tensor(t, dtype=torch.float64).detach()
    scale: float = 1.0

    @classmethod
    def of(cls, func: Callable[..., Any], method: Method, state: Callable[[Tensor], Any]) -> Callbacks | None:
        """Find the callbacks of ``func``; warn of those that the method does not call."""
        found = {name: getattr(func, name) for name in (STEP, ACCEPT, REJECT) if hasattr(func, name)}
        unsupported = {name for name in found if name not in method.callbacks}
        if unsupported:
            warnings.warn(f"Solver '{method.name}' does not support callbacks {unsupported}", stacklevel=4)
        known = {name: call for name, call in found.items() if name in method.callbacks}
        return cls(known, state) if known else None

    def before(self, t: Number, y: Tensor, h: Number) -> None:
        """Call ``callback_step``."""
        size = torch.as_tensor(h, dtype=torch.float64).detach().abs() * self.scale
        self._attempt = (self.time(t), self.state(y), size)
        self._call(STEP)

    def after(self, record: Trace, accepted: bool) -> bool:
        """Call ``callback_accept_step`` or ``callback_reject_step``."""
        del record
        self._call(ACCEPT if accepted else REJECT)
        return False

    def _call(self, name: str) -> None:
        if name in self.found:
            self.found[name](*self._attempt)


def adjoint_callbacks(func: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Return the callbacks of the backward solve, by the names that they have in a forward one."""
    return {
        name: getattr(func, f"{name}_adjoint") for name in (STEP, ACCEPT, REJECT) if hasattr(func, f"{name}_adjoint")
    }
