"""torchdiffeq's methods by name: what each is here, which options it knows, and which callbacks it calls."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from physode.compat.adams import RK4_38
from physode.solvers import method as engine
from physode.solvers.clock import Number
from physode.solvers.implicit.fixed import FIXED as IMPLICIT
from physode.solvers.interpolation import Location, interpolate
from physode.solvers.runge_kutta import Step, end_derivative, interpolant, take_step
from physode.solvers.tableaus import METHODS as ENGINE
from physode.solvers.tableaus import Tableau

__all__ = ["ACCEPT", "METHODS", "REJECT", "STEP", "Method", "OnGrid", "find_method"]

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


@dataclass(frozen=True, eq=False)
class OnGrid(engine.StepMethod):
    """A method as torchdiffeq takes it over a grid: outputs between steps lie on chords, or on Hermite's cubics.

    An implicit method, too, has the derivative at each step's start evaluated, which Hermite's cubic needs. A step that
    is taken again to end earlier, at an event, ends on the whole step's chord or cubic.
    """

    method: engine.Method
    linear: bool
    _whole: list[tuple[Number, Tensor, Number, Step]] = field(default_factory=list)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The method's name."""
        return self.method.name

    @property
    def fsal(self) -> bool:  # type: ignore[override]
        """Whether the derivative at a step's end, where the next one starts, is always evaluated."""
        return self.method in IMPLICIT

    @property
    def order(self) -> int:  # type: ignore[override]
        """The method's order."""
        return self.method.order

    @property
    def stages(self) -> int:  # type: ignore[override]
        """The method's stages."""
        return self.method.stages

    def take(self, rhs: Any, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step."""
        for start, state, size, whole in self._whole:
            if start == t and state is y and abs(h) < abs(size):
                k_end = end_derivative(rhs, start, size, whole)
                cubic = interpolant(rhs, self, start, y, size, whole, k_end)[None]
                theta = torch.as_tensor(h / size, dtype=torch.float64, device=y.device)
                place = Location(torch.zeros(1, dtype=torch.long, device=y.device), theta[None])
                return Step(interpolate(place, y[None], cubic, whole.y[None])[0], whole.ks)
        step: Step = take_step(rhs, self.method, t, y, h, k1)
        step = step if k1 is None or not self.fsal else step._replace(ks=(k1,))
        self._whole[:] = [(t, y, h, step)]
        return step

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor] | None:
        """Return the chord; None for Hermite's cubic."""
        return [step.y - y] if self.linear else None
