"""SymPy's expressions, of PEtab's formulas and SBML's MathML, as expressions of physode."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from physode.equations.expression import Apply, Expression, Number, apply, name, number
from physode.errors import DataError

TIME = "time"
"""What model time is called in expressions."""

_TIME_SYMBOL = "http://www.sbml.org/sbml/symbols/time"
_AVOGADRO = 6.02214179e23  # as SBML defines it

_CALLS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh", "exp": "exp", "Abs": "abs",
    "sign": "sign", "Max": "max", "Min": "min", "floor": "floor", "ceiling": "ceil", "factorial": "factorial",
    "Mod": "mod", "StrictLessThan": "<", "LessThan": "<=", "StrictGreaterThan": ">", "GreaterThan": ">=",
    "Equality": "==", "Unequality": "!=", "And": "and", "Or": "or", "Not": "not",
}  # fmt: skip
_RECIPROCALS = {"sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh"}
"""What each is the reciprocal of."""
_OF_RECIPROCALS = {
    "asec": "acos", "acsc": "asin", "acot": "atan", "asech": "acosh", "acsch": "asinh", "acoth": "atanh",
}  # fmt: skip
"""What each is, of the reciprocal of its argument."""
_CONSTANTS = {"Pi": math.pi, "Exp1": math.e, "Infinity": math.inf, "NegativeInfinity": -math.inf, "NaN": math.nan}


def expression_of(sympy_expression: Any, *, what: str) -> Expression:
    """Return a SymPy expression as one of physode.

    Parameters
    ----------
    sympy_expression
        Of symbols, numbers and the functions that PEtab and SBML know; SBML's time becomes the name `TIME`.
    what
        What it is, for errors.

    Raises
    ------
    DataError
        If there is something in it that no expression can say, such as a delay.
    """
    made: dict[Any, Expression] = {}
    waiting = [(sympy_expression, False)]
    while waiting:
        node, ready = waiting.pop()
        if node in made:
            continue
        if ready or not node.args:
            made[node] = _converted(node, [made[each] for each in node.args], what)
        else:
            waiting.append((node, True))
            waiting.extend((each, False) for each in node.args)
    return made[sympy_expression]


def _converted(node: Any, arguments: list[Expression], what: str) -> Expression:
    kind = type(node).__name__
    if kind in _CONSTANTS:
        return number(_CONSTANTS[kind])
    if kind in ("BooleanTrue", "BooleanFalse"):
        return number(float(kind == "BooleanTrue"))
    if node.is_Number:
        return number(float(node))
    if node.is_Symbol:
        return _symbol(node, what)
    if kind in _CALLS:
        operator = _CALLS[kind]
        return arguments[0] if len(arguments) == 1 and operator in ("max", "min") else apply(operator, *arguments)
    if kind in _RECIPROCALS:
        return apply("/", number(1.0), apply(_RECIPROCALS[kind], *arguments))
    if kind in _OF_RECIPROCALS:
        return apply(_OF_RECIPROCALS[kind], apply("/", number(1.0), *arguments))
    if kind in _BUILT:
        return _BUILT[kind](arguments)
    raise DataError(f"{what} uses {_called(node)}, which physode cannot compute")


def _called(node: Any) -> str:
    """Return the name by which the file knows a function."""
    return str(getattr(getattr(node, "func", node), "__name__", node))


def _symbol(node: Any, what: str) -> Expression:
    definition = getattr(node, "definition_url", None)
    if definition == _TIME_SYMBOL:
        return name(TIME)
    if definition is not None and definition.endswith("/avogadro"):
        return number(_AVOGADRO)
    if definition is not None or type(node).__name__ == "SpeciesSymbol":
        raise DataError(f"{what} uses the symbol {node.name}, which physode cannot compute")
    return name(str(node.name))


def _power(arguments: list[Expression]) -> Expression:
    base, exponent = arguments
    match exponent:
        case Number(0.5):
            return apply("sqrt", base)
        case Number(-0.5):
            return apply("/", number(1.0), apply("sqrt", base))
        case Number(value) if value < 0:
            return apply("/", number(1.0), apply("^", base, number(-value)))
        case _ if base == number(math.e):
            return apply("exp", exponent)
    return apply("^", base, exponent)


def _product(arguments: list[Expression]) -> Expression:
    """Return a product, as a quotient where factors are reciprocals, and with its sign in front."""
    above, below, negative = [], [], False
    for factor in arguments:
        match factor:
            case Number(-1.0):
                negative = not negative
            case Apply("/", (Number(1.0), divisor)):
                below.append(divisor)
            case _:
                above.append(factor)
    product = apply("*", *above) if above else number(1.0)
    if below:
        product = apply("/", product, apply("*", *below))
    return apply("neg", product) if negative else product


def _logarithm(arguments: list[Expression]) -> Expression:
    if len(arguments) == 1:
        return apply("log", arguments[0])
    of, base = arguments
    for known, operator in ((10.0, "log10"), (2.0, "log2")):
        if base == number(known):
            return apply(operator, of)
    return apply("/", apply("log", of), apply("log", base))


def _pieces(arguments: list[Expression]) -> Expression:
    """Return a piecewise function of pairs, a value and its condition; NaN where there is no last one."""
    pairs = [pair.arguments for pair in arguments if isinstance(pair, Apply)]
    if pairs and pairs[-1][1] == number(1.0):
        *pairs, (otherwise, _) = pairs
    else:
        otherwise = number(math.nan)
    return apply("piecewise", *(each for pair in pairs for each in pair), otherwise)


_BUILT: dict[str, Callable[[list[Expression]], Expression]] = {
    "Add": lambda terms: apply("+", *terms),
    "Mul": _product,
    "Pow": _power,
    "log": _logarithm,
    "Piecewise": _pieces,
    "ExprCondPair": lambda pair: Apply("pair", tuple(pair)),
    "Xor": lambda each: apply("!=", *each),
    "Implies": lambda each: apply("or", apply("not", each[0]), each[1]),
    "ITE": lambda each: apply("piecewise", each[1], each[0], each[2]),
}
