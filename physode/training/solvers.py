"""Solvers of trained models, replaced by others: no weight depends on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from physode.errors import ConfigError
from physode.models.solver import Solver
from physode.solvers.methods import METHODS

__all__ = ["change_solver", "solver_label"]


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
