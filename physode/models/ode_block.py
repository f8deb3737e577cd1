"""A layer that is a differential equation."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from physode.models.solver import Solver
from physode.models.solver_stats import Solving
from physode.solve import solve
from physode.training.distributed import agreed, processes, shared_norm

__all__ = ["ODEBlock", "begin_as_identity", "ode_blocks", "set_solver"]


class ODEBlock(Solving):
    r"""The layer :math:`y(1) = y(0) + \int_0^1 f(y(t))\,dt` (Zhuang et al. 2020, Eq. 31).

    With one Euler step it is the residual block :math:`y(0) + f(y(0))` (Eq. 30), with the same parameters.

    In training, all samples share their steps: batch norm makes one system of them. In evaluation, steps are chosen
    sample by sample, so that what a sample gives does not depend on its company. Running statistics move with accepted
    forward evaluations only, and the mask of a dropout inside f is drawn once a solve. In mixed precision, f computes
    in half; states, steps and errors are single. Under ``torch.export`` fixed steps become plain operations, which
    count nothing, and of a state that is not finite give what follows from it.

    Parameters
    ----------
    f
        A module from and to states of one shape, (B, ...).
    solver
        How it is integrated. Assign to :attr:`solver` to change it; no weights depend on it.
    timed
        Whether f is a function of time, too, and is called as ``f(t, y)``: :math:`\dot y = f(t, y)`, with t of shape ()
        or, in steps chosen sample by sample, (B,).

    Attributes
    ----------
    f, solver, timed
        As given.
    """

    def __init__(self, f: nn.Module, *, solver: Solver | None = None, timed: bool = False) -> None:
        super().__init__()
        self.f = f
        self.solver = Solver() if solver is None else solver
        self.timed = timed

    def forward(self, y: Tensor) -> Tensor:
        """Integrate from a state (B, ...) over unit time.

        Raises
        ------
        SolveError
            If the solve fails: too many steps, or a state that is not finite.
        """
        exported = torch.compiler.is_exporting()  # a program counts nothing
        if not exported:
            self._settle()
        if self.solver.method == "euler" and self.solver.step in (None, 1.0):
            if not exported:
                self._count(evaluations=1, steps=1)
            return self._residual(y)
        alone = not self.training and self.solver.adaptive
        options = self.solver.arguments()
        if exported:  # and is differentiated, if at all, as the operations that it is
            options |= {"gradient": "aca", "throw": False}
        elif self.training and processes() > 1:
            options |= self._agreement(y)
        field = functools.partial(_evaluate, self.f, self.timed, _autocast(y.device.type))
        half = torch.is_autocast_enabled(y.device.type) and y.dtype in (torch.bfloat16, torch.float16)
        solution = solve(
            field,
            y.float() if half else y,
            (0.0, 1.0),
            step_control="per-sample" if alone else "shared",
            **options,
        )
        if not exported:
            self._count(solve=solution.stats)
        final: Tensor = solution.y[-1]
        return final

    def extra_repr(self) -> str:
        """Describe the solver."""
        return f"solver={self.solver}"

    def _agreement(self, y: Tensor) -> dict[str, Any]:
        """Return what lets several processes make the same evaluations of f."""
        return {"norm": shared_norm(), "gradient": agreed(self.solver.gradient, y.device)}

    def _residual(self, y: Tensor) -> Tensor:
        """Take the one Euler step without a solver: the residual network's own speed."""
        change: Tensor = self.f(y.new_zeros(()), y) if self.timed else self.f(y)
        return y + change.to(y.dtype)


def ode_blocks(model: nn.Module) -> list[ODEBlock]:
    """Return the ODE blocks of a model, in order."""
    return [module for module in model.modules() if isinstance(module, ODEBlock)]


def begin_as_identity(model: nn.Module) -> None:
    """Set the weights of the last layer, ``last``, of each block's f to 0, so that f is 0 at first.

    A residual or ODE block is then the identity, whatever its solver: training begins at smooth, cheap solutions (Goyal
    et al. 2017, Sect. 5.1).
    """
    for block in ode_blocks(model):
        last: Any = block.f.last
        nn.init.zeros_(last.weight)


def set_solver(model: nn.Module, solver: Solver) -> None:
    """Let all ODE blocks of a model be integrated by `solver`."""
    for block in ode_blocks(model):
        block.solver = solver


def _autocast(device: str) -> dict[str, Any]:
    """Return the mixed precision that is in force, to be in force in the backward pass's evaluations, too."""
    return {
        "device_type": device,
        "dtype": torch.get_autocast_dtype(device),
        "enabled": torch.is_autocast_enabled(device),
        "cache_enabled": torch.is_autocast_cache_enabled(),
    }


def _evaluate(f: nn.Module, timed: bool, mixed: dict[str, Any], t: Tensor, y: Tensor) -> Tensor:
    """Return f in the precision of the state."""
    arguments = (t, y) if timed else (y,)
    if not mixed["enabled"]:
        slope: Tensor = f(*arguments)
        return slope
    with torch.autocast(**mixed):
        return torch.as_tensor(f(*arguments)).to(y.dtype)
