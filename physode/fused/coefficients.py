"""A method's coefficients as C's constants, and which parts of the source take its steps and pull them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from physode.solvers.implicit.rosenbrock import Rosenbrock
from physode.solvers.symplectic.splitting import Splitting
from physode.solvers.tableaus import Tableau

__all__ = ["Coefficients", "FusedMethod", "coefficients", "evaluations", "interpolant_terms", "most_components"]

FusedMethod: TypeAlias = Tableau | Rosenbrock | Splitting
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
    if isinstance(method, Splitting):
        return _splitting(method)
    return _rosenbrock(method) if isinstance(method, Rosenbrock) else _explicit(method)


def interpolant_terms(method: FusedMethod) -> int:
    """Return how many coefficients an interpolant has beside the state at the step's start."""
    if isinstance(method, Splitting):
        return 3
    return 1 + len(method.dense) if isinstance(method, Rosenbrock) else method.interpolant_terms


def evaluations(method: FusedMethod) -> int:
    """Return how often a step evaluates the right-hand side; a force, or a Jacobian with the value, counts as once."""
    return len(method.weights) if isinstance(method, Splitting) else method.stages


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
        _table("A", tableau.a, stages),
        _row("B", tableau.b),
        _row("C", tableau.c),
        _table("B_ERR", tableau.b_err or ((),), stages + 1),
        _table("A_EXTRA", tableau.a_extra or ((),), everything),
        _row("C_EXTRA", tableau.c_extra or (0.0,)),
        _table("D_ROWS", tableau.d or ((),), everything),
    )
    return Coefficients(defined, tables, ("step",), ("explicit_pull",))


def _rosenbrock(method: Rosenbrock) -> Coefficients:
    stages = method.stages
    # C is multiplied as the method itself does, so that both round alike
    scaled = tuple(tuple(method.gamma * value for value in line) for line in method.big_c)
    tables = (
        _table("A", method.a, stages, "S"),
        _table("GAMMA_C", scaled, stages, "S"),
        _row("C", method.c),
        _row("DRIFT_WEIGHT", method.d, "S"),
        _row("M", method.m, "S"),
        _row("ERROR", method.error),
        _table("DENSE", method.dense, stages),
    )
    defined = {"STAGES": stages, "ERRORS": 1, "FSAL": 0, "GAMMA": repr(method.gamma)}
    return Coefficients(defined, tables, ("factors", "rosenbrock_step"), ("rosenbrock_pull",))


def _splitting(method: Splitting) -> Coefficients:
    """Return a composition's kicks and drifts in units of the step, and the nodes at which their rates are taken."""
    kicks, drifts, kick_nodes, drift_nodes = [], [], [0.0], []
    done, before = 0.0, 0.0
    for weight in method.weights:
        kicks.append(0.5 * (before + weight))
        drifts.append(weight)
        drift_nodes.append(done + 0.5 * weight)
        done, before = done + weight, weight
        kick_nodes.append(done)
    kicks.append(0.5 * before)
    named = {"KICK": kicks, "DRIFT": drifts, "KICK_NODE": kick_nodes, "DRIFT_NODE": drift_nodes}
    tables = tuple(_row(name, values) for name, values in named.items())
    return Coefficients({"LEAPS": len(drifts)}, tables, ("splitting_step",), ("splitting_pull",))


def _row(name: str, values: Sequence[float], kind: str = "double") -> str:
    """Return the declaration of a row of constants."""
    return f"TABLE {kind} {name}[{len(values)}] = {{{', '.join(map(repr, values))}}};"


def _table(name: str, rows: Sequence[Sequence[float]], width: int, kind: str = "double") -> str:
    """Return the declaration of rows of constants, with zeros behind those that are shorter."""
    filled = ", ".join("{" + ", ".join(map(repr, (*line, *[0.0] * (width - len(line))))) + "}" for line in rows)
    return f"TABLE {kind} {name}[{len(rows)}][{width}] = {{{filled}}};"
