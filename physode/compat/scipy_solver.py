"""torchdiffeq's ``scipy_solver``: SciPy's ``solve_ivp`` from output to output, without gradients of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
    """A solver of SciPy's as a method whose steps go from output to output: all are found in the first, and handed out.

    Attributes
    ----------
    times
        The outputs' times.
    options
        ``solver`` (LSODA by default), ``min_step``, ``max_step``.
    scale
        The size of a unit of the engine's clock, in which step sizes are measured.
    """

    times: Tensor
    options: Mapping[str, Any]
    rtol: Tensor | float
    atol: Tensor | float
    scale: float = 1.0
    name: str = "scipy_solver"
    order: int = 1
    _found: list[Tensor] = field(default_factory=list)

    def take(self, rhs: Any, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Return the state at the next output, without a graph.

        Raises
        ------
        SolveError
            If SciPy did not reach the end.
        """
        del k1, h
        if not (self._found and self._found[0] is y):
            self._found[:] = [y, *self._solved(rhs, float(t), y)]
        del self._found[0]
        return Step(self._found[0], (torch.zeros_like(y),))

    def _solved(self, rhs: Any, start: float, y: Tensor) -> Iterator[Tensor]:
        from scipy.integrate import solve_ivp

        def f(time: float, state: Any) -> Any:
            with torch.no_grad():
                known = torch.as_tensor(state).to(y).reshape(y.shape)
                return rhs(torch.tensor(time, dtype=torch.float64, device=y.device), known).reshape(-1).cpu().numpy()

        direction = torch.sign(self.times[-1] - self.times[0]).item()
        times = [time for time in self.times.tolist() if direction * (time - start) > 0]
        solver = self.options.get("solver", "LSODA")
        sizes = {"max_step": float(self.options.get("max_step", math.inf)) / self.scale}
        if solver == "LSODA":
            sizes["min_step"] = float(self.options.get("min_step", 0.0)) / self.scale
        rtol, atol = (value.cpu().numpy() if isinstance(value, Tensor) else value for value in (self.rtol, self.atol))
        state = y.detach().cpu().numpy().reshape(-1)
        found = solve_ivp(f, (start, times[-1]), state, method=solver, rtol=rtol, atol=atol, t_eval=times, **sizes)
        if not found.success:
            last = found.t[-1] if len(found.t) else start
            raise SolveError(f"scipy_solver ({solver}) stopped after t = {last:g}: {found.message}")
        return iter(torch.as_tensor(found.y.T.copy()).to(y).reshape(-1, *y.shape))
