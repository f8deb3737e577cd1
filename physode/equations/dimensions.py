"""Whether the dimensions of an expression fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from physode.datasets.files import shown
from physode.equations.operations import COMPARISONS, LOGICAL
from physode.equations.tree import Apply, Expression, Name, Number, postorder
from physode.equations.units import DIMENSIONLESS, Unit

__all__ = ["Misfit", "Quantity", "check", "quantity_of"]

_ALIKE = {"+", "min", "max", "mod", "atan2", *COMPARISONS}
_PURE = {
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "exp", "log",
    "log10", "log2", "sigmoid", "factorial",
}  # fmt: skip
_ANY = {"sign", "step", *LOGICAL}


class Misfit(ValueError):  # noqa: N818 - it is found, and reported by whoever knows where
    """Dimensions that do not fit, in words."""


@dataclass(frozen=True)
class Quantity:
    """What is known of an expression's unit.

    Attributes
    ----------
    unit
        Its unit; None where that is unknown.
    counted
        Whether a number is a factor of it: as in cos(2*t), the number may have a unit.
    """

    unit: Unit | None
    counted: bool = False

    def refusal(self, other: Quantity) -> str | None:
        """Return why a quantity cannot be added to another; None where it can, or where that is unknown."""
        if self.unit is None or other.unit is None:
            return None
        if self.unit.powers != other.unit.powers:
            return "dimensions differ"
        ratio = self.unit.size / other.unit.size
        if not math.isclose(ratio, 1.0, rel_tol=1e-6):
            return f"they differ by a factor {max(ratio, 1 / ratio):.6g}"
        return None


UNKNOWN = Quantity(None)
_PURE_NUMBER = Quantity(DIMENSIONLESS)


def quantity_of(expression: Expression, units: Mapping[str, Unit]) -> Quantity:
    """Return what is known of an expression's unit.

    Terms of sums and what is compared must agree, arguments of ``exp``, ``log`` and ``sin`` have no dimension. Numbers
    may stand for any unit in a sum. In a product, coefficients such as 2 and 1/3 have none; others, such as 9.81 and
    60, may have any, as names without a unit.

    Raises
    ------
    Misfit
        Where dimensions do not fit.
    """
    quantities: dict[int, Quantity] = {}
    for node in postorder([expression]):
        match node:
            case Number():
                quantities[id(node)] = UNKNOWN
            case Name(text):
                quantities[id(node)] = Quantity(units.get(text))
            case Apply(op, arguments):
                quantities[id(node)] = _applied(op, arguments, [quantities[id(each)] for each in arguments])
    return quantities[id(expression)]


def check(expression: Expression, units: Mapping[str, Unit], expected: Unit | None, *, what: str) -> None:
    """Raise `Misfit` unless an expression may be in the unit that is expected of `what`."""
    quantity = quantity_of(expression, units)
    reason = quantity.refusal(Quantity(expected))
    if reason is not None:
        raise Misfit(f"{shown(str(expression))} is in {quantity.unit}, {what} in {expected}: {reason}")


def _applied(op: str, arguments: Sequence[Expression], quantities: Sequence[Quantity]) -> Quantity:
    if op == "piecewise":
        return _agreed((*arguments[:-1:2], arguments[-1]), (*quantities[:-1:2], quantities[-1]))
    if op in _ALIKE:
        agreed = _agreed(arguments, quantities)
        return _PURE_NUMBER if op in COMPARISONS or op == "atan2" else agreed
    if op in _ANY:
        return _PURE_NUMBER
    if op in _PURE:
        _check_pure(op, arguments[0], quantities[0])
        return _PURE_NUMBER
    if op in ("*", "/"):
        return _product(op, arguments, quantities)
    if op == "^":
        return _power(arguments, quantities)
    if op == "sqrt":
        return _raised(quantities[0], Fraction(1, 2))
    return quantities[0]  # neg, abs, floor, ceil


def _agreed(terms: Sequence[Expression], quantities: Sequence[Quantity]) -> Quantity:
    """Return the unit that terms have in common."""
    first: tuple[Expression, Quantity] | None = None
    for term, quantity in zip(terms, quantities, strict=True):
        if quantity.unit is None:
            continue
        if first is None:
            first = term, quantity
            continue
        reason = first[1].refusal(quantity)
        if reason is not None:
            one, other = shown(str(first[0])), shown(str(term))
            raise Misfit(f"{one} is in {first[1].unit}, {other} in {quantity.unit}: {reason}")
    return UNKNOWN if first is None else first[1]


def _check_pure(op: str, argument: Expression, quantity: Quantity) -> None:
    reason = quantity.refusal(_PURE_NUMBER)
    if reason is not None and not quantity.counted:
        remedy = "give radians" if quantity.unit is not None and not quantity.unit.powers else "divide it by its unit"
        raise Misfit(
            f"{op} takes a number without dimension, but {shown(str(argument))} is in {quantity.unit}; {remedy}"
        )


def _product(op: str, arguments: Sequence[Expression], quantities: Sequence[Quantity]) -> Quantity:
    unit, counted = DIMENSIONLESS, False
    for i, (argument, quantity) in enumerate(zip(arguments, quantities, strict=True)):
        if isinstance(argument, Number):
            if not _is_pure(argument.value):
                return UNKNOWN
            counted = True
            continue
        if quantity.unit is None:
            return UNKNOWN
        counted |= quantity.counted
        unit = unit / quantity.unit if op == "/" and i else unit * quantity.unit
    return Quantity(unit, counted)


def _is_pure(value: float) -> bool:
    """Whether a number is a mere coefficient: 2, 3/2, 4 pi/3, not 9.81 or 60, which may have a unit, or convert one."""
    sizes = (abs(value), abs(value) / math.pi)
    return any(0.2 < size < 5.0 and math.isclose(6.0 * size, round(6.0 * size)) for size in sizes)


def _power(arguments: Sequence[Expression], quantities: Sequence[Quantity]) -> Quantity:
    base, exponent = quantities
    if exponent.unit is not None and exponent.unit.powers:
        _check_pure("an exponent", arguments[1], exponent)
    if isinstance(arguments[1], Number):
        value = arguments[1].value
        return _raised(base, Fraction(value)) if abs(value) < 100 else UNKNOWN
    if base.unit is None or base.unit.powers:
        return UNKNOWN  # as K^n in Hill's function, whose unit depends on n
    return _PURE_NUMBER


def _raised(quantity: Quantity, power: Fraction) -> Quantity:
    return quantity if quantity.unit is None else Quantity(quantity.unit**power, quantity.counted)
