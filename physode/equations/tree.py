"""Expressions as trees of numbers, names and operations: made, printed, and replaced in."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from physode.equations.operations import COMPARISONS, FUNCTIONS, OPERATIONS
from physode.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Apply", "EquationError", "Expression", "Name", "Number", "apply", "dependencies", "name", "number", "postorder",
]  # fmt: skip


class EquationError(ConfigError):
    """A text is no expression, or an expression cannot be what it stands for.

    Attributes
    ----------
    text
        The expression.
    position
        Where in it, from 0; None where it is the whole.
    reason
        What is wrong, and what to write instead.
    """

    def __init__(self, message: str, *, text: str = "", position: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.text = text
        self.position = position
        self.reason = reason or message


class Expression:
    """A function of named real numbers, as a tree: :class:`Number`, :class:`Name` or :class:`Apply`.

    Equal trees are equal, and hash alike. Text that prints it is read as the same tree again.

    Attributes
    ----------
    names
        What it depends on.
    """

    names: frozenset[str]

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return its value.

        Parameters
        ----------
        values
            Tensors by name, of shapes that broadcast against one another; others than `names` do not matter.

        Raises
        ------
        EquationError
            If a name has no value.
        """
        from physode.equations.program import evaluate  # which is made of this module

        return evaluate(self, values)

    def substitute(self, replacements: Mapping[str, Expression]) -> Expression:
        """Return it with names replaced by expressions, all at once; numbers are worked out."""
        changed: dict[int, Expression] = {}
        for node in postorder([self]):
            if isinstance(node, Name):
                changed[id(node)] = replacements.get(node.text, node)
            elif isinstance(node, Apply) and node.names & replacements.keys():
                changed[id(node)] = apply(node.op, *(changed[id(each)] for each in node.arguments))
            else:
                changed[id(node)] = node
        return changed[id(self)]

    def __str__(self) -> str:
        return _printed(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


@dataclass(frozen=True, repr=False)
class Number(Expression):
    """A real number."""

    value: float

    names = frozenset[str]()


@dataclass(frozen=True, repr=False)
class Name(Expression):
    """A state, constant, input or whatever else has a name; ``x'`` is one, too."""

    text: str
    names: frozenset[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset({self.text}))


@dataclass(frozen=True, repr=False, eq=False)
class Apply(Expression):
    """An operation on arguments; make it by :func:`apply`.

    Attributes
    ----------
    op
        One of `OPERATIONS`: ``"+"`` and ``"*"`` of two or more, ``"neg"``, ``"/"``, ``"^"``, comparisons, ``"and"``,
        ``"or"``, ``"not"``, functions by name; ``"piecewise"`` of values and conditions in turn, and a last value.
    arguments
        What it is applied to.
    """

    op: str
    arguments: tuple[Expression, ...]
    names: frozenset[str] = field(init=False)
    _hash: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset[str]().union(*(each.names for each in self.arguments)))
        object.__setattr__(self, "_hash", hash((self.op, self.arguments)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Apply)
            and self._hash == other._hash
            and self.op == other.op
            and self.arguments == other.arguments
        )

    def __reduce__(self) -> tuple[type[Apply], tuple[str, tuple[Expression, ...]]]:
        return Apply, (self.op, self.arguments)  # another process has other hashes


def number(value: float) -> Number:
    """Return a number as an expression."""
    value = float(value)
    return Number(math.nan if math.isnan(value) else value + 0.0)  # one NaN, no -0


def name(text: str) -> Name:
    """Return a name as an expression, in the form (NFKC) in which letters that look alike are the same."""
    return Name(unicodedata.normalize("NFKC", text))


def apply(op: str, *arguments: Expression) -> Expression:
    """Return an operation on arguments, worked out where these are numbers and so is the result.

    Nothing is reordered: values are those of the expression as it was written, to the last bit, save that terms 0 and
    factors 1 are left out.

    Raises
    ------
    EquationError
        If there is no such operation, or it takes another number of arguments.
    """
    operation = OPERATIONS.get(op)
    if operation is None:
        raise EquationError(f"there is no operation {op!r}")
    if op in ("+", "*") and len(arguments) == 1:
        return arguments[0]
    if not operation.least <= len(arguments) <= operation.most or (op == "piecewise" and len(arguments) % 2 == 0):
        raise EquationError(f"{op} cannot be applied to {len(arguments)} arguments")
    if all(isinstance(each, Number) for each in arguments):
        value = _value(op, arguments)
        if value is not None:
            return number(value)
    return _SIMPLER[op](arguments) if op in _SIMPLER else Apply(op, arguments)


def dependencies(expression: Expression) -> frozenset[str]:
    """Return what an expression depends on: its names, but for those that a factor 0, or an exponent 0, takes away."""
    names: dict[int, frozenset[str]] = {}
    zero: set[int] = set()
    for node in postorder([expression]):
        names[id(node)] = node.names
        if isinstance(node, Number) and node.value == 0.0:
            zero.add(id(node))
        if not isinstance(node, Apply):
            continue
        inner = [id(each) for each in node.arguments]
        factors = inner if node.op == "*" else inner[:1] if node.op in ("/", "neg") else ()
        if any(each in zero for each in factors) or (node.op == "+" and all(each in zero for each in inner)):
            zero.add(id(node))
        nothing = id(node) in zero or (node.op == "^" and inner[1] in zero)
        names[id(node)] = frozenset() if nothing else frozenset().union(*(names[each] for each in inner))
    return names[id(expression)]


