"""torchdiffeq's methods by name: what each is here, which options it knows, which callbacks it calls, and how."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from physode.compat.adams import RK4_38
from physode.solvers import method as engine
from physode.solvers.clock import Number
from physode.solvers.implicit.tableaus import FIXED as IMPLICIT
from physode.solvers.tableaus import METHODS as ENGINE
from physode.solvers.tableaus import Tableau
from physode.solvers.trace import Trace

__all__ = ["IMPLICIT", "ITSELF", "METHODS", "Callbacks", "Line", "Method", "adjoint_callbacks", "find_method"]

FEHLBERG2 = Tableau(
    name="fehlberg2",
    order=2,
    c=(0.0, 1 / 2, 1.0),
    a=((), (1 / 2,), (1 / 256, 255 / 256)),
    b=(1 / 512, 255 / 256, 1 / 512),
    b_err=((-1 / 512, 0.0, 1 / 512),),
    error_order=1,
    interpolant_order=2,
    reference="E. Fehlberg, NASA Technical Report R-315 (1969), RK1(2)",
)

HEUN3 = Tableau(
    name="heun3",
    order=3,
    c=(0.0, 1 / 3, 2 / 3),
    a=((), (1 / 3,), (0.0, 2 / 3)),
    b=(1 / 4, 0.0, 3 / 4),
    reference="K. Heun, Z. Math. Phys. 45 (1900) 23-38",
)

_ADAPTIVE = frozenset(
    {
        "norm", "first_step", "min_step", "max_step", "max_num_steps", "safety", "ifactor", "dfactor", "dtype",
        "step_t", "jump_t",
    }
)  # fmt: skip
_FIXED = frozenset({"norm", "step_size", "grid_constructor", "interp", "perturb"})
_ADAMS = _FIXED | {"max_order", "max_iters"}
_SCIPY = frozenset({"norm", "solver", "min_step", "max_step", "grid_points", "eps"})

STEP, ACCEPT, REJECT = "callback_step", "callback_accept_step", "callback_reject_step"


@dataclass(frozen=True)
class Method:
    """A method of torchdiffeq's.

    Attributes
    ----------
    name, kind
        Its name there, and who integrates: the engine's adaptive loop, its walk of a grid, or an adapter.
    tableau
        The one-step method; of an Adams method, the one that starts it.
    implicit
        Of an Adams method: whether its prediction is corrected.
    """

    name: str
    kind: Literal["adaptive", "fixed", "adams", "scipy"]
    tableau: engine.Method = RK4_38
    implicit: bool = False

    @property
    def options(self) -> frozenset[str]:
        """The options that it knows."""
        return {"adaptive": _ADAPTIVE, "fixed": _FIXED, "adams": _ADAMS, "scipy": _SCIPY}[self.kind]

    @property
    def callbacks(self) -> frozenset[str]:
        """The callbacks that it calls."""
        if self.kind == "adaptive":
            return frozenset({STEP, ACCEPT, REJECT})
        return frozenset() if self.kind == "scipy" else frozenset({STEP})

    def known(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that the method knows; warn of others, as torchdiffeq does."""
        unused = {name: value for name, value in options.items() if name not in self.options}
        if unused:
            warnings.warn(f"{self.name}: Unexpected arguments {unused}", stacklevel=4)
        return {name: value for name, value in options.items() if name in self.options}


METHODS = {
    method.name: method
    for method in (
        Method("dopri8", "adaptive", ENGINE["dopri8"]),
        Method("dopri5", "adaptive", ENGINE["dopri5"]),
        Method("tsit5", "adaptive", ENGINE["tsit5"]),
        Method("bosh3", "adaptive", ENGINE["bosh3"]),
        Method("fehlberg2", "adaptive", FEHLBERG2),
        Method("adaptive_heun", "adaptive", ENGINE["heun_euler"]),
        Method("euler", "fixed", ENGINE["euler"]),
        Method("midpoint", "fixed", ENGINE["midpoint"]),
        Method("heun2", "fixed", ENGINE["heun"]),
        Method("heun3", "fixed", HEUN3),
        Method("rk4", "fixed", RK4_38),
        *(Method(method.name, "fixed", method) for method in IMPLICIT),
        Method("explicit_adams", "adams"),
        Method("implicit_adams", "adams", implicit=True),
        Method("fixed_adams", "adams", implicit=True),
        Method("adams", "adams", implicit=True),
        Method("scipy_solver", "scipy"),
    )
}


def find_method(name: str | None) -> Method:
    """Return the method called ``name``; dopri5 by default.

    Raises
    ------
    ValueError
        If there is none; the message lists the known ones.
    """
    if name is None:
        return METHODS["dopri5"]
    if name not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}; got {name!r}")
    return METHODS[name]


class Line(NamedTuple):
    """The times :math:`o + r s` of a clock :math:`s`: a backward solve's goes from 0 to 1."""

    origin: float = 0.0
    rate: float = 1.0

    def time(self, s: Tensor) -> Tensor:
        """Return times."""
        return self.origin + self.rate * s


ITSELF = Line()
"""A clock that shows the times themselves."""


@dataclass
class Callbacks:
    """An observer of a solve's loop that calls each of ``found``, by name, with ``(t0, y0, dt)``.

    ``state`` makes a packed state, and ``line`` a time of the loop's clock, what callbacks are given.
    """

    found: Mapping[str, Callable[..., Any]]
    state: Callable[[Tensor], Any]
    line: Line = ITSELF

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
        t, h = (torch.as_tensor(part, dtype=torch.float64, device=y.device).detach() for part in (t, h))
        self._attempt = (self.line.time(t), self.state(y), h.abs() * abs(self.line.rate))
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
    names = {name: f"{name}_adjoint" for name in (STEP, ACCEPT, REJECT)}
    return {name: getattr(func, other) for name, other in names.items() if hasattr(func, other)}
