"""A method's coefficients as C's constants, and which parts of the source take its steps and pull them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from physode.solvers.implicit.rosenbrock import Rosenbrock
from physode.solvers.tableaus import Tableau

__all__ = ["Coefficients", "FusedMethod", "coefficients", "interpolant_terms", "most_components", "row", "table"]

FusedMethod: TypeAlias = Tableau | Rosenbrock
"""The methods that kernels take steps by."""


class Coefficients(NamedTuple):
    """What a kernel is told of its method.

    Attributes
    ----------
    defined
        Numbers by their names.
    tables
        Declarations of rows and tables.
    step, pull
        The source's parts: for a step, and for cotangents that are pulled back through one.
    """

    defined: Mapping[str, object]
    tables: tuple[str, ...]
    step: tuple[str, ...]
    pull: tuple[str, ...]


def coefficients(method: FusedMethod) -> Coefficients:
    """Return a method's coefficients."""
    return _rosenbrock(method) if isinstance(method, Rosenbrock) else _explicit(method)


def interpolant_terms(method: FusedMethod) -> int:
    """Return how many coefficients an interpolant has beside the state at the step's start."""
    return 1 + len(method.dense) if isinstance(method, Rosenbrock) else method.interpolant_terms


def most_components(method: FusedMethod) -> int:
    """Return how many components a sample's state may have: beyond, a loop over samples is not what takes the time."""
    return 32 if isinstance(method, Rosenbrock) else 2048


def _explicit(tableau: Tableau) -> Coefficients:
    stages = tableau.stages
    everything = stages + 1 + len(tableau.c_extra)
    defined = {
        "STAGES": stages,
        "EXTRA": len(tableau.c_extra),
        "ERRORS": max(1, len(tableau.b_err)),
        "FSAL": int(tableau.fsal),
    }
    tables = (
        table("A", tableau.a, stages),
        row("B", tableau.b),
        row("C", tableau.c),
        table("B_ERR", tableau.b_err or ((),), stages + 1),
        table("A_EXTRA", tableau.a_extra or ((),), everything),
        row("C_EXTRA", tableau.c_extra or (0.0,)),
        table("D_ROWS", tableau.d or ((),), everything),
    )
    return Coefficients(defined, tables, ("step",), ("explicit_pull",))


def _rosenbrock(method: Rosenbrock) -> Coefficients:
    stages = method.stages
    # C is multiplied as the method itself does, so that both round alike
    scaled = tuple(tuple(method.gamma * value for value in line) for line in method.big_c)
    tables = (
        table("A", method.a, stages, "S"),
        table("GAMMA_C", scaled, stages, "S"),
        row("C", method.c),
        row("DRIFT_WEIGHT", method.d, "S"),
        row("M", method.m, "S"),
        row("ERROR", method.error),
        table("DENSE", method.dense, stages),
    )
    defined = {"STAGES": stages, "ERRORS": 1, "FSAL": 0, "GAMMA": repr(method.gamma)}
    return Coefficients(defined, tables, ("factors", "rosenbrock_step"), ("rosenbrock_pull",))


def row(name: str, values: Sequence[float], kind: str = "double") -> str:
    """Return the declaration of a row of constants."""
    return f"TABLE {kind} {name}[{len(values)}] = {{{', '.join(map(repr, values))}}};"


def table(name: str, rows: Sequence[Sequence[float]], width: int, kind: str = "double") -> str:
    """Return the declaration of rows of constants, with zeros behind those that are shorter."""
    filled = ", ".join("{" + ", ".join(map(repr, (*line, *[0.0] * (width - len(line))))) + "}" for line in rows)
    return f"TABLE {kind} {name}[{len(rows)}][{width}] = {{{filled}}};"
