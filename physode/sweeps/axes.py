"""What a sweep runs over: values by name, all their combinations, or cases as a table lists them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from physode.errors import ConfigError

__all__ = ["MOST", "Case", "cases_of", "parse_axes", "parse_values"]

Case = dict[str, Any]
"""Values by name: numbers, text, truth values, or lists of them."""

MOST = 1_000_000
"""Cases of a sweep."""

_FORMS = "A:B:N, A:B:N:log, whole numbers A:B, or values with commas between them"
_WHOLE = re.compile(r"[+-]?\d+")


def parse_values(text: str) -> list[Any]:
    """Return the values that a grid expression stands for.

    ``0.5:1.5:11`` are eleven equally spaced numbers, both ends included; ``1e-3:1e3:7:log`` are equally spaced in the
    logarithm; ``0:10`` are the whole numbers from 0 to 9; ``1,2,5`` are these. What is no number remains text.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    parts = text.split(":")
    if len(parts) == 1:
        values = [_value(part.strip()) for part in text.split(",")]
        if "" in values:
            raise ConfigError(f"{text!r} has an empty value; give {_FORMS}")
        return values
    if len(parts) == 2:
        if not all(_WHOLE.fullmatch(part.strip()) for part in parts) or not int(parts[0]) < int(parts[1]):
            raise ConfigError(f"{text!r} must be two whole numbers, the first below the second; or give {_FORMS}")
        _bounded(int(parts[1]) - int(parts[0]))
        return list(range(int(parts[0]), int(parts[1])))
    if len(parts) > 4 or (len(parts) == 4 and parts[3] != "log") or not _WHOLE.fullmatch(parts[2].strip()):
        raise ConfigError(f"{text!r} is no grid of values; give {_FORMS}")
    low, high, count = _number(parts[0], text), _number(parts[1], text), int(parts[2])
    if count < 1:
        raise ConfigError(f"{text!r} must have at least 1 value")
    _bounded(count)
    if len(parts) == 4:
        if not (low > 0 and high > 0):
            raise ConfigError(f"{text!r} must have ends above 0 to be equally spaced in the logarithm")
        inside = [math.exp(point) for point in _spaced(math.log(low), math.log(high), count)]
        return [low, *inside[1:-1], *([high] if count > 1 else [])]
    return _spaced(low, high, count)


def _spaced(low: float, high: float, count: int) -> list[float]:
    """Return points that are the decimal numbers that one would write: 0.7, not 0.7000000000000001."""
    if count == 1:
        return [low]
    points = [low + (high - low) * i / (count - 1) for i in range(count)]
    size = max(abs(low), abs(high))
    return [low, *(_shortened(point, size) for point in points[1:-1]), high]


def _shortened(point: float, size: float) -> float:
    rounded = float(f"{point:.12g}")
    return rounded if abs(rounded - point) <= 4e-16 * size else point


def _number(text: str, whole: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ConfigError(f"{whole!r} is no grid of values: {text!r} is no number; give {_FORMS}") from None
    if not math.isfinite(number):
        raise ConfigError(f"{whole!r} has an end that is not finite")
    return number


def _value(text: str) -> Any:
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def parse_axes(texts: Iterable[str]) -> list[Case]:
    """Return the cases of ``NAME=VALUES`` texts and of tables, ``@FILE.csv``: all combinations, the last one fastest.

    Raises
    ------
    ConfigError
        If a text is of neither form, or a name occurs twice.
    DataError
        If a table cannot be read.
    """
    axes: list[list[Case]] = []
    for text in texts:
        if text.startswith("@"):
            axes.append(_table(Path(text[1:])))
            continue
        name, equals, values = text.partition("=")
        if not name or not equals or not values:
            raise ConfigError(f"{text!r} is not of the form NAME=VALUES, such as alpha=0.5:1.5:11, nor @FILE.csv")
        axes.append([{name: value} for value in parse_values(values)])
    return _product(axes)


def _table(path: Path) -> list[Case]:
    """Read a table of cases: a row each, a column each name."""
    from physode.datasets.table import read_table

    table = read_table(path)
    columns = {name: values.tolist() for name, values in table.numbers.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def cases_of(over: Any) -> list[Case]:
    """Return the cases of a sweep.

    Parameters
    ----------
    over
        A mapping of names to values, of which all combinations are taken, the last name fastest: lists, arrays, ranges
        or grid expressions, see :func:`parse_values`; or a list of cases, mappings themselves; or a DataFrame, a row
        each.

    Raises
    ------
    ConfigError
        If it is none of these, or there are none or too many.
    """
    if hasattr(over, "to_dict") and hasattr(over, "iloc"):
        over = over.to_dict("records")
    if isinstance(over, Mapping):
        return _product([[{str(name): value} for value in _values(name, given)] for name, given in over.items()])
    if isinstance(over, Sequence) and not isinstance(over, str) and all(isinstance(case, Mapping) for case in over):
        if not over:
            raise ConfigError("`over` has no cases")
        return [{str(name): _plain(value) for name, value in case.items()} for case in over]
    raise ConfigError(
        f"`over` must be values by name, such as {{'mu': '0.5:1.5:11'}}, or a list of such cases; got {over!r}"
    )


def _values(name: str, given: Any) -> list[Any]:
    if isinstance(given, str):
        return parse_values(given)
    try:
        values = [_plain(value) for value in given]
    except TypeError:
        values = [_plain(given)]
    if not values:
        raise ConfigError(f"`over` has no values of {name!r}")
    return values


def _plain(value: Any) -> Any:
    """Return a number of NumPy or torch as Python's own, an array as lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def _product(axes: Sequence[Sequence[Case]]) -> list[Case]:
    names = [name for axis in axes for name in axis[0]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"a sweep runs over {twice[0]!r} twice; give all of its values at once")
    _bounded(math.prod(len(axis) for axis in axes))
    return [{name: value for case in row for name, value in case.items()} for row in itertools.product(*axes)]


def _bounded(count: int) -> None:
    if count > MOST:
        raise ConfigError(f"the sweep has {count} cases, the most is {MOST}; give fewer values, or sweep in parts")
