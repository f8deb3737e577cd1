"""Times at which an expression steps or has a kink."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations

from physode.equations.operations import COMPARISONS
from physode.equations.tree import Apply, Expression, Name, apply, number, postorder

__all__ = ["find_times"]


def find_times(expression: Expression, states: Collection[str] = (), *, time: str = "t") -> tuple[Expression, ...]:
    r"""Return the times at which an expression steps or has a kink, as far as these do not depend on states.

    Where both sides of a comparison together are :math:`a t + b`, the time is :math:`-b/a`; likewise the arguments of
    ``step``, ``sign``, ``abs``, and the differences of those of ``min`` and ``max``.

    Parameters
    ----------
    expression
        Of time.
    states
        What varies with time: thresholds that depend on it are left out.
    time
        The name of time.

    Returns
    -------
    tuple of Expression
        Each once, in the order of the text. Times of ``mod``, ``floor`` and ``ceil``, and those of arguments that are
        not linear in time, are not among them.
    """
    varying = frozenset(states)
    times: dict[Expression, None] = {}
    for node in postorder([expression]):
        if isinstance(node, Apply) and time in node.names:
            for crossing in _crossings(node):
                line = _line(crossing, time)
                if line is not None and line[0] != number(0.0) and not (line[0].names | line[1].names) & varying:
                    times[apply("/", apply("neg", line[1]), line[0])] = None
    return tuple(times)


def _crossings(node: Apply) -> list[Expression]:
    """Return what is 0 where an operation steps or has a kink."""
    if node.op in COMPARISONS or node.op in ("min", "max"):
        pairs = combinations(node.arguments, 2)
        return [apply("+", one, apply("neg", other)) for one, other in pairs]
    return [node.arguments[0]] if node.op in ("step", "sign", "abs") else []


def _line(expression: Expression, time: str) -> tuple[Expression, Expression] | None:
    """Return a and b where an expression is a t + b, neither depending on t; None where it is not."""
    if isinstance(expression, Name) and expression.text == time:
        return number(1.0), number(0.0)
    if time not in expression.names:
        return number(0.0), expression
    if not isinstance(expression, Apply):
        return None
    if expression.op in ("+", "neg"):
        lines = [_line(each, time) for each in expression.arguments]
        known = [line for line in lines if line is not None]
        if len(known) < len(lines):
            return None
        slope, rest = zip(*known, strict=True)
        return apply(expression.op, *slope), apply(expression.op, *rest)
    if expression.op == "*":
        moving = [each for each in expression.arguments if time in each.names]
        line = _line(moving[0], time) if len(moving) == 1 else None
        factors = [each for each in expression.arguments if time not in each.names]
        return None if line is None else (apply("*", *factors, line[0]), _product(*factors, line[1]))
    if expression.op == "/" and time not in expression.arguments[1].names:
        line = _line(expression.arguments[0], time)
        divisor = expression.arguments[1]
        return None if line is None else (apply("/", line[0], divisor), apply("/", line[1], divisor))
    return None


def _product(*factors: Expression) -> Expression:
    return number(0.0) if number(0.0) in factors else apply("*", *factors)
