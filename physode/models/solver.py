"""How the blocks of a network are integrated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from physode.errors import ConfigError
from physode.gradients import GradientMethod, find_gradient
from physode.problem.checks import checked_method
from physode.solvers.methods import METHODS

__all__ = ["EULER", "Solver", "change_solver", "solver_label"]


@dataclass(frozen=True)
class Solver:
    r"""How :math:`y(1) = y(0) + \int_0^1 f(y)\,dt` is computed, and differentiated.

    Nothing of it is learnt: it may be another one after training, as in the ACA paper's Tables 2, 6 and 7.

    Attributes
    ----------
    method
        The name of a method, see :func:`physode.solve`.
    rtol, atol
        Tolerances of the local error; no part in fixed steps.
    step
        Fixed steps of this size, with any method; None lets adaptive methods choose, and fixed ones take one step.
    gradient
        ``"aca"``, ``"adjoint"``, ``"naive"``, or an object with options.
    max_steps
        Most attempts in a solve of a block.

    Raises
    ------
    ValueError
        If a name is unknown, or a number is not above 0.
    """

    method: str = "heun_euler"
    rtol: float = 1e-2
    atol: float = 1e-2
    step: float | None = None
    gradient: str | GradientMethod = "aca"
    max_steps: int = 1000

    def __post_init__(self) -> None:
        checked_method(self.method)
        find_gradient(self.gradient)
        for name in ("rtol", "atol", "max_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, got {getattr(self, name)}")
        if self.step is not None and not 0 < self.step <= 1:
            raise ValueError(f"`step` must be above 0 and at most 1, the span of a block; got {self.step}")

    @property
    def adaptive(self) -> bool:
        """Whether step sizes are chosen by the error."""
        return self.step is None and checked_method(self.method).adaptive

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of :func:`physode.solve`."""
        common = {"method": self.method, "gradient": self.gradient, "max_steps": self.max_steps}
        if self.adaptive:
            return {**common, "rtol": self.rtol, "atol": self.atol}
        return {**common, "step_size": self.step}


EULER = Solver(method="euler", step=1.0, gradient="naive")
"""One Euler step: a block of a residual network."""


def change_solver(solver: Solver, changes: Mapping[str, Any]) -> Solver:
    """Return a solver with some of it changed.

    Another method that adapts its steps does so, and one that cannot takes the `step` given, or one step; tolerances
    without a method let the solver's own adapt its steps.

    Parameters
    ----------
    solver
        The one in training.
    changes
        Any of ``method``, ``rtol``, ``atol``, ``step``; None for those that stay.

    Raises
    ------
    ConfigError
        If the solver cannot be.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    free = ("rtol" in given or "atol" in given or "method" in given) and "step" not in given
    method = METHODS.get(given.get("method", solver.method))
    if free and method is not None and method.adaptive:
        given["step"] = None
    fixed = method is not None and (not method.adaptive or given.get("step") is not None)
    if fixed and ("rtol" in given or "atol" in given):
        raise ConfigError("`rtol` and `atol` have no part in fixed steps; choose an adaptive method, and no `step`")
    try:
        return dataclasses.replace(solver, **given)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def solver_label(solver: Solver) -> str:
    """Return a solver in words."""
    if solver.adaptive:
        same = solver.rtol == solver.atol
        return f"{solver.method}, " + (f"{solver.rtol:g}" if same else f"rtol {solver.rtol:g}, atol {solver.atol:g}")
    return f"{solver.method}, step {1.0 if solver.step is None else solver.step:g}"
