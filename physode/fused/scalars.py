"""Numbers of a graph that are written as mathematics: ``x * (1 - x)`` adds the nodes that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from physode.fused.graph import Graph

__all__ = ["VERDICTS", "Number", "Scalar", "apply", "both", "either", "where"]

VERDICTS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"})
"""The operations whose results are true or false."""


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A node of a graph."""

    graph: Graph
    node: int

    @property
    def is_verdict(self) -> bool:
        """Whether it is true or false, and no number."""
        return self.graph.nodes[self.node].op in VERDICTS

    @property
    def as_number(self) -> Scalar:
        """The number, or 1 for true and 0 for false."""
        return where(self, 1.0, 0.0) if self.is_verdict else self

    @property
    def as_verdict(self) -> Scalar:
        """Whether it differs from 0, where it is a number."""
        return self if self.is_verdict else self.ne(0.0)

    def like(self, x: Number) -> Scalar:
        """Return a number as a node of the same graph."""
        return x if isinstance(x, Scalar) else Scalar(self.graph, self.graph.constant(x))

    def __add__(self, other: Number) -> Scalar:
        return apply("add", self, other)

    def __radd__(self, other: Number) -> Scalar:
        return apply("add", other, self)

    def __sub__(self, other: Number) -> Scalar:
        return apply("sub", self, other)

    def __rsub__(self, other: Number) -> Scalar:
        return apply("sub", other, self)

    def __mul__(self, other: Number) -> Scalar:
        return apply("mul", self, other)

    def __rmul__(self, other: Number) -> Scalar:
        return apply("mul", other, self)

    def __truediv__(self, other: Number) -> Scalar:
        return apply("div", self, other)

    def __rtruediv__(self, other: Number) -> Scalar:
        return apply("div", other, self)

    def __pow__(self, other: Number) -> Scalar:
        return apply("pow", self, other)

    def __neg__(self) -> Scalar:
        return apply("neg", self)

    def __lt__(self, other: Number) -> Scalar:
        return apply("lt", self, other)

    def __le__(self, other: Number) -> Scalar:
        return apply("le", self, other)

    def __gt__(self, other: Number) -> Scalar:
        return apply("gt", self, other)

    def __ge__(self, other: Number) -> Scalar:
        return apply("ge", self, other)

    def eq(self, other: Number) -> Scalar:
        """Return whether it is equal to another."""
        return apply("eq", self, other)

    def ne(self, other: Number) -> Scalar:
        """Return whether it differs from another."""
        return apply("ne", self, other)

    def __invert__(self) -> Scalar:
        return apply("not", self)


Number: TypeAlias = Scalar | float


def apply(op: str, *operands: Number) -> Scalar:
    """Return an operation of :data:`~physode.fused.graph.ARITY`, of numbers that are not all plain."""
    one = next(x for x in operands if isinstance(x, Scalar))
    return Scalar(one.graph, one.graph.apply(op, *(one.like(x).node for x in operands)))


def where(condition: Scalar, x: Number, y: Number) -> Scalar:
    """Return one of two numbers."""
    return apply("where", condition, x, y)


def both(x: Scalar, y: Scalar) -> Scalar:
    """Return whether two verdicts are true."""
    return apply("and", x, y)


def either(x: Scalar, y: Scalar) -> Scalar:
    """Return whether one of two verdicts is true."""
    return apply("or", x, y)
