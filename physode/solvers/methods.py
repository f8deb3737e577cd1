"""The methods by name: explicit Runge-Kutta methods, and those with a step function of their own."""

from __future__ import annotations

from physode.solvers.implicit.auto import AUTO
from physode.solvers.implicit.radau5 import RADAU5
from physode.solvers.implicit.rosenbrock import RODAS5P
from physode.solvers.implicit.tableaus import FIXED, KENCARP5, KVAERNO3
from physode.solvers.method import Method, StepMethod
from physode.solvers.symplectic import METHODS as SYMPLECTIC
from physode.solvers.tableaus import METHODS as EXPLICIT

__all__ = ["LIKE_SCIPY", "METHODS", "kind_of"]

_IMPLICIT: tuple[StepMethod, ...] = (*FIXED, KVAERNO3, KENCARP5, RADAU5, RODAS5P, AUTO)

METHODS: dict[str, Method] = {
    **EXPLICIT,
    **SYMPLECTIC,
    **{method.name: method for method in _IMPLICIT},
}
"""Every method that ``method="..."`` knows (:func:`~physode.problem.checks.checked_method`)."""

LIKE_SCIPY = {
    "RK23": "bosh3",
    "RK45": "dopri5",
    "DOP853": "dopri8",
    "Radau": "radau5",
    "BDF": "rodas5p",
    "LSODA": "auto",
}
"""What to take for each method of SciPy's ``solve_ivp``: the same pair, or the nearest of its kind."""


def kind_of(name: str) -> str:
    """Return what a method is for, in a word for tables of methods.

    Parameters
    ----------
    name
        One of :data:`METHODS`.

    Returns
    -------
    str
        ``"explicit"``: for problems that are not stiff. ``"symplectic"``: fixed steps that keep the form of Hamiltonian
        motion. ``"reversible"``: adaptive steps that can be undone. ``"stiff"``: implicit. ``"explicit or stiff"``:
        chooses between the two as the solve goes on.

    Raises
    ------
    KeyError
        If there is no method of that name.
    """
    if name not in METHODS:
        raise KeyError(name)
    if name in EXPLICIT:
        return "explicit"
    if name in SYMPLECTIC:
        return "reversible" if METHODS[name].adaptive else "symplectic"
    return "explicit or stiff" if name == AUTO.name else "stiff"
