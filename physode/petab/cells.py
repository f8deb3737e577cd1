"""What stands in the cells of PEtab's tables: numbers, formulas, lists, distributions, and parameters' rows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from physode.datasets.files import shown
from physode.equations.expression import Expression, name, number
from physode.errors import DataError
from physode.estimation.problem import Prior, Unknown
from physode.optional_imports import needs
from physode.petab.files import Cells
from physode.petab.from_sympy import expression_of

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_RESERVED = frozenset({"inf", "nan", "true", "false"})


def cell(row: Cells, column: str, *, of: str) -> str:
    """Return a cell that must not be empty.

    Raises
    ------
    DataError
        If it is, or the column is missing.
    """
    if not row.get(column):
        raise DataError(f"the column {column} is missing or empty in a row of the {of} table")
    return row[column]


def number_in(text: str, what: str) -> float:
    """Return a number that is written in a cell.

    Raises
    ------
    DataError
        If it is none.
    """
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{what} must be a number, got {shown(text)!r}") from None
    if math.isnan(value):
        raise DataError(f"{what} must be a number, got NaN")
    return value


def formula_in(text: str, what: str) -> Expression:
    """Return a formula of PEtab's grammar as an expression.

    Raises
    ------
    ConfigError
        If the package petab is missing.
    DataError
        If it is none.
    """
    try:
        return number(float(text))
    except ValueError:
        pass
    if _IDENTIFIER.fullmatch(text) and text.lower() not in _RESERVED:
        return name(text)
    math_of_petab = needs("petab.v1.math", extra="petab", purpose="reading PEtab")
    try:
        parsed = math_of_petab.sympify_petab(text, evaluate=False)
    except (AssertionError, AttributeError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f"{what} is no formula: {' '.join(str(error).split())[:200]}") from error
    return expression_of(parsed, what=what)


def listed(text: str) -> list[str]:
    """Return the parts of a cell that semicolons divide."""
    return [part.strip() for part in text.split(";") if part.strip()]


def unknown_of(row: Cells, *, scale: str, free: bool, prior: Prior | None) -> Unknown:
    """Return a row of the parameter table as an unknown.

    Raises
    ------
    DataError
        If a number is missing or none, or bounds are the wrong way round.
    """
    label = cell(row, "parameterId", of="parameter")
    low, high = (
        number_in(text, f"the {side} of {label}") if (text := row.get(side, "")) else end
        for side, end in (("lowerBound", -math.inf), ("upperBound", math.inf))
    )
    if low > high:
        raise DataError(f"the bounds of {label} are the wrong way round: {low:g} is above {high:g}")
    if text := row.get("nominalValue", ""):
        guess = number_in(text, f"the nominalValue of {label}")
    elif free:
        guess = _middle(low, high, scale)
    else:
        raise DataError(f"{label} is not estimated and has no nominalValue; give it one")
    return Unknown(label, guess, low, high, scale, free, prior)


def _middle(low: float, high: float, scale: str) -> float:
    """Return a value in the middle of bounds, on a scale, as far as there is one."""
    if math.isinf(low) and math.isinf(high):
        return 1.0
    if math.isinf(low) or math.isinf(high):
        return low + 1.0 if math.isinf(high) else high - 1.0
    return math.sqrt(low * high) if scale != "linear" and low > 0 else 0.5 * (low + high)


@dataclass(frozen=True)
class MeasuredCells:
    """A row of the measurement table as far as both versions have it alike: the place of its observable, when, what."""

    what: str
    row: Cells
    observable: int
    time: float
    value: float


def measured_in(rows: Iterable[Cells], observables: Sequence[str]) -> Iterator[MeasuredCells]:
    """Yield the rows of the measurement table.

    Parameters
    ----------
    rows
        The table.
    observables
        Names of those that there are.

    Raises
    ------
    DataError
        If a cell cannot be read, or there is no such observable.
    """
    places = {label: place for place, label in enumerate(observables)}
    for index, row in enumerate(rows):
        what = f"row {index + 1} of the measurement table"
        label = cell(row, "observableId", of="measurement")
        if label not in places:
            raise DataError(f"{what} measures {label}, which the observable table does not have")
        time = number_in(cell(row, "time", of="measurement"), f"the time in {what}")
        value = number_in(cell(row, "measurement", of="measurement"), f"the measurement in {what}")
        yield MeasuredCells(what, row, places[label], time, value)


def numbers_in(text: str, what: str) -> tuple[float, ...]:
    """Return the numbers of a list in a cell."""
    return tuple(number_in(part, what) for part in listed(text))
