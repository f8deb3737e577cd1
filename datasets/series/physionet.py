"""Folders of records of PhysioNet's 2012 challenge."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physode.datasets.files import shown
from physode.datasets.images.containers import Entry, Folder
from physode.datasets.images.images import Skipped
from physode.datasets.series.arrays import Values, gather
from physode.datasets.series.series import IrregularSeries, add_notes
from physode.datasets.table import LONGEST_LABEL, number_of, quoted
from physode.errors import DataError

_LARGEST = 1 << 20  # bytes of a record; those of set-a have at most some 30 KiB
_LARGEST_FOLDER = 1_000_000_000
_MOST_RECORDS = 100_000

_NAME = re.compile(r"\d{1,15}\.txt")


def is_record(name: str) -> bool:
    """Whether a file is named as a record, ``132539.txt``."""
    return _NAME.fullmatch(name) is not None


def read_physionet(path: Path, *, progress: Callable[[float], object] | None = None) -> IrregularSeries:
    """Read a folder of records ``NNNNNN.txt``, each as a series by its number.

    Times are in hours. Every parameter that changes is a channel, in the order of their names; age, gender, height and
    the unit's type are ``attrs["statics"]``. Of several values of one parameter at one time the mean is taken. Records
    without values, and rows without a parameter, a value or a known weight are left out; notes say how many.

    Parameters
    ----------
    path
        The folder.
    progress
        Told the finished fraction.

    Raises
    ------
    DataError
        If it holds no records, too many or too large ones, or one that cannot be read; the message names the file.
    """
    entries, notes = _listed(path)
    records = _read(path, entries, progress)
    filled = {name: record for name, record in records.items() if record.values}
    empty = [name for name in records if name not in filled]
    if not filled:
        raise DataError(f"{path}: none of its {len(records)} records has a value that changes in time")
    notes += [f"records left out, as no value in them changes in time: {len(empty)} ({quoted(empty)})"] if empty else []
    notes += _passed_over(list(filled.values()))
    channels = tuple(sorted({parameter for record in filled.values() for _, parameter, _ in record.values}))
    values, said = _values(list(filled.values()), channels)
    t, y = gather(values, names=list(filled), channels=len(channels))
    series = IrregularSeries(
        t=t,
        y=y,
        channels=channels,
        units=tuple(UNITS.get(name, "") for name in channels),
        names=tuple(filled),
        attrs={
            "name": path.resolve().name,
            "source": str(path),
            "time_unit": "h",
            "statics": _statics(list(filled.values())),
        },
    )
    add_notes(series, [*notes, *said, f"{', '.join(STATICS)} do not change: they are no channels, but `statics`"])
    return series


def holds_records(path: Path) -> bool:
    """Whether a folder has records in it."""
    return path.is_dir() and any(is_record(each.name) and not each.is_dir() for each in path.iterdir())


def _listed(path: Path) -> tuple[list[Entry], list[str]]:
    """Return the records of a folder, and what is said of other files in it."""
    if not holds_records(path):
        inside = next((each.parent for each in path.glob("*/*.txt") if is_record(each.name)), None)
        advice = f"name {shown(str(inside))}" if inside else "records of PhysioNet's 2012 challenge are read"
        raise DataError(
            f"{path} is a folder without records of series, such as 132539.txt, and without images; {advice}"
        )
    listing = Folder(path).listing
    entries = [entry for entry in listing.entries if is_record(entry.name)]
    if not entries:
        first = next(each for each in listing.skipped if is_record(each.path))
        raise DataError(f"{path}: no record in it can be read; {first.path} is {first.reason}")
    if len(entries) > _MOST_RECORDS:
        raise DataError(f"{path} holds {len(entries)} records, more than {_MOST_RECORDS}; divide it")
    large = next((entry for entry in entries if entry.size > _LARGEST), None)
    if large is not None:
        raise DataError(f"{path / large.name} has {large.size} bytes, more than {_LARGEST}; it is no record")
    if sum(entry.size for entry in entries) > _LARGEST_FOLDER:
        raise DataError(f"{path} holds records of more than {_LARGEST_FOLDER} bytes; divide it")
    return entries, _others(listing.entries, listing.skipped)


def _others(entries: Sequence[Entry], skipped: Sequence[Skipped]) -> list[str]:
    others = [entry.name for entry in entries if not is_record(entry.name)]
    notes = [f"other files, which are not read: {len(others)} ({quoted(others)})"] if others else []
    return notes + [f"{shown(each.path)} is not read: {each.reason}" for each in skipped]


def _read(path: Path, entries: Sequence[Entry], progress: Callable[[float], object] | None) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for i, (file, content) in enumerate(Folder(path).contents([entry.name for entry in entries]), 1):
        name = Path(file).stem
        if isinstance(content, Skipped):
            raise DataError(f"{path / file}: {content.reason}")
        try:
            records[name] = parse_record(content, name=name)
        except DataError as error:
            raise DataError(f"{path / file}: {error}") from error
        if progress is not None and (i % 50 == 0 or i == len(entries)):
            progress(i / len(entries))
    return records


def _passed_over(records: Sequence[Record]) -> list[str]:
    return [
        f"rows left out {why}: {count}"
        for why, count in (
            ("without a parameter", sum(record.nameless for record in records)),
            ("without a value", sum(record.empty for record in records)),
            ("with the weight -1, which means unknown", sum(record.weightless for record in records)),
        )
        if count
    ]


def _values(records: Sequence[Record], channels: Sequence[str]) -> tuple[Values, list[str]]:
    """Return the values of all records, one for each time and channel, and what had to be done for that."""
    number = {name: i for i, name in enumerate(channels)}
    series = np.repeat(np.arange(len(records)), [len(record.values) for record in records])
    time = np.array([row[0] for record in records for row in record.values])
    channel = np.array([number[row[1]] for record in records for row in record.values])
    value = np.array([row[2] for record in records for row in record.values])
    early = np.unique(series[1:][(np.diff(series) == 0) & (np.diff(time) < 0)])
    notes = [f"records whose rows were not in the order of time, and are sorted: {early.size}"] if early.size else []
    order = np.lexsort((channel, time, series))
    series, time, channel, value = (each[order] for each in (series, time, channel, value))
    new = np.ones(len(series), dtype=np.bool_)
    new[1:] = np.logical_or.reduce([np.diff(each) != 0 for each in (series, time, channel)])
    starts = np.flatnonzero(new)
    counts = np.diff(np.append(starts, len(value)))
    mean = np.add.reduceat(value, starts) / counts
    several = int((counts > 1).sum())
    notes += [f"times at which a parameter has several values, whose mean is taken: {several}"] if several else []
    return Values(series[starts], time[starts], channel[starts], mean), notes


def _statics(records: Sequence[Record]) -> dict[str, list[float | None]]:
    said = {name: [record.statics[name] for record in records] for name in STATICS}
    return {name: [None if math.isnan(value) else value for value in values] for name, values in said.items()}


HEADER = "Time,Parameter,Value"
"""The first line of a record."""

STATICS = ("Age", "Gender", "Height", "ICUType")
"""What is said once, at 00:00, and does not change."""

UNITS = {
    **dict.fromkeys(("DiasABP", "MAP", "NIDiasABP", "NIMAP", "NISysABP", "PaCO2", "PaO2", "SysABP"), "mmHg"),
    **dict.fromkeys(("BUN", "Bilirubin", "Cholesterol", "Creatinine", "Glucose"), "mg/dL"),
    **dict.fromkeys(("HCO3", "Lactate", "Mg"), "mmol/L"),
    **dict.fromkeys(("K", "Na"), "mEq/L"),
    **dict.fromkeys(("ALP", "ALT", "AST"), "IU/L"),
    **dict.fromkeys(("TroponinI", "TroponinT"), "ug/L"),
    **dict.fromkeys(("Platelets", "WBC"), "cells/nL"),
    **dict.fromkeys(("HCT", "SaO2"), "%"),
    "Albumin": "g/dL",
    "HR": "1/min",
    "RespRate": "1/min",
    "Temp": "C",
    "Urine": "mL",
    "Weight": "kg",
}
"""Units of the parameters, as the challenge's description gives them; others are pure numbers or not known."""

