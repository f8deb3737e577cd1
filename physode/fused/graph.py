"""A right-hand side as arithmetic on numbers: one sample's derivative, every scalar a node.

Nodes are kept once (common subexpressions are shared), simplified as they are made, and refer to earlier ones only, so
that their order is one of evaluation. Products with large matrices stay whole: a node ``matvec`` with as many results
as the matrix has rows, each of them an ``element``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["ARITY", "Graph", "Leaf", "Matrix", "Node", "Program", "needed"]

Leaf: TypeAlias = Literal["time", "state", "shared", "sample", "cotangent", "tangent", "slot", "kept"]
"""What a number comes from: the time; the state's components; what all samples share (parameters, numbers); what each
sample has for itself; and, for derivatives, what is given with the state's derivative (cotangents), or tangents, those
of numbers apart (slots), and what was kept from before (:mod:`physode.fused.tangent_map`)."""

ARITY: dict[str, int] = {
    **dict.fromkeys(
        (
            "neg", "abs", "sign", "sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan",
            "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid",
            "floor", "ceil", "round", "trunc", "not",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "add", "sub", "mul", "div", "pow", "atan2", "fmod", "minimum", "maximum", "lt", "le", "gt", "ge", "eq",
            "ne", "and", "or",
        ),
        2,
    ),
    "where": 3,
}  # fmt: skip
"""Operations on numbers, by their count of operands. Comparisons and ``and``, ``or``, ``not`` give verdicts, which are
operands of these and the first of ``where`` alone. ``round`` is half to even; ``minimum`` and ``maximum`` are NaN where
either operand is; ``fmod`` has the sign of the dividend."""


class Matrix(NamedTuple):
    """A matrix among the shared numbers: ``(i, k)`` is number ``offset + i * by_row + k * by_column``."""

    offset: int
    rows: int
    columns: int
    by_row: int
    by_column: int

    @property
    def T(self) -> Matrix:  # noqa: N802 - mathematics
        """The transpose."""
        return Matrix(self.offset, self.columns, self.rows, self.by_column, self.by_row)

    def place(self, i: int, k: int) -> int:
        """Return which shared number an element is."""
        return self.offset + i * self.by_row + k * self.by_column


class Node(NamedTuple):
    """One number, or the product of a matrix and a vector.

    Attributes
    ----------
    op
        A key of :data:`ARITY`; ``"constant"`` (``value``); a :data:`Leaf` (``place``: which component); ``"matvec"``
        (``matrix``, and the vector as ``operands``); ``"element"`` (``place`` of the matvec that is the operand).
    operands
        Earlier nodes, by number.
    """

    op: str
    operands: tuple[int, ...] = ()
    value: float = 0.0
    place: int = 0
    matrix: Matrix | None = None


@dataclass(frozen=True)
class Program:
    """The derivative of one sample's state.

    Attributes
    ----------
    nodes
        In an order of evaluation.
    outputs
        The nodes of dy/dt, one for each component of the state.
    shared, sample
        How many numbers all samples share, and how many each has for itself.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    shared: int = 0
    sample: int = 0

    @property
    def dimension(self) -> int:
        """The number of components of a sample's state."""
        return len(self.outputs)

    @property
    def uses_time(self) -> bool:
        """Whether the derivative depends on the time."""
        return any(node.op == "time" for node in self.nodes)


