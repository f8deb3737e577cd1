"""Model files in TOML: equations, constants, inputs, observables, experiments; docs/model_files.md describes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from physode.datasets.table import TableOptions
from physode.equations.consistency import check_dimensions, check_use
from physode.equations.declarations import Declarations
from physode.equations.equation_lines import Equations, read_equations
from physode.equations.posing import pose
from physode.equations.reading import (
    read_changes,
    read_constant,
    read_input,
    read_observable,
    read_state,
    read_treatment,
    read_unit,
)
from physode.equations.scope import Scope, checked_name
from physode.equations.toml_tables import Section, near, read_toml
from physode.estimation.problem import Estimation

__all__ = ["VERSION", "ModelFile", "read_model"]

VERSION = 1
"""Of the format."""

_MOST = 1000
"""States, constants, inputs, observables; and experiments that have tables."""


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read.

    Attributes
    ----------
    path
        The file.
    declarations
        What it says.
    """

    path: Path
    declarations: Declarations

    def estimation(
        self,
        *data: str | os.PathLike[str],
        options: TableOptions | None = None,
        tell: Callable[[str], object] | None = None,
    ) -> Estimation:
        """Pose the estimation of its unknowns from tables.

        Parameters
        ----------
        data
            Files of tables: one column an observable, or columns ``observable`` and ``value``; each file is one
            experiment, unless it has a column of experiments.
        options
            What is known of how the tables are written.
        tell
            Told how a table was read, where that does not go without saying.

        Raises
        ------
        ConfigError
            If the data lack what the model asks for: columns, experiments, inputs up to the end, units that can be
            converted.
        DataError
            If a file cannot be read.
        """
        paths = [Path(each) for each in data]
        return pose(self.declarations, paths, where=str(self.path), options=options, tell=tell)


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file, and check it: names, dimensions, and that nothing is declared in vain.

    Raises
    ------
    ConfigError
        In one line that names file, table and key.
    """
    path = Path(path)
    section = read_toml(path)
    _check_version(section)
    section.only(
        "version", "name", "description", "time_unit", "begin", "stiff", "time_column", "experiment_column",
        "equations", "states", "constants", "inputs", "observables", "experiments", "changes",
    )  # fmt: skip
    section.text("description")
    declarations = _declarations(section, path)
    check_use(declarations, section)
    check_dimensions(declarations, section)
    return ModelFile(path, declarations)


def _check_version(section: Section) -> None:
    version = section.take("version")
    if version is None:
        raise section.refusal(f"is missing; a model file says version = {VERSION}", "version")
    if version != VERSION or isinstance(version, bool):
        raise section.refusal(f"is {version!r}, but this physode reads version {VERSION}", "version")


def _declarations(section: Section, path: Path) -> Declarations:
    tables = {key: section.table(key).of_names() for key in ("states", "constants", "inputs")}
    tables |= {key: section.table(key) for key in ("observables", "experiments")}
    for table in tables.values():
        if len(table.content) > _MOST:
            raise table.refusal(f"has {len(table.content)} entries, more than {_MOST}")
    equations = _equations(section, tables["states"])
    scope = Scope(equations.states, tables["constants"].content, tables["inputs"].content)
    _check_names(tables, equations, scope, section)
    equations.define(scope)
    rates = equations.rates(scope)
    return Declarations(
        name=section.text("name") or path.stem,
        states=tuple(read_state(label, rate, tables["states"], scope) for label, rate in rates.items()),
        constants=tuple(read_constant(tables["constants"], key) for key in tables["constants"].content),
        inputs=tuple(read_input(tables["inputs"], key, path.parent) for key in tables["inputs"].content),
        observables=tuple(read_observable(tables["observables"], key, scope) for key in tables["observables"].content),
        treatments={key: read_treatment(tables["experiments"], key, scope) for key in tables["experiments"].content},
        changes=read_changes(section, scope),
        time_unit=read_unit(section, "time_unit"),
        begin=section.number("begin"),
        stiff=section.flag("stiff"),
        time_column=section.text("time_column"),
        experiment_column=section.text("experiment_column"),
        equations=tuple(each.text for kind in (equations.definitions, equations.derivatives) for each in kind.values()),
    )


def _equations(section: Section, states: Section) -> Equations:
    """Collect the equations above all tables, and those of single states."""
    equations = Equations()
    for each in read_equations(section, "equations"):
        equations.add(each)
    if isinstance(states.content.get("equations"), str | list):
        raise states.refusal("must stand above the first [table] of the file", "equations")
    for label in states.content:
        if isinstance(states.content[label], dict) and "equation" in states.content[label]:
            for each in read_equations(states.table(label), "equation", state=label):
                equations.add(each)
    for label in states.content:
        if label not in equations.states:
            wrong = f'has no equation; write equation = "{label}\' = ..."'
            if label in equations.definitions:
                wrong = f"has no equation: {label} = ... defines it; write {label}' = ..., the derivative with time"
            raise states.refusal(wrong, label)
    if not equations.states:
        raise section.refusal('there is no equation; write equations = "x\' = -k*x"')
    if len(equations.states) > _MOST:
        raise section.refusal(f"has {len(equations.states)} states, more than {_MOST}")
    return equations


def _check_names(tables: dict[str, Section], equations: Equations, scope: Scope, section: Section) -> None:
    """Raise unless every name can be one, and is declared once."""
    for label in equations.states:
        checked_name(label, section)
    for label in equations.definitions:
        checked_name(label, section)
    kinds: Sequence[tuple[str, Sequence[str]]] = (
        ("a state", equations.states),
        ("a definition", list(equations.definitions)),
        ("a constant", list(tables["constants"].content)),
        ("an input", list(tables["inputs"].content)),
    )
    seen: dict[str, str] = {}
    for kind, labels in kinds:
        for label in labels:
            if label in seen:
                raise section.refusal(f"{label} is {seen[label]} and {kind}; take another name for one")
            seen[label] = kind
    for key in ("constants", "inputs"):
        for label in tables[key].content:
            checked_name(label, tables[key])
    for key in tables["observables"].content:
        if not key.strip() or len(key) > 100:
            raise tables["observables"].refusal(f"is no name; {near(key, scope.declared)}", key)
