"""PEtab's tables of version 2: conditions as lists of changes, experiments as periods, placeholders by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from physode.equations.expression import Expression, name
from physode.errors import DataError
from physode.estimation.problem import Prior, Unknown
from physode.petab.cells import cell, formula_in, listed, measured_in, number_in, numbers_in, unknown_of
from physode.petab.files import Cells, ProblemFiles, rows_of_tables
from physode.petab.posed import Course, ObservableFormula, Period, Row, Tables

_DISTRIBUTIONS = ("normal", "log-normal", "laplace", "log-laplace")
_PRIORS = {
    "cauchy": 2, "chisquare": 1, "exponential": 1, "gamma": 2, "laplace": 2, "log-laplace": 2, "log-normal": 2,
    "log-uniform": 2, "normal": 2, "rayleigh": 1, "uniform": 2,
}  # fmt: skip
"""How many numbers each has."""

_AS_IT_IS = Course("model", (Period(0.0, {}),))
_WIDE = 100.0
"""From which ratio of positive bounds on a parameter is searched for on its logarithm."""

Changes = dict[str, Expression]


def tables_of_version_2(files: ProblemFiles) -> tuple[Tables, dict[str, Expression]]:
    """Read the tables of a problem of version 2.

    Returns
    -------
    Tables
        What they say.
    dict
        The values of symbols of the model that parameters stand for by another name.

    Raises
    ------
    ConfigError
        If the package petab is missing.
    DataError
        If a cell cannot be read, or what it names is not there.
    """
    unknowns = _unknowns(rows_of_tables(files.parameters))
    aliases, renamed = _mapped(rows_of_tables(files.mappings), {each.name for each in unknowns})
    conditions = _conditions(rows_of_tables(files.conditions), renamed)
    experiments = _experiments(rows_of_tables(files.experiments), conditions)
    observables = [_observable(row, renamed) for row in rows_of_tables(files.observables)]
    courses: dict[str, Course] = {}
    rows = []
    for each in measured_in(rows_of_tables(files.measurements), [formula.name for formula, _ in observables]):
        experiment = each.row.get("experimentId", "")
        if experiment and experiment not in experiments:
            raise DataError(f"{each.what} names the experiment {experiment}, which the experiment table does not have")
        course = courses.setdefault(experiment, experiments[experiment] if experiment else _AS_IT_IS)
        if each.time < course.start:
            raise DataError(f"{each.what} is at time {each.time:g}, before the experiment begins at {course.start:g}")
        own = _own(each.row, *observables[each.observable], each.what)
        rows.append(Row(list(courses).index(experiment), each.observable, each.time, each.value, own))
    tables = Tables(
        unknowns, tuple(courses.values()), tuple(formula for formula, _ in observables), tuple(rows), afresh=False,
        events_in_steady_states=True,
    )  # fmt: skip
    return tables, aliases


def _unknowns(rows: list[Cells]) -> tuple[Unknown, ...]:
    """Return the parameters; where one has a prior, all that are estimated have: a flat one between their bounds."""
    unknowns = [_unknown(row) for row in rows]
    if any(each.prior for each in unknowns):
        unknowns = [
            replace(each, prior=Prior("uniform", (each.low, each.high), truncated=True))
            if each.free and each.prior is None and math.isfinite(each.high - each.low)
            else each
            for each in unknowns
        ]
    return tuple(unknowns)


def _unknown(row: Cells) -> Unknown:
    label = cell(row, "parameterId", of="parameter")
    estimate = cell(row, "estimate", of="parameter").lower()
    if estimate not in ("true", "false"):
        raise DataError(f"estimate of {label} must be true or false, got {estimate!r}")
    free = estimate == "true"
    unknown = unknown_of(row, scale="linear", free=free, prior=_prior(row, label) if free else None)
    wide = math.isfinite(unknown.high) and unknown.low > 0 and unknown.high / unknown.low >= _WIDE
    return replace(unknown, scale="log10") if wide and unknown.guess > 0 else unknown


def _prior(row: Cells, label: str) -> Prior | None:
    kind = row.get("priorDistribution", "")
    if not kind:
        return None
    if kind not in _PRIORS:
        raise DataError(f"the priorDistribution of {label} is {kind}; there are {', '.join(_PRIORS)}")
    values = numbers_in(row.get("priorParameters", ""), f"priorParameters of {label}")
    if len(values) != _PRIORS[kind]:
        raise DataError(f"priorParameters of {label} must be {_PRIORS[kind]} numbers for {kind}, got {len(values)}")
    return Prior("chi-squared" if kind == "chisquare" else kind, values, truncated=True)


def _mapped(rows: list[Cells], parameters: set[str]) -> tuple[Changes, Changes]:
    """Return what symbols of the model are parameters by another name; and other names of symbols of the model."""
    aliases: Changes = {}
    renamed: Changes = {}
    for row in rows:
        label, symbol = cell(row, "petabEntityId", of="mapping"), row.get("modelEntityId", "")
        if symbol and symbol != label:
            if label in parameters:
                aliases[symbol] = name(label)
            else:
                renamed[label] = name(symbol)
    return aliases, renamed


def _conditions(rows: list[Cells], renamed: Changes) -> dict[str, Changes]:
    conditions: dict[str, Changes] = {}
    for row in rows:
        label, target = cell(row, "conditionId", of="condition"), cell(row, "targetId", of="condition")
        changes = conditions.setdefault(label, {})
        if target in renamed:
            target = next(iter(renamed[target].names))
        if target in changes:
            raise DataError(f"the condition {label} changes {target} twice")
        text = cell(row, "targetValue", of="condition")
        changes[target] = formula_in(text, f"{target} in the condition {label}").substitute(renamed)
    return conditions


def _experiments(rows: list[Cells], conditions: Mapping[str, Changes]) -> dict[str, Course]:
    periods: dict[str, dict[float, Changes]] = {}
    for row in rows:
        label = cell(row, "experimentId", of="experiment")
        time = number_in(cell(row, "time", of="experiment"), f"a time of the experiment {label}")
        if time == math.inf:
            raise DataError(f"a period of the experiment {label} begins at inf; it must begin at a time, or at -inf")
        changes = periods.setdefault(label, {}).setdefault(time, {})
        condition = row.get("conditionId", "")
        if condition and condition not in conditions:
            raise DataError(f"the experiment {label} names the condition {condition}, which the condition table lacks")
        for target, value in conditions.get(condition, {}).items():
            if target in changes:
                raise DataError(f"conditions of the experiment {label} change {target} twice at time {time:g}")
            changes[target] = value
    return {
        label: Course(label, tuple(Period(time, changes) for time, changes in sorted(times.items())))
        for label, times in periods.items()
    }


def _observable(row: Cells, renamed: Changes) -> tuple[ObservableFormula, int]:
    """Return an observable, and how many of its placeholders are those of its formula, not of its noise alone."""
    label = cell(row, "observableId", of="observable")
    value = formula_in(cell(row, "observableFormula", of="observable"), f"the observableFormula of {label}")
    spread = formula_in(cell(row, "noiseFormula", of="observable"), f"the noiseFormula of {label}")
    spread = spread.substitute({label: value})
    distribution = row.get("noiseDistribution") or "normal"
    if distribution not in _DISTRIBUTIONS:
        raise DataError(f"{label} has the noiseDistribution {distribution}; there are {', '.join(_DISTRIBUTIONS)}")
    of_value, of_noise = listed(row.get("observablePlaceholders", "")), listed(row.get("noisePlaceholders", ""))
    formula = ObservableFormula(
        label, value.substitute(renamed), spread.substitute(renamed), distribution, (*of_value, *of_noise),
        row.get("observableName", ""),
    )  # fmt: skip
    return formula, len(of_value)


def _own(row: Cells, formula: ObservableFormula, of_value: int, what: str) -> tuple[Expression, ...]:
    values, noise = listed(row.get("observableParameters", "")), listed(row.get("noiseParameters", ""))
    if len(values) != of_value or len(noise) != len(formula.placeholders) - of_value:
        raise DataError(
            f"{what} has {len(values)} observableParameters and {len(noise)} noiseParameters; {formula.name} needs "
            f"{of_value} and {len(formula.placeholders) - of_value}"
        )
    return tuple(formula_in(text, f"a parameter in {what}") for text in (*values, *noise))