@dataclass
class Graph:
    """Nodes in the making."""

    nodes: list[Node] = field(default_factory=list)
    _known: dict[Node, int] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> Graph:
        """Return a graph that begins with nodes of another one, under their numbers."""
        made = cls()
        for node in nodes:
            made._put(node)
        return made

    def leaf(self, kind: Leaf, place: int = 0) -> int:
        """Return an input's node."""
        return self._put(Node(kind, place=place))

    def copied(self, node: Node, operands: Sequence[int]) -> int:
        """Return a node of another graph, with operands of this one."""
        return self._put(node._replace(operands=tuple(operands)))

    def constant(self, value: float) -> int:
        """Return a constant's node."""
        return self._put(Node("constant", value=float(value)))

    def matvec(self, matrix: Matrix, vector: Sequence[int]) -> list[int]:
        """Return the nodes of the components of a product ``matrix @ vector``."""
        if len(vector) != matrix.columns:
            raise ValueError(f"a matrix of {matrix.columns} columns times a vector of {len(vector)} components")
        product = self._put(Node("matvec", tuple(vector), matrix=matrix))
        return [self._put(Node("element", (product,), place=row)) for row in range(matrix.rows)]

    def apply(self, op: str, *operands: int) -> int:
        """Return an operation's node, simplified."""
        if len(operands) != ARITY[op]:
            raise ValueError(f"{op} takes {ARITY[op]} operands, got {len(operands)}")
        if op in _COMMUTING and operands[0] > operands[1]:
            operands = operands[1], operands[0]
        simple = self._simplified(op, operands)
        if simple is None:
            simple = self._without_negatives(op, operands)
        return self._put(Node(op, operands)) if simple is None else simple

    def number(self, node: int) -> float | None:
        """Return a constant's value; None for what is no constant."""
        found = self.nodes[node]
        return found.value if found.op == "constant" else None

    def total(self, terms: Sequence[int]) -> int:
        """Return a sum, from the first term to the last."""
        if not terms:
            return self.constant(0.0)
        found = terms[0]
        for term in terms[1:]:
            found = self.apply("add", found, term)
        return found

    def program(self, outputs: Sequence[int], *, shared: int = 0, sample: int = 0) -> Program:
        """Return what the outputs need, and nothing else."""
        used = self.needed(outputs)
        place = {node: i for i, node in enumerate(used)}
        nodes = tuple(
            self.nodes[node]._replace(operands=tuple(place[x] for x in self.nodes[node].operands)) for node in used
        )
        return Program(nodes, tuple(place[x] for x in outputs), shared, sample)

    def needed(self, outputs: Sequence[int]) -> list[int]:
        """Return the nodes that some outputs are made of, in their order."""
        return needed(self.nodes, outputs)

    def _put(self, node: Node) -> int:
        # 0.0 and -0.0 are equal keys but different numbers; NaN is equal to nothing
        key = node if node.op != "constant" else node._replace(op=f"constant {node.value!r}")
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]

    def _simplified(self, op: str, operands: tuple[int, ...]) -> int | None:
        """Return what an operation is without being done: exactly, also for numbers that are not finite.

        What multiplies by 0, or adds it, is simplified although NaN and infinity would make a difference: zeros are
        what states are assembled from.
        """
        values = [self.number(x) for x in operands]
        if op in _FOLDED and all(value is not None for value in values):
            try:
                return self.constant(_FOLDED[op](*values))
            except (ValueError, OverflowError, ZeroDivisionError):
                return None
        a, b = (*values, None)[:2]
        x, y = (*operands, 0)[:2]
        match op:
            case "add":
                return y if a == 0.0 else x if b == 0.0 else None
            case "sub":
                if x == y:
                    return self.constant(0.0)
                return x if b == 0.0 else self.apply("neg", y) if a == 0.0 else None
            case "mul":
                if a == 0.0 or b == 0.0:
                    return self.constant(0.0)
                if a == 1.0:
                    return y
                if b == 1.0:
                    return x
                return self.apply("neg", y) if a == -1.0 else self.apply("neg", x) if b == -1.0 else None
            case "div":
                if b is not None and b != 1.0 and abs(math.frexp(b)[0]) == 0.5 and 2.0**-100 < abs(b) < 2.0**100:
                    return self.apply("mul", x, self.constant(1.0 / b))  # exactly
                return x if b == 1.0 else self.constant(0.0) if a == 0.0 else None
            case "pow":
                return None if b is None else self._power(x, b)
            case "maximum" | "minimum" if x == y:
                return x
            case "where" if operands[1] == operands[2]:
                return operands[1]
        return None

    def _without_negatives(self, op: str, operands: tuple[int, ...]) -> int | None:
        """Return an operation on what negative operands are the negatives of: results that differ in sign are one."""
        x, y = (*operands, operands[0])[:2]
        p, q = self._negative(x), self._negative(y)
        match op:
            case "neg":
                if p is not None:
                    return p
                if self.nodes[x].op == "mul":
                    first, second = self.nodes[x].operands
                    if self.number(first) is not None or self.number(second) is not None:
                        number, other = (first, second) if self.number(first) is not None else (second, first)
                        return self.apply("mul", self.apply("neg", number), other)
            case "abs" | "cos" | "cosh" if p is not None:
                return self.apply(op, p)
            case "add" if q is not None:
                return self.apply("sub", x, q)
            case "add" if p is not None:
                return self.apply("sub", y, p)
            case "sub" if q is not None:
                return self.apply("add", x, q)
            case "sub" if p is not None:
                return self.apply("neg", self.apply("add", p, y))
            case "sub" if Node("sub", (y, x)) in self._known:
                return self.apply("neg", self._known[Node("sub", (y, x))])
            case "mul" | "div" if p is not None or q is not None:
                size = self.apply(op, x if p is None else p, y if q is None else q)
                return size if p is not None and q is not None else self.apply("neg", size)
        return None

    def _negative(self, node: int) -> int | None:
        """Return what a node is the negative of; None if it is none."""
        entry = self.nodes[node]
        return entry.operands[0] if entry.op == "neg" else None

    def _power(self, x: int, exponent: float) -> int | None:
        """Return a power by products and a root where the exponent is a small multiple of a half."""
        if exponent == 0.0:
            return self.constant(1.0)
        if exponent < 0.0 and _is_half(exponent):
            return self.apply("div", self.constant(1.0), self.apply("pow", x, self.constant(-exponent)))
        if not _is_half(exponent):
            return None
        whole, root = int(exponent), exponent != int(exponent)
        found: int | None = self.apply("sqrt", x) if root else None
        factor = x
        while whole:
            if whole & 1:
                found = factor if found is None else self.apply("mul", found, factor)
            whole >>= 1
            if whole:
                factor = self.apply("mul", factor, factor)
        return found


def _is_half(exponent: float) -> bool:
    return abs(exponent) <= 16.0 and 2.0 * exponent == math.floor(2.0 * exponent)


_COMMUTING = frozenset({"add", "mul", "eq", "ne", "and", "or", "minimum", "maximum"})
"""Operations that give the same, to the bit, with their operands exchanged."""

_FOLDED: dict[str, Callable[..., float]] = {
    "neg": lambda x: -x,
    "abs": abs,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
}


def needed(nodes: Sequence[Node], outputs: Sequence[int]) -> list[int]:
    """Return which nodes some outputs are made of, in their order."""
    seen = set(outputs)
    waiting = list(seen)
    while waiting:
        for operand in nodes[waiting.pop()].operands:
            if operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return sorted(seen)
