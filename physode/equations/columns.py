"""Tables of data as columns of each experiment, whichever way they are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from physode.datasets.files import naming
from physode.datasets.observations import groups, labels_of, time_column
from physode.datasets.table import TIMES, Table, TableOptions, quoted
from physode.datasets.table_roles import read_as_said
from physode.equations.toml_tables import near
from physode.equations.units import conversion, known_unit
from physode.errors import ConfigError, DataError
from physode.estimation.observed import Observed, observed
from physode.estimation.problem import Calendar, Vector

__all__ = [
    "EXPERIMENT", "Recording", "Samples", "label_column", "observed_of", "read_recordings", "time_unit_of",
]  # fmt: skip

EXPERIMENT = "experiment"
"""The usual name of the column of experiments."""

_OBSERVABLE, _VALUE, _SIGMA = "observable", "value", "sigma"
_CALLED = {"series": EXPERIMENT, "time": "time", "channel": _OBSERVABLE, "value": _VALUE}


@dataclass(frozen=True)
class Samples:
    """One column of one experiment, in the order of time.

    Attributes
    ----------
    times
        In the model's unit, (R,).
    values
        NaN where missing, (R,).
    lines
        Their lines in the file, (R,).
    unit
        What the file says of it.
    file
        Its name.
    """

    times: Vector
    values: Vector
    lines: np.ndarray[tuple[int], np.dtype[np.int64]]
    unit: str
    file: str

    def present(self) -> Samples:
        """Return those that are not missing."""
        rows = ~np.isnan(self.values)
        return Samples(self.times[rows], self.values[rows], self.lines[rows], self.unit, self.file)


@dataclass(frozen=True)
class Recording:
    """What was recorded in one experiment: samples by the name of the column, spreads as ``<column>_sigma``.

    `refused` says of columns of text, by name, which cell is no number; `calendar` what the times are, if dates.
    """

    name: str
    columns: Mapping[str, Samples]
    refused: Mapping[str, str] = field(default_factory=dict)
    calendar: Calendar | None = None

    @property
    def begin(self) -> float:
        """The first time at which anything was recorded."""
        return min(float(each.times[0]) for each in self.columns.values() if len(each.times))


def read_recordings(
    paths: Sequence[Path],
    *,
    time: str | None = None,
    experiment: str | None = None,
    time_unit: str | None = None,
    strict: bool = True,
    texts: bool = False,
    options: TableOptions | None = None,
    tell: Callable[[str], object] | None = None,
) -> tuple[Recording, ...]:
    """Read tables, each a column an observable (wide) or with columns ``observable`` and ``value`` (long).

    Parameters
    ----------
    paths
        The files. One without a column of experiments is one experiment, which has the file's name.
    time, experiment
        Columns of times and of experiments; None for usual names.
    time_unit
        To which times are converted, where both units are known.
    strict
        Whether columns that are named must be there, in place of usual ones.
    texts
        Whether further columns may hold text, such as remarks; recordings name them as `refused`.
    options
        What is known of how the tables are written.
    tell
        Told how a table was read, where that does not go without saying.

    Raises
    ------
    ConfigError
        If a column is not there, or two files are of one experiment.
    DataError
        If a file cannot be read.
    """
    recordings: dict[str, Recording] = {}
    time, experiment = _named(options, time, experiment)
    for path in paths:
        with naming(path):
            table = _read(path, experiment, time, options, texts=texts)
            if tell is not None and not table.plain:
                tell(f"{path.name}: {table.understood}")
            if not strict:
                time = time if time in table.numbers else None
                experiment = experiment if experiment is None or experiment.casefold() in table.words else None
            for recording in _recorded(table, path, time, experiment, time_unit):
                if recording.name in recordings:
                    raise DataError(f"the experiment {recording.name!r} is in another file, too; rename one")
                recordings[recording.name] = recording
    return tuple(recordings.values())


def observed_of(recordings: Sequence[Recording]) -> Observed:
    """Return recordings as what was observed: a column each that any of them has, missing where one has none."""
    names = list(dict.fromkeys(name for recording in recordings for name in recording.columns))
    table: dict[str, list[Any]] = {"t": [], EXPERIMENT: [], **{name: [] for name in names}}
    for recording in recordings:
        times = np.unique(np.concatenate([samples.times for samples in recording.columns.values()]))
        table["t"].append(times)
        table[EXPERIMENT] += [recording.name] * len(times)
        for name in names:
            column = np.full(len(times), np.nan)
            if name in recording.columns:
                samples = recording.columns[name]
                column[np.searchsorted(times, samples.times)] = samples.values
            table[name].append(column)
    columns = {name: own if name == EXPERIMENT else np.concatenate(own) for name, own in table.items()}
    found, calendars = observed(columns, time="t"), {recording.name: recording.calendar for recording in recordings}
    series = tuple(replace(each, calendar=calendars[each.name]) for each in found.series)
    return replace(found, series=series)


def time_unit_of(path: Path, time: str | None = None, options: TableOptions | None = None) -> str:
    """Return what a table says of the unit of its times."""
    time, _ = _named(options, time, None)
    with naming(path):
        table = _read(path, None, time, options, texts=True)
        return table.units[_clock(table, time)]


def label_column(path: Path, time: str | None = None, options: TableOptions | None = None) -> str | None:
    """Return which column seems to label experiments, where none is called so: times are met again without it.

    The first of text, or else of whole numbers, with at most half as many labels as there are rows.
    """
    time, _ = _named(options, time, None)
    with naming(path):
        table = _read(path, None, time, options, texts=True)
        clock = _clock(table, time)
        times = table.numbers[clock]
        if EXPERIMENT in table.words or _OBSERVABLE in table.words or len(np.unique(times)) == len(times):
            return None
        numbers = [
            name
            for name, values in table.numbers.items()
            if name != clock and (np.isfinite(values) & (values == np.floor(values))).all()
        ]
        for name in (*table.words, *numbers):
            labels = table.labels(name)
            pairs = set(zip(labels.codes.tolist(), times.tolist(), strict=True))
            few = len(np.unique(labels.codes)) <= len(times) / 2
            if few and "" not in labels.labels and len(pairs) == len(times):
                return name
        return None


def _read(
    path: Path, experiment: str | None, time: str | None, options: TableOptions | None, *, texts: bool = False
) -> Table:
    """Read a table; columns of labels are text, whatever their cells look like."""
    words = frozenset({EXPERIMENT, _OBSERVABLE, (experiment or EXPERIMENT).casefold()})
    times = frozenset({*TIMES, *([] if time is None else [time.casefold()])})
    return read_as_said(path, _CALLED, words=words, times=times, options=options, texts=texts)


def _named(options: TableOptions | None, time: str | None, experiment: str | None) -> tuple[str | None, str | None]:
    """Return the names of the columns of times and experiments; None where options say which they are."""
    said = {} if options is None else options.columns or {}
    return None if "time" in said else time, None if "series" in said else experiment


def _clock(table: Table, time: str | None) -> str:
    """Return the column of times, which must hold times."""
    names = [name for name in table.names if (name == time if time else name.casefold() in TIMES)]
    for name in [*names[:1], *([_VALUE, _SIGMA] if _OBSERVABLE in table.words else [])]:
        if name in table.refused:
            raise DataError(table.refused[name])
    if not names and time is None:
        raise DataError(
            f"its first row names no column of times; call one of them time, or say which it is, as time_column; "
            f"the row has {quoted(table.names)}"
        )
    return time or time_column(table)


def _recorded(
    table: Table, path: Path, time: str | None, experiment: str | None, time_unit: str | None
) -> list[Recording]:
    if experiment is not None and experiment.casefold() not in table.words:
        raise ConfigError(f"{path} has no column {experiment} of experiments; {near(experiment, table.names)}")
    if time is not None and time not in table.names:
        raise ConfigError(f"{path} has no column {time} of times; {near(time, table.names)}")
    clock = _clock(table, time)
    table = _timed(table, clock)
    scale = _scale(table.units[clock], time_unit, clock, path)
    word = (experiment or EXPERIMENT).casefold()
    labels = labels_of(table, word)
    refused = {name: f"{path}: {why}" for name, why in table.refused.items()}
    calendar = None
    if table.origin is not None and clock in table.dated:
        calendar = Calendar(table.origin, (conversion(table.units[clock], "s") or 1.0) / scale)
    recordings = []
    for (code,), rows in groups(labels):
        part = table.take(rows)
        part = part.take(np.argsort(part.numbers[clock], kind="stable"))
        name = labels.labels[code] or path.stem
        times = part.numbers[clock] * scale
        if _OBSERVABLE in part.words and _VALUE in part.numbers:
            columns = _long(part, times, path, clock)
        else:
            columns = {
                column: Samples(times, values, part.lines, part.units[column], str(path))
                for column, values in part.numbers.items()
                if column != clock
            }
        recordings.append(Recording(name, columns, refused, calendar))
    return recordings


def _timed(table: Table, clock: str) -> Table:
    """Leave out rows without a time, unless they have values."""
    untimed = np.isnan(table.numbers[clock])
    if not untimed.any():
        return table
    empty = np.logical_and.reduce([np.isnan(values) for name, values in table.numbers.items() if name != clock])
    if (untimed & ~empty).any():
        raise DataError(f"row {table.lines[untimed & ~empty][0]} has values but no {clock}; fill it in")
    return table.take(~untimed)


def _scale(unit: str, time_unit: str | None, clock: str, path: Path) -> float:
    """Return how many of the model's unit of time are one of the table's."""
    if known_unit(unit) is None or known_unit(time_unit) is None:
        return 1.0
    scale = conversion(unit, time_unit)
    if scale is None:
        raise ConfigError(f"{path}: column {clock} is in {unit}, which is no time as {time_unit} is")
    return scale


def _long(table: Table, times: Vector, path: Path, clock: str) -> dict[str, Samples]:
    """Divide a long table by its observables."""
    unit = table.units[_VALUE]
    columns = {}
    labels = labels_of(table, _OBSERVABLE)
    if labels.labels == ("",):
        raise DataError(f"column {_OBSERVABLE} is empty; it has {quoted(table.names)}")
    for (code,), rows in groups(labels):
        label = labels.labels[code]
        values = table.numbers[_VALUE][rows]
        columns[label] = Samples(times[rows], values, table.lines[rows], unit, str(path))
        if _SIGMA in table.numbers:
            spread = table.numbers[_SIGMA][rows]
            columns[f"{label}_{_SIGMA}"] = Samples(times[rows], spread, table.lines[rows], unit, str(path))
    others = [name for name in table.numbers if name not in (clock, _VALUE, _SIGMA)]
    for name in others:
        values = table.numbers[name]
        columns.setdefault(name, Samples(times, values, table.lines, table.units[name], str(path)))
    return columns
