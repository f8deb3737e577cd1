"""Small PEtab problems, written by python-libsbml and as tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import libsbml

Table = Sequence[Mapping[str, object]]


def model(
    *,
    compartments: Mapping[str, float] | None = None,
    species: Mapping[str, Mapping[str, object]] | None = None,
    parameters: Mapping[str, float | None] | None = None,
    reactions: Mapping[str, tuple[str, str]] | None = None,
    local: Mapping[str, Mapping[str, float]] | None = None,
    assigned: Mapping[str, str] | None = None,
    rates: Mapping[str, str] | None = None,
    initial: Mapping[str, str] | None = None,
    events: Mapping[str, Mapping[str, object]] | None = None,
    functions: Mapping[str, str] | None = None,
) -> str:
    """Return an SBML model as text; formulas in the notation of SBML level 3.

    Reactions are pairs of a scheme, such as ``"A + 2 B -> C"``, and a rate. Species have ``initial`` (a concentration,
    or an amount with ``amount=True``) and ``compartment`` ("c" by default), ``boundary``, and ``by_amount``, the kind
    of the initial value where it is not the symbol's.
    """
    document = libsbml.SBMLDocument(3, 2)
    made = document.createModel()
    made.setId("small")
    for label, text in (functions or {}).items():
        function = made.createFunctionDefinition()
        function.setId(label)
        function.setMath(libsbml.parseL3Formula(text))
    for label, size in (compartments or {"c": 1.0}).items():
        compartment = made.createCompartment()
        compartment.setId(label)
        compartment.setSize(size)
        compartment.setSpatialDimensions(3.0)
        compartment.setConstant(label not in {**(assigned or {}), **(rates or {})} and not _is_assigned(label, events))
    for label, options in (species or {}).items():
        one = made.createSpecies()
        one.setId(label)
        one.setCompartment(str(options.get("compartment", "c")))
        one.setConstant(False)
        one.setBoundaryCondition(bool(options.get("boundary", label in (assigned or {}))))
        one.setHasOnlySubstanceUnits(bool(options.get("amount", False)))
        if "initial" in options:
            by_amount = options.get("by_amount", options.get("amount", False))
            (one.setInitialAmount if by_amount else one.setInitialConcentration)(options["initial"])
    for label, value in (parameters or {}).items():
        parameter = made.createParameter()
        parameter.setId(label)
        parameter.setConstant(label not in {**(assigned or {}), **(rates or {})} and not _is_assigned(label, events))
        if value is not None:
            parameter.setValue(value)
    for kind, rules in (("createAssignmentRule", assigned), ("createRateRule", rates)):
        for label, text in (rules or {}).items():
            rule = getattr(made, kind)()
            rule.setVariable(label)
            rule.setMath(libsbml.parseL3Formula(text))
    for label, text in (initial or {}).items():
        assignment = made.createInitialAssignment()
        assignment.setSymbol(label)
        assignment.setMath(libsbml.parseL3Formula(text))
    for label, (scheme, law) in (reactions or {}).items():
        reaction = made.createReaction()
        reaction.setId(label)
        reaction.setReversible(False)
        for side, create in zip(scheme.split("->"), (reaction.createReactant, reaction.createProduct), strict=True):
            for term in filter(None, (part.strip() for part in side.split("+"))):
                *factor, one = term.split()
                reference = create()
                reference.setSpecies(one)
                reference.setStoichiometry(float(factor[0]) if factor else 1.0)
                reference.setConstant(True)
        kinetic_law = reaction.createKineticLaw()
        kinetic_law.setMath(libsbml.parseL3Formula(law))
        for name, value in (local or {}).get(label, {}).items():
            parameter = kinetic_law.createLocalParameter()
            parameter.setId(name)
            parameter.setValue(value)
    for label, options in (events or {}).items():
        _add_event(made, label, options)
    return str(libsbml.writeSBMLToString(document))


def _is_assigned(symbol: str, events: Mapping[str, Mapping[str, Any]] | None) -> bool:
    return any(symbol in event["assignments"] for event in (events or {}).values())


def _add_event(made: Any, label: str, options: Mapping[str, Any]) -> None:
    event = made.createEvent()
    event.setId(label)
    event.setUseValuesFromTriggerTime(True)
    trigger = event.createTrigger()
    trigger.setInitialValue(bool(options.get("initially", True)))
    trigger.setPersistent(True)
    trigger.setMath(libsbml.parseL3Formula(options["trigger"]))
    if "priority" in options:
        event.createPriority().setMath(libsbml.parseL3Formula(str(options["priority"])))
    if "delay" in options:
        event.createDelay().setMath(libsbml.parseL3Formula(str(options["delay"])))
    for symbol, text in options["assignments"].items():
        assignment = event.createEventAssignment()
        assignment.setVariable(symbol)
        assignment.setMath(libsbml.parseL3Formula(text))


def write_version_1(
    folder: Path, text: str, *, parameters: Table, observables: Table, measurements: Table, conditions: Table
) -> Path:
    """Write a problem of version 1 and return its YAML file; each table is filled up with what it must have."""
    (folder / "model.xml").write_text(text)
    _write(folder / "parameters.tsv", [{**_PARAMETER_1, **row} for row in parameters])
    _write(folder / "observables.tsv", observables)
    _write(folder / "measurements.tsv", measurements)
    _write(folder / "conditions.tsv", conditions)
    path = folder / "problem.yaml"
    path.write_text(
        "format_version: 1\nparameter_file: parameters.tsv\nproblems:\n- condition_files: [conditions.tsv]\n"
        "  measurement_files: [measurements.tsv]\n  observable_files: [observables.tsv]\n  sbml_files: [model.xml]\n"
    )
    return path


def write_version_2(
    folder: Path, text: str, *, parameters: Table, observables: Table, measurements: Table,
    conditions: Table = (), experiments: Table = (), mappings: Table = (),
) -> Path:  # fmt: skip
    """Write a problem of version 2 and return its YAML file."""
    (folder / "model.xml").write_text(text)
    _write(folder / "parameters.tsv", [{**_PARAMETER_2, **row} for row in parameters])
    _write(folder / "observables.tsv", observables)
    _write(folder / "measurements.tsv", [{"experimentId": "", **row} for row in measurements])
    lines = [
        "format_version: 2.0.0", "parameter_files: [parameters.tsv]", "measurement_files: [measurements.tsv]",
        "observable_files: [observables.tsv]", "model_files: {small: {language: sbml, location: model.xml}}",
    ]  # fmt: skip
    for kind, table in (("condition", conditions), ("experiment", experiments), ("mapping", mappings)):
        if table:
            _write(folder / f"{kind}s.tsv", table)
            lines.append(f"{kind}_files: [{kind}s.tsv]")
    path = folder / "problem.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


_PARAMETER_1 = {"parameterScale": "lin", "lowerBound": 0, "upperBound": 10, "nominalValue": 1, "estimate": 1}
_PARAMETER_2 = {"lowerBound": 0, "upperBound": 10, "nominalValue": 1, "estimate": "true"}


def _write(path: Path, rows: Table) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["\t".join(columns), *("\t".join(str(row.get(column, "")) for column in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
