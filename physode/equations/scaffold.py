"""A model file to begin with, made from a table's columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from physode.equations.columns import read_recordings, time_unit_of
from physode.equations.model_file import VERSION
from physode.equations.operations import FUNCTIONS
from physode.equations.scope import TIME
from physode.equations.units import known_unit
from physode.errors import ConfigError
from physode.training.toml import dumps

__all__ = ["scaffold"]

_MOST = 50
"""States of a model that is to be filled in by hand."""


def scaffold(path: Path) -> str:
    """Return a model file for a table: one state and one observable a column, and equations to be filled in.

    It is valid as it stands: its states do not change.

    Raises
    ------
    ConfigError
        If the table has more than 50 columns of values.
    DataError
        If the table cannot be read.
    """
    recordings = read_recordings([path])
    units = {column: samples.unit for each in recordings for column, samples in each.columns.items()}
    columns = [column for column in units if not column.endswith("_sigma") or column[:-6] not in units]
    if len(columns) > _MOST:
        raise ConfigError(f"{path} has {len(columns)} columns of values; write a model file for those that matter")
    names = _names(columns)
    clock = time_unit_of(path)
    lines = [
        f"version = {VERSION}",
        f"name = {_toml(path.stem)}",
        *([f"time_unit = {_toml(clock)}"] if known_unit(clock) is not None else []),
        "",
        "# One equation a line, in the usual notation; t is time. Replace each 0 by what you think changes the state,",
        "# such as -k*x, declare k below, and define what several equations share: rate = k*a*b",
        'equations = """',
        *(f"{names[column]}' = 0" for column in columns),
        '"""',
        "",
        "# Declare each constant with a guess. More can be said of one:",
        '# k = { guess = 0.5, bounds = [0, 10], unit = "1/s", prior = [0.5, 0.2], log = true, per = "experiment" }',
        "# g = { value = 9.81 }",
        "[constants]",
        "",
        '# Initial values are fitted, unless they are given: start = 1.0, or a formula of constants: start = "2*k"',
        "[states]",
        *(f"{names[column]} = {_inline(unit=units[column])}" for column in columns),
        "",
        "# What the columns measure: formulas of states, constants and inputs. The noise is estimated, unless",
        '# sigma = 0.1 is known; noise = "proportional" and "log-normal" are others.',
        "[observables]",
        *(f"{_key(column)} = {_inline(formula=names[column], unit=units[column])}" for column in columns),
    ]
    if len(recordings) > 1:
        lines += [
            "",
            "# What is an experiment's own:",
            f"# [experiments.{_key(recordings[0].name)}]",
            f"# start = {{ {names[columns[0]]} = 1.0 }}",
            "# constants = { k = 2.0 }",
        ]
    return "\n".join(lines) + "\n"


def _names(columns: Sequence[str]) -> dict[str, str]:
    """Return a name that equations can have for each column."""
    names: dict[str, str] = {}
    for column in columns:
        clean = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", column)).strip("_")
        if not clean or clean[0].isdigit() or clean in {TIME, "time", "and", "or", "not", *FUNCTIONS}:
            clean = f"x_{clean}".rstrip("_")
        unique, count = clean, 1
        while unique in names.values():
            count += 1
            unique = f"{clean}_{count}"
        names[column] = unique
    return names


def _inline(**entries: str) -> str:
    """Return a table on one line; units that cannot be read are left out."""
    kept = {key: text for key, text in entries.items() if key != "unit" or known_unit(text) is not None}
    return f"{{ {', '.join(f'{key} = {_toml(text)}' for key, text in kept.items())} }}".replace("{  }", "{}")


def _toml(value: str) -> str:
    return dumps({"a": value}).removeprefix("a = ").strip()


def _key(text: str) -> str:
    return dumps({text: 1}).removesuffix(" = 1\n")