def postorder(roots: Iterable[Expression]) -> list[Expression]:
    """Return all nodes of some trees, each object once, arguments before what is applied to them."""
    nodes: list[Expression] = []
    seen: set[int] = set()
    waiting = [(root, False) for root in reversed(list(roots))]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            nodes.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            if isinstance(node, Apply):
                waiting.extend((each, False) for each in reversed(node.arguments))
    return nodes


def _value(op: str, arguments: tuple[Expression, ...]) -> float | None:
    """Return the value for numbers; None where finite numbers give none that is finite."""
    numbers = [each.value for each in arguments if isinstance(each, Number)]
    with np.errstate(all="ignore"):
        try:
            value = float(OPERATIONS[op].value(*numbers))  # type: ignore[arg-type]
        except (OverflowError, ZeroDivisionError):
            return None
    return value if math.isfinite(value) or not all(map(math.isfinite, numbers)) else None


def _chain(op: str, neutral: float) -> Callable[[tuple[Expression, ...]], Expression]:
    """Return what simplifies sums or products: the first one opened, numbers at the beginning worked out."""

    def simpler(arguments: tuple[Expression, ...]) -> Expression:
        first = arguments[0]
        if isinstance(first, Apply) and first.op == op:
            arguments = first.arguments + arguments[1:]
        kept: list[Expression] = []
        for each in arguments:
            if isinstance(each, Number) and each.value == neutral:
                continue
            value = _value(op, (kept[0], each)) if len(kept) == 1 and _are_numbers(kept[0], each) else None
            if value is None:
                kept.append(each)
            else:
                kept = [number(value)] if value != neutral else []
        if len(kept) > 1:
            return Apply(op, tuple(kept))
        return kept[0] if kept else number(neutral)

    return simpler


def _are_numbers(*each: Expression) -> bool:
    return all(isinstance(one, Number) for one in each)


def _opened(op: str) -> Callable[[tuple[Expression, ...]], Expression]:
    def simpler(arguments: tuple[Expression, ...]) -> Expression:
        first = arguments[0]
        return Apply(op, first.arguments + arguments[1:] if isinstance(first, Apply) and first.op == op else arguments)

    return simpler


def _negative(arguments: tuple[Expression, ...]) -> Expression:
    (one,) = arguments
    return one.arguments[0] if isinstance(one, Apply) and one.op == "neg" else Apply("neg", arguments)


def _quotient(arguments: tuple[Expression, ...]) -> Expression:
    return arguments[0] if arguments[1] == Number(1.0) else Apply("/", arguments)


def _power(arguments: tuple[Expression, ...]) -> Expression:
    base, exponent = arguments
    if exponent == Number(1.0):
        return base
    return number(1.0) if exponent == Number(0.0) else Apply("^", arguments)


def _pieces(arguments: tuple[Expression, ...]) -> Expression:
    kept: list[Expression] = []
    otherwise = arguments[-1]
    for value, condition in zip(arguments[:-1:2], arguments[1::2], strict=True):
        if not isinstance(condition, Number):
            kept += [value, condition]
        elif condition.value:
            otherwise = value
            break
    return Apply("piecewise", (*kept, otherwise)) if kept else otherwise


_SIMPLER: dict[str, Callable[[tuple[Expression, ...]], Expression]] = {
    "+": _chain("+", 0.0),
    "*": _chain("*", 1.0),
    "and": _opened("and"),
    "or": _opened("or"),
    "neg": _negative,
    "/": _quotient,
    "^": _power,
    "piecewise": _pieces,
}

# How tightly what was printed holds together.
_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(9)


def _printed(expression: Expression) -> str:
    texts: dict[int, tuple[str, int]] = {}

    def within(node: Expression, least: int) -> str:
        text, level = texts[id(node)]
        return text if level >= least else f"({text})"

    for node in postorder([expression]):
        match node:
            case Number(value):
                texts[id(node)] = _digits(value), _SIGN if value < 0 else _ATOM
            case Name(text):
                texts[id(node)] = text, _ATOM
            case Apply(op, arguments):
                texts[id(node)] = _applied(op, arguments, within)
    return texts[id(expression)][0]


def _applied(op: str, arguments: tuple[Expression, ...], within: Callable[[Expression, int], str]) -> tuple[str, int]:
    first = arguments[0]
    if op == "+":
        terms = [within(first, _PRODUCT)]
        for each in arguments[1:]:
            if isinstance(each, Apply) and each.op == "neg":
                terms.append(f" - {within(each.arguments[0], _PRODUCT)}")
            elif isinstance(each, Number) and each.value < 0:
                terms.append(f" - {_digits(-each.value)}")
            else:
                terms.append(f" + {within(each, _PRODUCT)}")
        return "".join(terms), _SUM
    if op in ("*", "/"):
        return op.join([within(first, _PRODUCT), *(within(each, _SIGN) for each in arguments[1:])]), _PRODUCT
    if op == "neg":
        return f"-{within(first, _SIGN)}", _SIGN
    if op == "^":
        return f"{within(first, _ATOM)}^{within(arguments[1], _SIGN)}", _POWER
    if op in COMPARISONS:
        return f"{within(first, _SUM)} {op} {within(arguments[1], _SUM)}", _COMPARISON
    if op == "not":
        return f"not {within(first, _NOT)}", _NOT
    if op in ("and", "or"):
        level = _AND if op == "and" else _OR
        return f" {op} ".join(within(each, level + 1) for each in arguments), level
    assert op in FUNCTIONS
    return f"{op}({', '.join(within(each, _OR) for each in arguments)})", _ATOM


def _digits(value: float) -> str:
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(value)
