"""What an expression may do: operations by name, how many arguments they take, and their values for numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add, mul

import numpy as np

__all__ = ["ALIASES", "COMPARISONS", "CONSTANTS", "FUNCTIONS", "LOGICAL", "MOST", "OPERATIONS", "Operation"]

MOST = 10_000
"""Arguments of one operation."""


@dataclass(frozen=True)
class Operation:
    """An operation on real numbers; true and false are 1 and 0.

    Attributes
    ----------
    value
        Its value for numbers.
    least, most
        How many arguments it takes.
    """

    value: Callable[..., object]
    least: int = 1
    most: int = 1


def _sigmoid(x: float) -> float:
    return float(0.5 * (1.0 + np.tanh(0.5 * x)))


def _factorial(n: float) -> float:
    return float(math.factorial(int(n))) if n in range(171) else math.nan


def _piecewise(*arguments: float) -> float:
    for value, condition in zip(arguments[:-1:2], arguments[1::2], strict=True):
        if condition:
            return value
    return arguments[-1]


COMPARISONS = {
    "<": Operation(np.less, 2, 2),
    "<=": Operation(np.less_equal, 2, 2),
    ">": Operation(np.greater, 2, 2),
    ">=": Operation(np.greater_equal, 2, 2),
    "==": Operation(np.equal, 2, 2),
    "!=": Operation(np.not_equal, 2, 2),
}

LOGICAL = {
    "and": Operation(lambda *each: all(each), 2, MOST),
    "or": Operation(lambda *each: any(each), 2, MOST),
    "not": Operation(lambda x: not x),
}

FUNCTIONS = {
    "sin": Operation(np.sin),
    "cos": Operation(np.cos),
    "tan": Operation(np.tan),
    "asin": Operation(np.arcsin),
    "acos": Operation(np.arccos),
    "atan": Operation(np.arctan),
    "atan2": Operation(np.arctan2, 2, 2),
    "sinh": Operation(np.sinh),
    "cosh": Operation(np.cosh),
    "tanh": Operation(np.tanh),
    "asinh": Operation(np.arcsinh),
    "acosh": Operation(np.arccosh),
    "atanh": Operation(np.arctanh),
    "exp": Operation(np.exp),
    "log": Operation(np.log),
    "log10": Operation(np.log10),
    "log2": Operation(np.log2),
    "sqrt": Operation(np.sqrt),
    "abs": Operation(np.abs),
    "sign": Operation(np.sign),
    "floor": Operation(np.floor),
    "ceil": Operation(np.ceil),
    "min": Operation(lambda *each: np.min(each), 2, MOST),
    "max": Operation(lambda *each: np.max(each), 2, MOST),
    "mod": Operation(np.mod, 2, 2),
    "step": Operation(lambda x: x >= 0),
    "sigmoid": Operation(_sigmoid),
    "factorial": Operation(_factorial),
    "piecewise": Operation(_piecewise, 3, MOST),
}

OPERATIONS = {
    "+": Operation(lambda *each: reduce(add, each), 2, MOST),
    "*": Operation(lambda *each: reduce(mul, each), 2, MOST),
    "/": Operation(np.divide, 2, 2),
    "^": Operation(np.float_power, 2, 2),
    "neg": Operation(lambda x: -x),
    **COMPARISONS,
    **LOGICAL,
    **FUNCTIONS,
}

ALIASES = {
    "ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "ceiling": "ceil", "heaviside": "step", "fabs": "abs",
    "logistic": "sigmoid",
}  # fmt: skip
"""Other names of functions."""

CONSTANTS = {
    "pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan, "true": 1.0, "false": 0.0, "True": 1.0, "False": 0.0,
}  # fmt: skip
"""Names with a value of their own where nothing else is declared by them."""
