"""An estimation put together from an SBML model and PEtab's tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from physode.equations.expression import Expression, Name, Number, apply, name, number
from physode.errors import DataError
from physode.estimation.problem import (
    Change,
    Entry,
    Estimation,
    Experiment,
    Measurements,
    Model,
    Observable,
    Trigger,
)
from physode.petab.classification import Classified, classified
from physode.petab.from_sympy import TIME
from physode.petab.functions import Derivative, Initial, Names, Value
from physode.petab.kinetics import Term, amount_of, by_amount, start_definitions
from physode.petab.posed import ObservableFormula, Row, Tables
from physode.petab.sbml_model import SbmlEvent, SbmlModel
from physode.petab.schedule import Schedule, Step, keeping_amounts, scheduled
from physode.petab.switching import margin, replaced


def assembled(model: SbmlModel, tables: Tables, aliases: dict[str, Expression]) -> Estimation:
    """Return the estimation that a model and tables pose.

    Parameters
    ----------
    model
        The model.
    tables
        Parameters, experiments, observables and measurements.
    aliases
        Values of symbols of the model that the tables know by other names.

    Raises
    ------
    DataError
        If something that is needed has no value, or is not supported: the line names it.
    """
    return _Assembly(model, tables, classified(model, tables, aliases)).estimation()


class _Assembly:
    """Puts one estimation together."""

    def __init__(self, model: SbmlModel, tables: Tables, parts: Classified) -> None:
        self.model, self.tables, self.parts = model, tables, parts
        self.clockwork, self.kinetics = parts.clockwork, parts.clockwork.kinetics
        measured: list[list[float]] = [[] for _ in tables.courses]
        for row in tables.rows:
            measured[row.course].append(row.time)
        self.schedules = [
            scheduled(self.clockwork, course, tuple(times))
            for course, times in zip(tables.courses, measured, strict=True)
        ]
        switches: dict[Expression, Expression] = {
            comparison: name(label) for comparison, label in self.clockwork.switches.items()
        }
        self.derivatives: list[list[Term]] = [
            [(factor, replaced(rate, switches)) for factor, rate in terms] for terms in self.kinetics.derivatives
        ]
        self.initial = self.initial_values({}, self.schedules[0].start)
        self.triggers = list(self.triggered())
        self.names = self.named()

    def estimation(self) -> Estimation:
        names, first = self.names, self.schedules[0]
        return Estimation(
            Model(
                states=names.states,
                constants=names.constants,
                rhs=Derivative(self.derivatives, names),
                initial=Initial([self.initial[state] for state in names.states], names),
                values=tuple(self.entry(symbol, first.constants) for symbol in names.constants),
                stiff=True,
                equations=self.kinetics.equations(),
                triggers=tuple(
                    Trigger(label, Value(condition, names), self.values(states), initially)
                    for label, condition, states, initially in self.triggers
                ),
            ),
            self.tables.unknowns,
            tuple(self.experiment(schedule) for schedule in self.schedules),
            tuple(self.observable(formula) for formula in self.tables.observables),
            self.measurements(),
        )

    def initial_values(self, overrides: Mapping[str, Expression], start: float) -> dict[str, Expression]:
        """Return the initial values of states as functions of constants."""
        constants = self.clockwork.given | {*self.kinetics.constants}
        values = start_definitions(
            self.model, given=constants, overrides={**self.clockwork.aliases, **overrides}, time=start
        )
        states = {}
        for state in self.kinetics.states:
            if state not in values and state in self.clockwork.given:
                raise DataError(
                    f"an event sets {state} at a time that only the solution knows, so {state} cannot be in the "
                    f"parameter table; put another parameter there, and an initial assignment {state} = that one into "
                    "the model"
                )
            if state not in values and state not in self.model.species:
                raise DataError(f"the model gives {state} no initial value; give it one in a condition")
            states[state] = values.get(state, number(0.0))
        return states

    def triggered(self) -> Iterable[tuple[str, Expression, dict[str, Expression], bool]]:
        """Yield what the solution sets off: label, condition, new values of states, and whether it is true before."""
        for label, event in self.parts.triggered.items():
            yield label, margin(self.kinetics.resolved(event.trigger)), self.assigned(event), event.initially
        for comparison in self.parts.surfaces:
            side = margin(comparison)
            for sign, condition in (("", side), ("not ", apply("neg", side))):
                yield f"{sign}{comparison}", condition, {}, True

    def assigned(self, event: SbmlEvent) -> dict[str, Expression]:
        """Return the new values of states that an event assigns."""
        states = {}
        for symbol, value in keeping_amounts(self.model, event.assignments).items():
            if by_amount(self.model, symbol):
                size = name(self.model.species[symbol].compartment)
                states[amount_of(symbol)] = self.kinetics.resolved(apply("*", value, size))
            else:
                states[symbol] = self.kinetics.resolved(value)
        return states

    def named(self) -> Names:
        """Return the names of states, and of those constants that something depends on."""
        used: list[Expression] = [rate for terms in self.derivatives for _, rate in terms]
        used.extend(self.initial.values())
        for _, condition, states, _ in self.triggers:
            used.extend((condition, *states.values()))
        for schedule in self.schedules:
            used.extend(value for step in schedule.steps for value in step.states.values())
        placeholders: set[str] = set()
        for formula in self.tables.observables:
            placeholders.update(formula.placeholders)
            used.extend(self.kinetics.resolved(each) for each in (formula.value, formula.spread))
        needed = frozenset[str]().union(*(each.names for each in used)) - {*self.kinetics.states, TIME} - placeholders
        order = [*self.kinetics.constants, *(each.name for each in self.tables.unknowns), *sorted(needed)]
        return Names(self.kinetics.states, tuple(dict.fromkeys(symbol for symbol in order if symbol in needed)))

    def entry(self, symbol: str, constants: Mapping[str, Expression]) -> Entry:
        """Return where a constant comes from."""
        if symbol not in constants:
            raise DataError(f"{symbol} has no value; give it one in the parameter table, or in every condition")
        return self.as_entry(constants[symbol], symbol)

    def as_entry(self, value: Expression, symbol: str) -> Entry:
        if unknown := sorted(value.names - self.clockwork.given):
            raise DataError(f"{symbol} depends on {unknown[0]}, which has no value; give it one in the parameter table")
        match value:
            case Number(known):
                return known
            case Name(unknown_name):
                return unknown_name
        return value

    def values(self, expressions: Mapping[str, Expression]) -> dict[str, Value]:
        return {state: Value(each, self.names) for state, each in expressions.items()}

    def experiment(self, schedule: Schedule) -> Experiment:
        """Return an experiment: what differs from the model's values and initial state, and what is done."""
        first = self.schedules[0].constants
        own = {
            symbol: self.entry(symbol, schedule.constants)
            for symbol in self.names.constants
            if schedule.constants.get(symbol) != first.get(symbol)
        }
        changes = []
        unlike: set[str] = set()
        if schedule.steady is not None:
            unlike = {
                each for each in self.names.constants if schedule.steady.get(each) != schedule.constants.get(each)
            }
            steady = {
                symbol: self.entry(symbol, schedule.steady) for symbol in self.names.constants if symbol in unlike
            }
            changes.append(Change(-math.inf, steady))
        changes.extend(change for step in schedule.steps if (change := self.change(step)) is not None)
        start = 0.0 if schedule.steady is not None else schedule.start
        initial = {
            state: self.as_entry(schedule.initial.get(state, number(0.0)), state)
            for state, value in self.initial_values(schedule.overridden, start).items()
            if value != self.initial[state] or value.names & unlike
        }
        return Experiment(schedule.name, schedule.start, own, initial, tuple(changes))

    def change(self, step: Step) -> Change | None:
        constants = {each: self.entry(each, step.constants) for each in self.names.constants if each in step.constants}
        return Change(step.time, constants, self.values(step.states)) if constants or step.states else None

    def observable(self, formula: ObservableFormula) -> Observable:
        names = Names(self.names.states, self.names.constants, formula.placeholders)
        return Observable(
            formula.name,
            Value(self.kinetics.resolved(formula.value), names),
            Value(self.kinetics.resolved(formula.spread), names),
            formula.distribution,
            text=str(formula.value),
        )

    def measurements(self) -> Measurements:
        rows = self.tables.rows
        width = max((len(row.own) for row in rows), default=0)
        return Measurements(
            experiment=np.array([row.course for row in rows], dtype=np.int64),
            observable=np.array([row.observable for row in rows], dtype=np.int64),
            times=np.array([row.time for row in rows], dtype=np.float64),
            values=np.array([row.value for row in rows], dtype=np.float64),
            own=tuple(self.own(row, width) for row in rows) if width else (),
        )

    def own(self, row: Row, width: int) -> tuple[Entry, ...]:
        """Return what stands for the placeholders of one measurement, filled up with 0."""
        constants = self.schedules[row.course].constants_at(row.time)
        label = self.tables.observables[row.observable].name
        values = [self.as_entry(each.substitute(constants), f"a measurement of {label}") for each in row.own]
        return (*values, *[0.0] * (width - len(values)))
