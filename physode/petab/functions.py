"""Expressions as functions of time, states and constants, row by row, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physode.equations.expression import Expression
from physode.equations.program import Program
from physode.petab.from_sympy import TIME
from physode.petab.kinetics import Term


@dataclass(frozen=True)
class Names:
    """What the columns of a row are called: time, states x, constants p, and q, what belongs to one measurement."""

    states: tuple[str, ...]
    constants: tuple[str, ...]
    own: tuple[str, ...] = ()


class Columns:
    """Some expressions of one row's columns.

    Parameters
    ----------
    expressions
        In the names of `names`.
    names
        What there is.

    Raises
    ------
    EquationError
        If an expression depends on another name.
    """

    def __init__(self, expressions: Sequence[Expression], names: Names) -> None:
        used = frozenset[str]().union(*(each.names for each in expressions))
        self._time = TIME in used
        self._picks = tuple(
            tuple((index, label) for index, label in enumerate(group) if label in used)
            for group in (names.states, names.constants, names.own)
        )
        inputs = [label for picks in self._picks for _, label in picks]
        self._program = Program(expressions, [*([TIME] if self._time or not inputs else []), *inputs])

    def __call__(self, t: Tensor, *groups: Tensor) -> list[Tensor]:
        """Return the value of each, given t and the columns of x, p and q behind it, ``(..., D)`` and so on."""
        columns = [t] if self._time or not any(self._picks) else []
        for group, picks in zip(groups, self._picks, strict=False):
            columns.extend(group[..., index] for index, _ in picks)
        return self._program(columns)


class Derivative:
    """dx/dt: the columns of different rates, and a matrix of how many of each go into which state.

    Parameters
    ----------
    derivatives
        The terms of each state's derivative.
    names
        Names of states and constants.
    """

    def __init__(self, derivatives: Sequence[Sequence[Term]], names: Names) -> None:
        rates = list(dict.fromkeys(rate for terms in derivatives for _, rate in terms))
        places = {rate: place for place, rate in enumerate(rates)}
        matrix = torch.zeros(len(rates), len(derivatives), dtype=torch.float64)
        for state, terms in enumerate(derivatives):
            for factor, rate in terms:
                matrix[places[rate], state] = factor
        self._rates = Columns(rates, names)
        self._matrix = None if _is_identity(matrix) else matrix
        self._count = len(rates)

    def __call__(self, t: Tensor, x: Tensor, p: Tensor, u: Tensor) -> Tensor:
        """Return f(t, x, p), (R, D)."""
        if not self._count:
            return torch.zeros_like(x)
        rates = torch.stack([rate.expand_as(t) for rate in self._rates(t, x, p)], dim=-1)
        return rates if self._matrix is None else rates @ self._matrix.to(rates)


class Initial:
    """x0(p)."""

    def __init__(self, values: Sequence[Expression], names: Names) -> None:
        self._values = Columns(values, names)
        self._count = len(values)

    def __call__(self, p: Tensor) -> Tensor:
        """Return x0, (R, D), of constants (R, K)."""
        if not self._count:
            return p.new_zeros(*p.shape[:-1], 0)
        like = p.new_zeros(p.shape[:-1])
        values = self._values(like, p.new_zeros(*p.shape[:-1], 0), p)
        return torch.stack([each.expand_as(like) for each in values], dim=-1)


class Value:
    """One expression, as an observable's or a spread's value, a condition, or what a state becomes."""

    def __init__(self, expression: Expression, names: Names) -> None:
        self.expression = expression
        self._value = Columns([expression], names)

    def __call__(self, t: Tensor, x: Tensor, p: Tensor, u: Tensor | None = None, q: Tensor | None = None) -> Tensor:
        """Return it for each row, of the shape of t."""
        groups = (x, p) if q is None else (x, p, q)
        return self._value(t, *groups)[0].expand_as(t)

    def __repr__(self) -> str:
        return f"Value({self.expression})"


def _is_identity(matrix: Tensor) -> bool:
    return matrix.shape[0] == matrix.shape[1] and bool(torch.equal(matrix, torch.eye(len(matrix), dtype=matrix.dtype)))
