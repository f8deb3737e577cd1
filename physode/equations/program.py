"""Expressions as straight lists of torch operations over columns; what they have in common is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any

import torch
from torch import Tensor

from physode.equations.guards import ONLY, guarded
from physode.equations.operations import COMPARISONS
from physode.equations.tree import Apply, EquationError, Expression, Name, Number, postorder

__all__ = ["Program", "evaluate"]

Call = Callable[..., Any]

Step = tuple[Call, int, int, int]

_CALLS: dict[str, Call] = {
    "neg": torch.neg, "sin": torch.sin, "cos": torch.cos, "tan": torch.tan, "asin": torch.asin, "acos": torch.acos,
    "atan": torch.atan, "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh, "asinh": torch.asinh,
    "acosh": torch.acosh, "atanh": torch.atanh, "exp": torch.exp, "log": torch.log, "log10": torch.log10,
    "log2": torch.log2, "sqrt": torch.sqrt, "abs": torch.abs, "sign": torch.sign, "floor": torch.floor,
    "ceil": torch.ceil, "sigmoid": torch.sigmoid, "not": torch.logical_not,
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "^": torch.pow, "mod": torch.remainder,
    "atan2": torch.atan2, "min": torch.minimum, "max": torch.maximum, "and": torch.logical_and, "or": torch.logical_or,
    "<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge, "==": torch.eq, "!=": torch.ne,
}  # fmt: skip
_SWAPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _bare(term: Expression) -> Expression:
    """Return what a term takes away; the term itself where it adds."""
    return term.arguments[0] if isinstance(term, Apply) and term.op == "neg" else term


def _as_real(condition: Tensor, like: Tensor) -> Tensor:
    return condition.to(like.dtype)


def _at_most(x: Tensor, number: float) -> Tensor:
    return torch.clamp(x, max=number)


def _at_least(x: Tensor, number: float) -> Tensor:
    return torch.clamp(x, min=number)


class Program:
    """Some expressions of the same inputs, as one list of torch operations.

    It can be differentiated and mapped as any torch operations can, by autograd and by :mod:`torch.func`. Derivatives
    are finite where they are in mathematics: what :func:`piecewise` does not select has no part in them, whatever it
    is there.

    Parameters
    ----------
    expressions
        What to compute.
    inputs
        The names whose columns it is given, in order.

    Raises
    ------
    EquationError
        If an expression depends on another name.
    """

    def __init__(self, expressions: Sequence[Expression], inputs: Sequence[str]) -> None:
        self.expressions = tuple(expressions)
        self.inputs = tuple(inputs)
        given = frozenset(inputs)
        for each in expressions:
            if not each.names <= given:
                raise EquationError(f"{each} depends on {', '.join(sorted(each.names - given))}, which has no value")
        assembly = _Assembly(guarded(expressions), self.inputs)
        self._numbers = assembly.numbers
        self._steps, self._outputs = assembly.finished()

    def __reduce__(self) -> tuple[type[Program], tuple[tuple[Expression, ...], tuple[str, ...]]]:
        return Program, (self.expressions, self.inputs)

    def __call__(self, columns: Sequence[Tensor]) -> list[Tensor]:
        """Return the value of each expression.

        Parameters
        ----------
        columns
            One tensor for each input, of one dtype and of shapes that broadcast against one another; at least one.

        Returns
        -------
        list of Tensor
            Each of the shape to which the columns that it depends on broadcast; of a number, the first column's.
        """
        values: list[Any] = [*columns, *self._numbers]
        push = values.append
        for call, first, second, third in self._steps:
            if second < 0:
                push(call(values[first]))
            elif third < 0:
                push(call(values[first], values[second]))
            else:
                push(call(values[first], values[second], values[third]))
        return [values[place] for place in self._outputs]


def evaluate(expression: Expression, values: Mapping[str, Tensor]) -> Tensor:
    """Return an expression's value; see :meth:`Expression.__call__`."""
    missing = expression.names - values.keys()
    if missing:
        raise EquationError(f"{expression} depends on {', '.join(sorted(missing))}, which has no value")
    if isinstance(expression, Number):
        like = next(iter(values.values()), None)
        return torch.tensor(expression.value, dtype=like.dtype if like is not None else torch.float64)
    if isinstance(expression, Name):
        return values[expression.text]
    program = _program_of(expression)
    return program([values[each] for each in program.inputs])[0]


@lru_cache(maxsize=4096)
def _program_of(expression: Expression) -> Program:
    return Program([expression], sorted(expression.names))


