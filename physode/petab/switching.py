"""Conditions on time: at which times they change, whether they are true, and how far they are from changing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from physode.equations.expression import Apply, Expression, Number, apply, number
from physode.equations.operations import COMPARISONS
from physode.equations.thresholds import find_times
from physode.equations.tree import postorder
from physode.errors import DataError
from physode.petab.from_sympy import TIME


def comparisons(expressions: Iterable[Expression]) -> list[Apply]:
    """Return comparisons of something that depends on time, each once."""
    nodes = [each for each in postorder(expressions) if isinstance(each, Apply) and each.op in COMPARISONS]
    return list(dict.fromkeys(each for each in nodes if TIME in each.names))


def replaced(expression: Expression, replacements: Mapping[Expression, Expression]) -> Expression:
    """Return an expression with parts of it replaced, largest first."""
    changed: dict[int, Expression] = {}
    for node in postorder([expression]):
        if node in replacements:
            changed[id(node)] = replacements[node]
        elif isinstance(node, Apply):
            arguments = tuple(changed[id(each)] for each in node.arguments)
            same = all(one is other for one, other in zip(arguments, node.arguments, strict=True))
            changed[id(node)] = node if same else apply(node.op, *arguments)
        else:
            changed[id(node)] = node
    return changed[id(expression)]


def crossing(comparison: Apply) -> Expression | None:
    """Return the time at which a comparison changes, of constants and states; None where it is not linear in time."""
    nodes = [each for each in postorder(comparison.arguments) if isinstance(each, Apply) and TIME in each.names]
    if comparison.op in ("==", "!=") or not all(each.op in ("+", "*", "/", "neg") for each in nodes):
        return None
    times = find_times(comparison, time=TIME)
    return times[0] if times else None


def time_of(crossing: Expression, values: Mapping[str, Expression]) -> float | None:
    """Return the time that a crossing is at, given numbers for its constants; None where it is at none."""
    time = crossing.substitute(values)
    return time.value if isinstance(time, Number) and math.isfinite(time.value) else None


def is_true(condition: Expression, time: float, values: Mapping[str, Expression]) -> bool:
    """Return whether a condition of time and constants is true."""
    return _number(condition.substitute({**values, TIME: number(time)})) != 0


def margin(condition: Expression) -> Expression:
    """Return a real number that is above 0 where a condition is true, and crosses 0 where that changes.

    Raises
    ------
    DataError
        For equality, which nothing crosses.
    """
    match condition:
        case Number(value):
            return number(1.0 if value else -1.0)
        case Apply(">" | ">=", (left, right)):
            return apply("+", left, apply("neg", right))
        case Apply("<" | "<=", (left, right)):
            return apply("+", right, apply("neg", left))
        case Apply("and", conditions):
            return apply("min", *map(margin, conditions))
        case Apply("or", conditions):
            return apply("max", *map(margin, conditions))
        case Apply("not", (one,)):
            return apply("neg", margin(one))
        case Apply("==" | "!=", _):
            raise DataError(f"the trigger {condition} is an equality, which physode cannot watch; use >= or <=")
    return apply("+", condition, number(-0.5))


def _number(expression: Expression) -> float:
    if not isinstance(expression, Number):
        raise DataError(f"{', '.join(sorted(expression.names)) or expression} has no value, but times depend on it")
    return expression.value
