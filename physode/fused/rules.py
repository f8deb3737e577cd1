"""The registry of operations: what each of PyTorch's is in numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from physode.fused.arithmetic import Arithmetic
from physode.fused.inputs import Pending
from physode.fused.memory import Value
from physode.fused.scalars import Scalar

__all__ = ["RULES", "Rule", "operation", "pointwise"]

Lowering: TypeAlias = Callable[..., Any]


class Rule(NamedTuple):
    """How an operation is lowered.

    Attributes
    ----------
    group
        What the documentation lists it under.
    lower
        ``lower(arithmetic, *args, **kwargs)`` returns the result, a :class:`~physode.fused.memory.Value`, or several
        with None for those that cannot be had.
    """

    group: str
    lower: Lowering


RULES: dict[str, Rule] = {}
"""By name, ``aten.add.Tensor``; operations in place go by the name of those that are not."""


def operation(group: str, *names: str) -> Callable[[Lowering], Lowering]:
    """Enter a function as the rule of some operations."""

    def enter(function: Lowering) -> Lowering:
        for name in names:
            RULES[f"aten.{name}"] = Rule(group, function)
        return function

    return enter


def pointwise(
    *operations: str, verdicts: bool = False, group: str = "Element by element"
) -> Callable[[Callable[..., Scalar]], Callable[..., Scalar]]:
    """Enter a function of numbers as the rule of operations that work on each element by itself.

    All operands, plain numbers too, are handed over as :class:`~physode.fused.scalars.Scalar`. With ``verdicts``, those
    that are true or false stay so; else they are 1 and 0.
    """

    def enter(function: Callable[..., Scalar]) -> Callable[..., Scalar]:
        def lower(arithmetic: Arithmetic, *args: Any, **kwargs: Any) -> Value:
            positions = [place for place, x in enumerate(args) if isinstance(x, Value | Pending | float | int)]
            names = [name for name, x in kwargs.items() if isinstance(x, Value | Pending | float | int)]

            def of_scalars(*scalars: Scalar) -> Scalar:
                operands = iter(scalars if verdicts else [x.as_number for x in scalars])
                given, named = list(args), dict(kwargs)
                for place in positions:
                    given[place] = next(operands)
                for name in names:
                    named[name] = next(operands)
                return function(*given, **named)

            return arithmetic.mapped(of_scalars, [*(args[i] for i in positions), *(kwargs[name] for name in names)])

        operation(group, *operations)(lower)
        return function

    return enter
