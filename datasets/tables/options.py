"""What may be said of a table; what is not said is found out from its file."""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from physode.errors import ConfigError

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " ", r"\t": "\t"}
"""Words for what divides columns, for those who cannot type it."""

TIME_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "week": 604_800, "yr": 31_557_600}
"""Units of time in seconds; the year is the Julian one."""

DECIMALS = (".", ",")
THOUSANDS = (",", ".", " ", "'")

ROLES = ("series", "time", "channel", "value")
"""What columns may be: the label of what was observed, the time, the label of the quantity, and its value."""


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
    columns
        What columns are, by role, of `ROLES`: names of columns, ``{"series": "subject", "time": "minutes"}``. Of
        ``value`` there may be several, where each is a channel.
    static
        Columns of a table of series that say one thing of each.

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
    columns: Mapping[str, tuple[str, ...]] | None = None
    static: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", DELIMITERS.get(self.delimiter, self.delimiter))
        for name in ("variable", "static"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _names(name, getattr(self, name)))
        if self.columns is not None:
            object.__setattr__(self, "columns", _roles(self.columns, self.static or ()))
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


def _names(option: str, names: Any) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, list | tuple) else ()
    if not found or not all(isinstance(name, str) and name for name in found):
        raise ConfigError(f"`{option}` must be names; got {names!r}")
    return found


def _roles(columns: Any, static: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the names of columns by role, each column with one role."""
    if not isinstance(columns, Mapping) or not columns:
        raise ConfigError(f"`columns` must say what columns are, such as time=minutes; got {columns!r}")
    unknown = [role for role in columns if role not in ROLES]
    if unknown:
        raise ConfigError(f"`columns` knows no {unknown[0]!r}; columns are {', '.join(ROLES)}, such as time=minutes")
    found = {role: _names("columns", columns[role]) for role in ROLES if role in columns}
    several = [role for role, names in found.items() if len(names) > 1 and (role != "value" or "channel" in found)]
    if several:
        role, beside = several[0], " beside a channel" if several[0] == "value" else ""
        raise ConfigError(f"`columns` gives {role} several columns, {', '.join(found[role])}; give it one{beside}")
    names = [name.casefold() for names in (*found.values(), static) for name in names]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ConfigError(f"`columns` and `static` say two things of column {twice[0]!r}; say one")
    return found


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise ConfigError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}")


def flags_of(options: TableOptions) -> list[str]:
    """Return options as they are typed, quoted for a shell."""
    marks = {mark: word for word, mark in reversed(DELIMITERS.items())}
    flags: list[str] = []
    for name, value in options.given.items():
        if name == "dayfirst":
            flags.append("--dayfirst" if value else "--monthfirst")
        elif name == "columns":
            said = ",".join(f"{role}={column}" for role, columns in value.items() for column in columns)
            flags += ["--columns", shlex.quote(said)]
        elif name == "variable":
            flags += [word for each in value for word in ("--variable", shlex.quote(each))]
        elif name not in ("comment", "units_row"):  # of which the command line knows nothing
            text = ",".join(value) if name == "static" else marks.get(value, value) if name == "delimiter" else value
            flags += [flag_of(name), shlex.quote(text)]
    return flags


def flag_of(name: str) -> str:
    """Return what an option is called on the command line."""
    return "--dayfirst" if name == "dayfirst" else f"--{name.replace('_', '-')}"