class _Assembly:
    """The steps of a program as they are written: each computes one more value from one to three before it.

    The values are columns, numbers, and results of steps, in this order. What was computed is not computed again.
    """

    def __init__(self, expressions: Sequence[Expression], inputs: Sequence[str]) -> None:
        nodes = postorder(expressions)
        numbers = dict.fromkeys([0.0, 1.0, *(node.value for node in nodes if isinstance(node, Number))])
        self.numbers = tuple(numbers)
        self._places = {value: len(inputs) + i for i, value in enumerate(numbers)}
        self.steps: list[Step] = []
        self._columns = len(inputs)
        self._count = len(inputs) + len(self.numbers)
        self._truths: set[int] = set()
        self._shared: dict[tuple[Call, tuple[int, ...]], int] = {}
        places: dict[int, int] = {}
        named = {name: place for place, name in enumerate(inputs)}
        for node in nodes:
            match node:
                case Number(value):
                    places[id(node)] = self.number(value)
                case Name(text):
                    places[id(node)] = named[text]
                case Apply("+", terms):  # what is negated is not, but subtracted
                    bare = [_bare(each) for each in terms[1:]]
                    total = self.real(places[id(terms[0])])
                    for term, inner in zip(terms[1:], bare, strict=True):
                        total = self.pair("+" if term is inner else "-", total, self.real(places[id(inner)]))
                    places[id(node)] = total
                case Apply(op, arguments):
                    places[id(node)] = self.applied(op, [places[id(each)] for each in arguments])
        self.outputs = [self.column(self.real(places[id(each)])) for each in expressions]

    def finished(self) -> tuple[tuple[Step, ...], tuple[int, ...]]:
        """Return the steps that an output needs, and the outputs' places behind them."""
        before = self._count - len(self.steps)
        needed = set(self.outputs)
        for place in range(self._count - 1, before - 1, -1):
            if place in needed:
                needed.update(self.steps[place - before][1:])
        moved = {place: place for place in range(-1, before)}
        steps: list[Step] = []
        for place, (call, *sources) in enumerate(self.steps, before):
            if place in needed:
                moved[place] = before + len(steps)
                first, second, third = (moved[each] for each in sources)
                steps.append((call, first, second, third))
        return tuple(steps), tuple(moved[place] for place in self.outputs)

    def number(self, value: float) -> int:
        """Return the place of a number."""
        return self._places[value]

    def is_number(self, place: int) -> bool:
        return self._columns <= place < self._columns + len(self.numbers)

    def step(self, call: Call, *places: int, truth: bool = False) -> int:
        """Return the place of a step's result."""
        key = (call, places)
        if key not in self._shared:
            first, second, third = (*places, -1, -1)[:3]
            self.steps.append((call, first, second, third))
            self._shared[key] = self._count
            if truth:
                self._truths.add(self._count)
            self._count += 1
        return self._shared[key]

    def column(self, place: int) -> int:
        """Return the place of a tensor, where a number may stand."""
        return self.step(torch.full_like, 0, place) if self.is_number(place) else place

    def real(self, place: int) -> int:
        """Return the place of 1 and 0, where true and false may stand."""
        return self.step(_as_real, place, 0) if place in self._truths else place

    def truth(self, place: int) -> int:
        """Return the place of true and false, where a number may stand that is 0 or not."""
        if place in self._truths:
            return place
        return self.step(torch.ne, self.column(place), self.number(0.0), truth=True)

    def applied(self, op: str, places: list[int]) -> int:
        """Return the place of an operation's result."""
        if op in ("and", "or", "not"):
            conditions = [self.truth(each) for each in places]
            call = _CALLS[op]
            if op == "not":
                return self.step(call, conditions[0], truth=True)
            return reduce(lambda one, other: self.step(call, one, other, truth=True), conditions)
        if op == "piecewise":
            value, condition, otherwise = places
            return self.chosen(self.truth(condition), self.real(value), self.real(otherwise))
        if op == ONLY:
            return self.chosen(self.truth(places[0]), self.real(places[1]), self.number(1.0))
        places = [self.real(each) for each in places]
        if all(self.is_number(each) for each in places):
            places[0] = self.column(places[0])
        if len(places) == 1:
            if op == "step":
                return self.step(torch.ge, places[0], self.number(0.0), truth=True)
            return self.step(_CALLS[op], places[0])
        return reduce(lambda one, other: self.pair(op, one, other), places)

    def chosen(self, condition: int, value: int, otherwise: int) -> int:
        if self.is_number(value) and self.is_number(otherwise):
            value = self.column(value)
        return self.step(torch.where, condition, value, otherwise)

    def pair(self, op: str, one: int, other: int) -> int:
        """Return the place of an operation of two, of which not both are numbers."""
        if self.is_number(one) and self.is_number(other):
            one = self.column(one)
        if self.is_number(one):
            match op:
                case "+" | "*" | "min" | "max" | "==" | "!=":
                    one, other = other, one
                case "<" | "<=" | ">" | ">=":
                    op, one, other = _SWAPPED[op], other, one
                case "-":
                    return self.step(torch.rsub, other, one)
                case "/":
                    inverse = self.step(torch.reciprocal, other)
                    return inverse if one == self.number(1.0) else self.step(torch.mul, inverse, one)
                case "atan2" | "mod":
                    one = self.column(one)
        if self.is_number(other):
            match op:
                case "^" if self.numbers[other - self._columns] == 2:
                    return self.step(torch.square, one)
                case "min" | "max":
                    return self.step(_at_most if op == "min" else _at_least, one, other)
                case "atan2":
                    other = self.column(other)
        return self.step(_CALLS[op], one, other, truth=op in COMPARISONS)