_TIME = re.compile(r"(\d{1,3}):([0-5]\d)")
_UNKNOWN = -1.0  # of what is said at 00:00, and of Weight


@dataclass
class Record:
    """What a record holds.

    Attributes
    ----------
    statics
        Age, gender, height and unit's type, NaN where unknown.
    values
        Time in hours, parameter and value, row by row.
    nameless, empty, weightless
        How many rows were passed over: without a parameter, without a value, with an unknown weight.
    """

    statics: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STATICS, math.nan))
    values: list[tuple[float, str, float]] = field(default_factory=list)
    nameless: int = 0
    empty: int = 0
    weightless: int = 0


def parse_record(content: bytes, *, name: str) -> Record:
    """Read the record called `name`.

    Raises
    ------
    DataError
        If it is no such record, a row cannot be read, what does not change is said twice or late, or it is another
        patient's.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError("it holds bytes that are no text") from None
    if not lines or lines[0].strip() != HEADER:
        raise DataError(f"its first row must be {HEADER}, it is {shown(lines[0]) if lines else 'missing'!r}")
    record, said = Record(), set()
    for row, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        time, parameter, value = _cells(line, row)
        if not parameter:
            record.nameless += 1
        elif parameter == "RecordID" or parameter in STATICS:
            if time != 0.0 or parameter in said:
                raise DataError(f"row {row}: {parameter} is said again, or after 00:00; remove the row")
            said.add(parameter)
            _describe(record, parameter, value, name)
        elif math.isnan(value):
            record.empty += 1
        elif parameter == "Weight" and value == _UNKNOWN:
            record.weightless += 1
        else:
            record.values.append((time, parameter, value))
    return record


def _cells(line: str, row: int) -> tuple[float, str, float]:
    cells = line.split(",")
    if len(cells) != 3:
        raise DataError(f"row {row} has {len(cells)} cells instead of 3, {HEADER}")
    clock = _TIME.fullmatch(cells[0].strip())
    if clock is None:
        raise DataError(f"row {row}: the time {shown(cells[0])!r} is not HH:MM")
    parameter = cells[1].strip()
    if len(parameter) > LONGEST_LABEL:
        raise DataError(f"row {row}: {shown(parameter)!r} is a name of {len(parameter)} letters; shorten it")
    return int(clock[1]) + int(clock[2]) / 60, parameter, number_of(cells[2], row=row, column="Value")


def _describe(record: Record, parameter: str, value: float, name: str) -> None:
    if parameter != "RecordID":
        record.statics[parameter] = math.nan if value == _UNKNOWN else value
    elif value != int(name):
        raise DataError(f"it says that it is record {value:.15g}; give it that name")
