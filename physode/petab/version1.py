"""PEtab's tables of version 1: a wide table of conditions, steady states before them, scales and transformations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from physode.equations.expression import Expression
from physode.errors import DataError
from physode.estimation.problem import Prior, Unknown
from physode.petab.cells import cell, formula_in, listed, measured_in, number_in, numbers_in, unknown_of
from physode.petab.files import Cells, ProblemFiles, rows_of_tables
from physode.petab.posed import Course, ObservableFormula, Period, Row, Tables

_SCALES = {"": "linear", "lin": "linear", "log": "log", "log10": "log10"}
_PRIORS = {
    "uniform": "uniform", "normal": "normal", "laplace": "laplace", "logNormal": "log-normal",
    "logLaplace": "log-laplace", "parameterScaleUniform": "uniform", "parameterScaleNormal": "normal",
    "parameterScaleLaplace": "laplace",
}  # fmt: skip
_PLACEHOLDER = re.compile(r"^(observable|noise)Parameter(\d+)_(.+)$")


def tables_of_version_1(files: ProblemFiles) -> Tables:
    """Read the tables of a problem of version 1.

    Raises
    ------
    ConfigError
        If the package petab is missing.
    DataError
        If a cell cannot be read, or what it names is not there.
    """
    unknowns = tuple(_unknown(row) for row in rows_of_tables(files.parameters))
    conditions = _conditions(rows_of_tables(files.conditions))
    observables = [_observable(row) for row in rows_of_tables(files.observables)]
    courses: dict[tuple[str, str], Course] = {}
    rows = []
    for each in measured_in(rows_of_tables(files.measurements), [formula.name for formula in observables]):
        key = (
            each.row.get("preequilibrationConditionId", ""),
            cell(each.row, "simulationConditionId", of="measurement"),
        )
        if key not in courses:
            courses[key] = _course(*key, conditions)
        if each.time < 0:
            raise DataError(f"{each.what} is at time {each.time:g}; in version 1 experiments begin at 0")
        own = _own(each.row, observables[each.observable], each.what)
        rows.append(Row(list(courses).index(key), each.observable, each.time, each.value, own))
    return Tables(
        unknowns, tuple(courses.values()), tuple(observables), tuple(rows), afresh=True, events_in_steady_states=False
    )


def _unknown(row: Cells) -> Unknown:
    label = cell(row, "parameterId", of="parameter")
    scale = row.get("parameterScale", "")
    if scale not in _SCALES:
        raise DataError(f"the parameterScale of {label} must be lin, log or log10, got {scale!r}")
    free = number_in(row.get("estimate") or "1", f"estimate of {label}") != 0
    return unknown_of(row, scale=_SCALES[scale], free=free, prior=_prior(row, label) if free else None)


def _prior(row: Cells, label: str) -> Prior | None:
    kind, numbers = row.get("objectivePriorType", ""), row.get("objectivePriorParameters", "")
    if not kind or (kind == "parameterScaleUniform" and not numbers):
        return None  # flat on the scale of the search, which is the same as none
    if kind not in _PRIORS:
        raise DataError(f"the objectivePriorType of {label} is {kind}; there are {', '.join(_PRIORS)}")
    if not numbers and kind == "uniform":
        numbers = f"{row.get('lowerBound')};{row.get('upperBound')}"
    values = numbers_in(numbers, f"objectivePriorParameters of {label}")
    if len(values) != 2:
        raise DataError(f"objectivePriorParameters of {label} must be two numbers, got {len(values)}")
    return Prior(_PRIORS[kind], values, scaled=kind.startswith("parameterScale"))


def _conditions(rows: list[Cells]) -> dict[str, dict[str, Expression]]:
    """Return what each condition gives values; empty cells give none."""
    conditions: dict[str, dict[str, Expression]] = {}
    for row in rows:
        label = cell(row, "conditionId", of="condition")
        if label in conditions:
            raise DataError(f"the condition table has {label} twice")
        conditions[label] = {
            symbol: formula_in(text, f"{symbol} in the condition {label}")
            for symbol, text in row.items()
            if symbol not in ("conditionId", "conditionName") and text
        }
    return conditions


def _course(before: str, during: str, conditions: Mapping[str, dict[str, Expression]]) -> Course:
    for label in (before, during):
        if label and label not in conditions:
            raise DataError(
                f"the measurement table names the condition {label}, which the condition table does not have"
            )
    periods = (Period(0.0, conditions[during]),)
    if not before:
        return Course(during, periods)
    return Course(f"{during} after {before}", (Period(-math.inf, conditions[before]), *periods))


def _observable(row: Cells) -> ObservableFormula:
    label = cell(row, "observableId", of="observable")
    value = formula_in(cell(row, "observableFormula", of="observable"), f"the observableFormula of {label}")
    spread = formula_in(cell(row, "noiseFormula", of="observable"), f"the noiseFormula of {label}")
    spread = spread.substitute({label: value})
    transformation = row.get("observableTransformation") or "lin"
    noise = row.get("noiseDistribution") or "normal"
    if transformation not in ("lin", "log", "log10") or noise not in ("normal", "laplace"):
        raise DataError(f"{label} has the noise {transformation} {noise}; there are lin, log, log10; normal, laplace")
    placeholders = sorted(
        (name for name in value.names | spread.names if _is_placeholder(name, label)),
        key=lambda name: _place(name),
    )
    distribution = noise if transformation == "lin" else f"{transformation}-{noise}"
    return ObservableFormula(label, value, spread, distribution, tuple(placeholders), row.get("observableName", ""))


def _is_placeholder(name: str, label: str) -> bool:
    match = _PLACEHOLDER.match(name)
    return match is not None and match[3] == label


def _place(name: str) -> tuple[bool, int]:
    """Return where a placeholder's value stands: in which column, and after how many others."""
    match = _PLACEHOLDER.match(name)
    return (match[1] == "noise", int(match[2])) if match else (False, 0)


def _own(row: Cells, formula: ObservableFormula, what: str) -> tuple[Expression, ...]:
    given = {
        False: listed(row.get("observableParameters", "")),
        True: listed(row.get("noiseParameters", "")),
    }
    own = []
    for name in formula.placeholders:
        noise, place = _place(name)
        if place > len(given[noise]) or place == 0:
            raise DataError(f"{what} has no value for {name}")
        own.append(formula_in(given[noise][place - 1], f"{name} in {what}"))
    return tuple(own)
