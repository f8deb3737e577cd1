"""The methods by name: explicit Runge-Kutta methods, and those with a step function of their own."""

from __future__ import annotations

from physode.solvers.method import Method, StepMethod
from physode.solvers.symplectic import METHODS as SYMPLECTIC
from physode.solvers.tableaus import METHODS as EXPLICIT
from physode.solvers.tableaus import Tableau

__all__ = ["METHODS", "find_method"]

METHODS: dict[str, Method] = {**EXPLICIT, **SYMPLECTIC}


def find_method(method: str | Method) -> Method:
    """Return the method called ``method``; a method passes through.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if isinstance(method, Tableau | StepMethod):
        return method
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, or a Tableau; got {method!r}")
    return METHODS[method]
