"""A model file to begin with, made from a table's columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from physode.datasets.table import TableOptions
from physode.equations.columns import EXPERIMENT, Recording, label_column, read_recordings, time_unit_of
from physode.equations.model_file import VERSION
from physode.equations.operations import FUNCTIONS
from physode.equations.scope import TIME
from physode.equations.units import known_unit
from physode.errors import ConfigError
from physode.training.toml import dumps

__all__ = ["scaffold"]

_MOST = 50
"""States of a model that is to be filled in by hand."""


def scaffold(
    path: Path,
    *,
    time: str | None = None,
    experiment: str | None = None,
    options: TableOptions | None = None,
    tell: Callable[[str], object] | None = None,
) -> str:
    """Return a model file for a table: one state and one observable a column, and equations to be filled in.

    It is valid as it stands: its states do not change.

    Parameters
    ----------
    path
        The table.
    time, experiment
        Columns of times, and of experiments' labels; None for usual names. Where no column is called ``experiment``
        and times are met again, the first that tells them apart is taken to label experiments.
    options
        What is known of how the table is written.
    tell
        Told how it was read, where that does not go without saying.

    Raises
    ------
    ConfigError
        If the table has more than 50 columns of values.
    DataError
        If the table cannot be read.
    """
    label = experiment or label_column(path, time, options)
    recordings = read_recordings([path], time=time, experiment=label, texts=True, options=options, tell=tell)
    units = {column: samples.unit for each in recordings for column, samples in each.columns.items()}
    if not units:
        raise ConfigError(f"{path} has no column of values beside its times")
    known = [column for column in units if _is_constant(column, recordings)]
    columns = [
        column
        for column in units
        if column not in known and (not column.endswith("_sigma") or column[:-6] not in units)
    ]
    if len(columns) > _MOST:
        raise ConfigError(f"{path} has {len(columns)} columns of values; write a model file for those that matter")
    names = _names([*columns, *known])
    clock = time_unit_of(path, time, options)
    rate = clock if known_unit(clock) is not None else "s"
    lines = [
        f"version = {VERSION}",
        f"name = {_toml(path.stem)}",
        *([f"time_unit = {_toml(clock)}  # times are converted to it"] if known_unit(clock) is not None else []),
        *([] if time is None else [f"time_column = {_toml(time)}"]),
        *([] if label is None or label == EXPERIMENT else [f"experiment_column = {_toml(label)}"]),
        "",
        "# One equation a line, in the usual notation; t is time. Replace each 0 by what you think changes the state,",
        "# such as -k*x, declare k below, and define what several equations share: rate = k*a*b",
        'equations = """',
        *(f"{names[column]}' = 0" for column in columns),
        '"""',
        "",
        "# Declare each constant with a guess. More can be said of one:",
        f'# k = {{ guess = 0.5, bounds = [0, 10], unit = "1/{rate}", log = true, prior = [0.5, 0.2], '
        'per = "experiment" }',
        "# g = { value = 9.81 }",
        *(["# One number in each experiment: take out the # where an equation or a start has it."] if known else []),
        *(f"# {names[column]} = {_inline(column=column, unit=units[column])}" for column in known),
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
    if recordings[0].refused:
        lines += ["", "# Columns of text are left out:"]
        lines += [f"# {_toml(why)}" for why in recordings[0].refused.values()]
    if len(recordings) > 1:
        lines += [
            "",
            "# What is an experiment's own:",
            f"# [experiments.{_key(recordings[0].name)}]",
            f"# start = {{ {names[columns[0]]} = 1.0 }}",
            "# constants = { k = 2.0 }",
        ]
    return "\n".join(lines) + "\n"


def _is_constant(column: str, recordings: Sequence[Recording]) -> bool:
    """Whether a column has one number in each of several experiments, such as a dose."""
    every = [each.columns[column].present().values for each in recordings if column in each.columns]
    return len(recordings) > 1 and all(len(values) > 1 and bool((values == values[0]).all()) for values in every)


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
