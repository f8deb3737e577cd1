"""Right-hand sides, initial values and observables as callables on rows, made of expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physode.equations.program import Program
from physode.equations.scope import TIME
from physode.equations.thresholds import find_times
from physode.equations.tree import EquationError, Expression, Number
from physode.estimation.problem import Entry, Model

__all__ = ["ChangeFormula", "Initial", "MeasuredFormula", "OwnSpread", "Rates", "model_of"]


class _Columns:
    """Which columns of t, x, p, u some expressions need; t, of which all results have the shape, is always one."""

    def __init__(self, expressions: Sequence[Expression], groups: Sequence[tuple[str, ...]]) -> None:
        used = frozenset[str]().union(*(each.names for each in expressions))
        self.places = tuple(
            (group, place) for group, names in enumerate(groups) for place, name in enumerate(names) if name in used
        )
        names = [groups[group][place] for group, place in self.places]
        if used - {*names, TIME}:
            raise EquationError(f"nothing gives {', '.join(sorted(used - {*names, TIME}))} a value")
        self.program = Program(expressions, [TIME, *names])

    def __call__(self, t: Tensor, *values: Tensor) -> list[Tensor]:
        columns = [value.unbind(-1) for value in values]
        return self.program([t, *(columns[group][place] for group, place in self.places)])


@dataclass(frozen=True)
class Rates:
    """f(t, x, p, u) of expressions: (R,), (R, D), (R, K), (R, I) to (R, D).

    Attributes
    ----------
    expressions
        One for each state.
    states, constants, inputs
        Names, in the order of x, p and u.
    """

    expressions: tuple[Expression, ...]
    states: tuple[str, ...]
    constants: tuple[str, ...]
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = _Columns(self.expressions, (self.states, self.constants, self.inputs))
        object.__setattr__(self, "_columns", columns)

    def __call__(self, t: Tensor, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
        """Return the derivative of each state."""
        return torch.stack(self._columns(t, x, p, u), -1)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Initial:
    """x0(p) of expressions: (R, K) to (R, D)."""

    expressions: tuple[Expression, ...]
    constants: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_columns", _Columns(self.expressions, (self.constants,)))

    def __call__(self, p: Tensor) -> Tensor:
        """Return each state's initial value."""
        rows = p.new_zeros(p.shape[:-1])
        return torch.stack(self._columns(rows, p), -1)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class MeasuredFormula:
    """g(t, x, p, u, q) of an expression: (n,), (n, D), (n, K), (n, I), (n, Q) to (n,); q has no part in it."""

    expression: Expression
    states: tuple[str, ...]
    constants: tuple[str, ...]
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = _Columns((self.expression,), (self.states, self.constants, self.inputs))
        object.__setattr__(self, "_columns", columns)

    def __call__(self, t: Tensor, x: Tensor, p: Tensor, u: Tensor, q: Tensor) -> Tensor:
        """Return the observable's value, row by row."""
        value: Tensor = self._columns(t, x, p, u)[0]  # type: ignore[attr-defined]
        return value


@dataclass(frozen=True)
class OwnSpread:
    """A spread that stands beside each measurement, in the first column of q."""

    def __call__(self, t: Tensor, x: Tensor, p: Tensor, u: Tensor, q: Tensor) -> Tensor:
        """Return it, (n,)."""
        return q[..., 0]


@dataclass(frozen=True)
class ChangeFormula:
    """A state's new value, a function of (t, x, p) with shapes (), (D,), (K,) to ()."""

    expression: Expression
    states: tuple[str, ...]
    constants: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_columns", _Columns((self.expression,), (self.states, self.constants)))

    def __call__(self, t: Tensor, x: Tensor, p: Tensor) -> Tensor:
        """Return the value behind the change."""
        value: Tensor = self._columns(t, x, p)[0]  # type: ignore[attr-defined]
        return value


def model_of(
    states: Sequence[str],
    rates: Sequence[Expression],
    start: Sequence[Expression],
    constants: Sequence[str],
    values: Sequence[Entry],
    *,
    inputs: Sequence[str] = (),
    state_units: Sequence[str] = (),
    time_unit: str = "",
    stiff: bool | None = None,
    equations: Sequence[str] = (),
) -> Model:
    """Return a model of expressions; its breaks are the thresholds of time in its rates.

    Parameters
    ----------
    states, rates, start
        Names, derivatives, and initial values: expressions of t, states, constants and inputs; and of constants.
    constants, values
        Names, and what they are where no experiment says otherwise.
    inputs, state_units, time_unit, stiff, equations
        As in :class:`~physode.estimation.problem.Model`.

    Raises
    ------
    EquationError
        If an expression depends on another name.
    """
    labels, fixed, driven = tuple(states), tuple(constants), tuple(inputs)
    breaks = dict.fromkeys(each for rate in rates for each in find_times(rate, (*labels, *driven)))
    return Model(
        states=labels,
        constants=fixed,
        rhs=Rates(tuple(rates), labels, fixed, driven),
        initial=Initial(tuple(start), fixed),
        values=tuple(values),
        inputs=driven,
        state_units=tuple(state_units),
        time_unit=time_unit,
        stiff=stiff,
        equations=tuple(equations),
        breaks=tuple(each for each in breaks if not isinstance(each, Number) or abs(each.value) < float("inf")),
    )
