"""torchdiffeq's ``scipy_solver``: SciPy's ``solve_ivp``, without gradients of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from physode.compat.setup import Setup
from physode.errors import SolveError

__all__ = ["solve_with_scipy"]


def solve_with_scipy(setup: Setup) -> Tensor:
    """Solve with ``scipy.integrate.solve_ivp`` and return the packed outputs, ``(time, *state)``, without a graph.

    Raises
    ------
    SolveError
        If SciPy did not reach the last time.
    """
    from scipy.integrate import solve_ivp

    flow, y0 = setup.flow, setup.y0.detach()
    if len(setup.t) == 1:
        return y0[None].clone()

    def f(t: float, y: Any) -> Any:
        with torch.no_grad():
            time = torch.tensor(t, dtype=torch.float64, device=y0.device)
            state = torch.as_tensor(y).to(y0).reshape(y0.shape)
            return flow(time, state).reshape(-1).cpu().numpy()

    name = setup.options.get("solver", "LSODA")
    keywords: dict[str, Any] = {"max_step": float(setup.options.get("max_step", math.inf))}
    if name == "LSODA":
        keywords["min_step"] = float(setup.options.get("min_step", 0.0))
    t = setup.t.detach().cpu().numpy()
    rtol, atol = (value.cpu().numpy() if isinstance(value, Tensor) else value for value in (setup.rtol, setup.atol))
    found = solve_ivp(
        f, (t[0], t[-1]), y0.cpu().numpy().reshape(-1), t_eval=t, method=name, rtol=rtol, atol=atol, **keywords
    )
    if not found.success:
        last = found.t[-1] if len(found.t) else t[0]
        raise SolveError(f"scipy_solver ({name}) stopped after t = {last:g}: {found.message}")
    return torch.as_tensor(found.y.T.copy()).to(y0).reshape(len(t), *y0.shape)
