"""What may be said of a table; what is not said is found out from its file."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, fields
from typing import Any

from physode.errors import ConfigError

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " ", r"\t": "\t"}
"""Words for what divides columns, for those who cannot type it."""

TIME_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "week": 604_800, "yr": 31_557_600}
"""Units of time in seconds; the year is the Julian one."""

DECIMALS = (".", ",")
THOUSANDS = (",", ".", " ", "'")


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How a table is written, where that is known. What is None is found out from the file.

    Attributes
    ----------
    delimiter
        What divides columns: one character, or a word of `DELIMITERS`; ``" "`` is any white space.
    decimal
        The decimal sign, ``"."`` or ``","``.
    thousands
        What stands between groups of three digits: ``","``, ``"."``, ``" "`` or ``"'"``.
    encoding
        Of text, as Python calls it: ``"utf-8"``, ``"latin-1"``, ``"utf-16"``, ...
    comment
        What comments begin with, at the beginning of a line.
    units_row
        Whether the row below the header holds units.
    sheet
        Of a workbook, its name.
    variable
        Of a MATLAB file: a struct, a matrix, or several vectors.
    dayfirst
        Whether 03/04/2025 is the third of April.
    time_unit
        The unit that times come in, of `TIME_UNITS`. Dates, elapsed times, and times with a declared unit are converted
        to it; plain numbers are taken to be in it.

    Raises
    ------
    ConfigError
        If one of them cannot be.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    comment: str | None = None
    units_row: bool | None = None
    sheet: str | None = None
    variable: tuple[str, ...] | None = None
    dayfirst: bool | None = None
    time_unit: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", DELIMITERS.get(self.delimiter, self.delimiter))
        if self.variable is not None:
            given: Any = self.variable
            names = (given,) if isinstance(given, str) else tuple(given)
            object.__setattr__(self, "variable", names)
        self._check_texts()
        _check_choice("decimal", self.decimal, DECIMALS)
        _check_choice("thousands", self.thousands, THOUSANDS)
        _check_choice("time_unit", self.time_unit, tuple(TIME_UNITS))
        for name in ("units_row", "dayfirst"):
            if not isinstance(getattr(self, name), bool | None):
                raise ConfigError(f"`{name}` must be True or False; got {getattr(self, name)!r}")
        if self.decimal is not None and self.decimal == self.thousands:
            raise ConfigError(f"`decimal` and `thousands` are both {self.decimal!r}; give one of them")
        if self.delimiter is not None and (self.delimiter.isalnum() or self.delimiter in "'\"+-.\r\n"):
            raise ConfigError(f"`delimiter` {self.delimiter!r} stands in numbers or names; give another")
        if self.delimiter is not None and self.delimiter == self.comment:
            raise ConfigError(f"`delimiter` and `comment` are both {self.delimiter!r}; give one of them")

    def _check_texts(self) -> None:
        for name, most in (("delimiter", 1), ("encoding", 40), ("comment", 4), ("sheet", 100)):
            text = getattr(self, name)
            if text is not None and not (isinstance(text, str) and 0 < len(text) <= most):
                size = "one character, or one of " + ", ".join(DELIMITERS) if most == 1 else f"1 to {most} characters"
                raise ConfigError(f"`{name}` must be {size}; got {text!r}")
        if self.variable is not None and not all(isinstance(name, str) and name for name in self.variable or ("",)):
            raise ConfigError(f"`variable` must be names; got {self.variable!r}")
        if self.encoding is not None:
            try:
                text, _ = codecs.lookup(self.encoding).decode(b"")
            except (LookupError, ValueError):
                text = b""
            if not isinstance(text, str):
                raise ConfigError(f"`encoding` {self.encoding!r} is none that Python knows; try utf-8 or latin-1")

    @property
    def given(self) -> dict[str, Any]:
        """What is said, by name."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise ConfigError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}")


def flag_of(name: str) -> str:
    """Return what an option is called on the command line."""
    return "--dayfirst" if name == "dayfirst" else f"--{name.replace('_', '-')}"
