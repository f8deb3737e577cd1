"""torchdiffeq's ``scipy_solver``: SciPy's ``solve_ivp`` from output to output, without gradients of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.solvers.clock import Number
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Step

__all__ = ["SciPy"]


@dataclass(frozen=True, eq=False)
class SciPy(StepMethod):
    """A solver of SciPy's as a method: one of its steps is a whole solve, by steps of its own.

    Attributes
    ----------
    options
        ``solver`` (LSODA by default), ``min_step``, ``max_step``.
    scale
        The size of a unit of the engine's clock, in which step sizes are measured.
    """

    options: Mapping[str, Any]
    rtol: Tensor | float
    atol: Tensor | float
    scale: float = 1.0
    name: str = "scipy_solver"
    order: int = 1

    def take(self, rhs: Any, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Solve from ``t`` to ``t + h``, without a graph.

        Raises
        ------
        SolveError
            If SciPy did not reach the end.
        """
        from scipy.integrate import solve_ivp

        del k1

        def f(time: float, state: Any) -> Any:
            with torch.no_grad():
                known = torch.as_tensor(state).to(y).reshape(y.shape)
                return rhs(torch.tensor(time, dtype=torch.float64, device=y.device), known).reshape(-1).cpu().numpy()

        start, end = float(t), float(t + h)
        solver = self.options.get("solver", "LSODA")
        sizes = {"max_step": float(self.options.get("max_step", math.inf)) / self.scale}
        if solver == "LSODA":
            sizes["min_step"] = float(self.options.get("min_step", 0.0)) / self.scale
        rtol, atol = (value.cpu().numpy() if isinstance(value, Tensor) else value for value in (self.rtol, self.atol))
        state = y.detach().cpu().numpy().reshape(-1)
        found = solve_ivp(f, (start, end), state, method=solver, rtol=rtol, atol=atol, t_eval=[end], **sizes)
        if not found.success:
            raise SolveError(f"scipy_solver ({solver}) stopped between t = {start:g} and {end:g}: {found.message}")
        last = torch.as_tensor(found.y[:, -1].copy()).to(y).reshape(y.shape)
        return Step(last, (torch.zeros_like(last),))
