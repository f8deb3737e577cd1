"""One record of PhysioNet's 2012 challenge: a patient's first two days in intensive care, as text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from physode.datasets.cells import LONGEST_LABEL, number_of
from physode.datasets.files import shown
from physode.errors import DataError

__all__ = ["HEADER", "STATICS", "UNITS", "Record", "parse_record"]

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
