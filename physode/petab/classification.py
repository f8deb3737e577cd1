"""What of a model acts at known times, and what only the solution can tell: events, switches, moving constants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from physode.equations.expression import Apply, Expression, name, number
from physode.errors import DataError
from physode.petab.from_sympy import TIME
from physode.petab.kinetics import Kinetics, kinetics
from physode.petab.posed import Tables
from physode.petab.sbml_model import SbmlEvent, SbmlModel
from physode.petab.schedule import Clockwork
from physode.petab.switching import comparisons, crossing, replaced


@dataclass(frozen=True)
class Classified:
    """A model, taken apart.

    Attributes
    ----------
    clockwork
        What acts at times that are known, in every experiment.
    triggered
        Events that the solution sets off.
    surfaces
        Comparisons of time in the differential equation whose times depend on what is estimated.
    """

    clockwork: Clockwork
    triggered: dict[str, SbmlEvent]
    surfaces: tuple[Apply, ...]


def classified(model: SbmlModel, tables: Tables, aliases: dict[str, Expression]) -> Classified:
    """Return what of a model acts when.

    Parameters
    ----------
    model
        The model.
    tables
        What is done to it.
    aliases
        Values of symbols that the tables know by other names.

    Raises
    ------
    DataError
        If something gives a value to what follows from others.
    """
    changed = frozenset(symbol for course in tables.courses for period in course.periods for symbol in period.values)
    if ruled := sorted(changed & model.assigned.keys()):
        raise DataError(f"a condition gives {ruled[0]} a value, but it follows from others by a rule")
    moving: frozenset[str] = frozenset()
    while True:
        sorting = _Sorting(model, tables, kinetics(model, changed=changed, moving=moving), aliases)
        timed = {label: event for label, event in model.events.items() if sorting.is_timed(event)}
        triggered = {label: event for label, event in model.events.items() if label not in timed}
        needed = moving | sorting.moved(timed.values(), triggered.values())
        if needed == moving:
            break
        moving = needed
    of_time = comparisons(rate for terms in sorting.kinetics.derivatives for _, rate in terms)
    known = [each for each in of_time if sorting.is_known(each)]
    unknown = [each for each in of_time if each not in known and not each.names & {*sorting.kinetics.states}]
    resolved = {
        label: SbmlEvent(sorting.kinetics.resolved(event.trigger), event.initially, event.assignments, event.priority)
        for label, event in timed.items()
    }
    clockwork = Clockwork(
        model, sorting.kinetics, sorting.given, sorting.kept, resolved, {each: str(each) for each in known},
        tables.afresh, tables.events_in_steady_states, aliases,
    )  # fmt: skip
    return Classified(clockwork, triggered, tuple(each for each in unknown if crossing(each) is not None))


class _Sorting:
    """Tells numbers that are known beforehand from others."""

    def __init__(self, model: SbmlModel, tables: Tables, equation: Kinetics, aliases: dict[str, Expression]) -> None:
        self.model, self.tables, self.kinetics = model, tables, equation
        self.given = frozenset(unknown.name for unknown in tables.unknowns)
        self.kept: dict[str, Expression] = {each.name: number(each.guess) for each in tables.unknowns if not each.free}
        self.steady = any(course.steady for course in tables.courses)
        clockwork = Clockwork(model, equation, self.given, self.kept, {}, {}, tables.afresh, False, aliases)
        self.unknown = frozenset({*equation.states, *(self.given - self.kept.keys())})
        later: list[tuple[str, Expression]] = []
        for course in tables.courses:
            for index, period in enumerate(course.periods):
                if index and not tables.afresh:
                    later.extend(period.values.items())
                else:
                    later.extend(clockwork.constants(clockwork.beginning(period.values, course.start)).items())
        self.assignments = [(symbol, equation.resolved(each)) for symbol, each in later]
        for event in model.events.values():
            self.assignments.extend((symbol, equation.resolved(each)) for symbol, each in event.assignments.items())
        self.spread_unknown()

    def spread_unknown(self) -> None:
        """Count as unknown what gets a value that is."""
        before = None
        while before != self.unknown:
            before = self.unknown
            self.unknown |= {symbol for symbol, value in self.assignments if not self.is_number(value)}

    def is_number(self, expression: Expression) -> bool:
        """Return whether an expression's value is known at any time, in every experiment."""
        return not expression.names & self.unknown

    def is_known(self, comparison: Apply) -> bool:
        """Return whether it is known when a comparison changes."""
        return self.is_number(comparison) and crossing(comparison) is not None

    def is_timed(self, event: SbmlEvent) -> bool:
        """Return whether it is known when an event takes place."""
        if self.steady and self.tables.events_in_steady_states and self.moves(event):
            return False  # it moves states on their way to a steady state
        trigger = self.kinetics.resolved(event.trigger)
        of_time = comparisons([trigger])
        rest = replaced(trigger, {each: name("is true") for each in of_time})
        return self.is_number(trigger) and all(map(self.is_known, of_time)) and TIME not in rest.names

    def moves(self, event: SbmlEvent) -> bool:
        """Return whether an event gives states values, or changes the size of compartments that have species."""
        homes = {species.compartment for species in self.model.species.values()}
        states = {*self.kinetics.states} | {each.removesuffix(".amount") for each in self.kinetics.states}
        return not event.assignments.keys().isdisjoint(states | homes)

    def moved(self, timed: Iterable[SbmlEvent], triggered: Iterable[SbmlEvent]) -> frozenset[str]:
        """Return the symbols that get values only the solution knows, and have no time derivative themselves."""
        moved = {symbol for event in triggered for symbol in event.assignments}
        states = {*self.kinetics.states}
        for event in timed:
            moved |= {each for each, value in event.assignments.items() if self.kinetics.resolved(value).names & states}
        if not self.tables.afresh:
            for course in self.tables.courses:
                for period in course.periods[1:]:
                    moved |= {
                        each for each, value in period.values.items() if self.kinetics.resolved(value).names & states
                    }
        for symbol, species in self.model.species.items():
            if species.compartment in moved and not species.amount and symbol not in self.model.assigned:
                moved.add(symbol)
        return frozenset(moved - {*self.kinetics.states} - {*self.kinetics.definitions})
