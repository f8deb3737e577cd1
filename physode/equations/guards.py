r"""Branches that are not selected, kept out of derivatives.

Where ``piecewise(1/x, x > 0, 0)`` takes its last value, the derivative of :math:`1/x` at 0 is infinite, and automatic
differentiation multiplies it by 0. So every way into an operation whose derivative may be infinite is blocked there:
``only(c, x)`` is x where c is true, and a number where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from physode.equations.operations import COMPARISONS, LOGICAL
from physode.equations.tree import Apply, Expression, Number, postorder

__all__ = ["ONLY", "guarded"]

ONLY = "only"
"""The operation of a condition and a value, of which programs alone know."""

_RISKY = frozenset((
    "/", "^", "log", "log10", "log2", "sqrt", "asin", "acos", "acosh", "atanh", "tan", "exp", "sinh", "cosh", "atan2",
    "mod",
))  # fmt: skip
_TRUTH = COMPARISONS.keys() | LOGICAL.keys()


def guarded(expressions: Sequence[Expression]) -> list[Expression]:
    """Return expressions of the same values, derivatives of which are finite where those of what is selected are."""
    changed: dict[int, Expression] = {}
    for node in postorder(expressions):
        changed[id(node)] = node
        if isinstance(node, Apply):
            arguments = tuple(changed[id(each)] for each in node.arguments)
            if node.op == "piecewise":
                changed[id(node)] = _nested(arguments)
            elif any(new is not old for new, old in zip(arguments, node.arguments, strict=True)):
                changed[id(node)] = Apply(node.op, arguments)
    return [changed[id(each)] for each in expressions]


def _nested(arguments: tuple[Expression, ...]) -> Expression:
    """Return one choice of two within another, each value guarded by the condition that it is selected."""
    conditions = arguments[1::2]
    chosen: list[Expression] = []
    earlier: Expression | None = None
    for condition in conditions:
        chosen.append(condition if earlier is None else Apply("and", (condition, Apply("not", (earlier,)))))
        earlier = condition if earlier is None else Apply("or", (earlier, condition))
    assert earlier is not None
    result = _shielded(arguments[-1], Apply("not", (earlier,)))
    for value, condition, selected in reversed(list(zip(arguments[:-1:2], conditions, chosen, strict=True))):
        result = Apply("piecewise", (_shielded(value, selected), condition, result))
    return result


def _shielded(expression: Expression, selected: Expression) -> Expression:
    """Block every way from names to operations that are risky, where a condition is false."""
    risky: dict[int, bool] = {}
    plain: dict[int, Expression] = {}
    blocked: dict[int, Expression] = {}
    for node in postorder([expression]):
        key = id(node)
        plain[key] = blocked[key] = node
        risky[key] = False
        if isinstance(node, Number) or (isinstance(node, Apply) and node.op in _TRUTH):
            continue
        if isinstance(node, Apply):
            risky[key] = _is_risky(node) or any(risky[id(each)] for each in node.arguments)
        if risky[key] and isinstance(node, Apply):
            blocked[key] = Apply(node.op, tuple(blocked[id(each)] for each in node.arguments))
            ways = plain if not _is_risky(node) else blocked
            plain[key] = Apply(node.op, tuple(ways[id(each)] for each in node.arguments))
        else:
            blocked[key] = Apply(ONLY, (selected, node))
    return plain[id(expression)]


def _is_risky(node: Apply) -> bool:
    if node.op not in _RISKY:
        return False
    last = node.arguments[-1]
    if node.op == "^" and isinstance(last, Number):
        return not (last.value >= 0 and last.value.is_integer())
    return not (node.op == "/" and isinstance(last, Number))
