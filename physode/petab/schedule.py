"""What happens in an experiment, and when: its constants from period to period, events at known times, switches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from physode.equations.expression import Apply, Expression, apply, name, number
from physode.errors import DataError
from physode.petab.from_sympy import TIME
from physode.petab.kinetics import Kinetics, amount_of, by_amount, start_definitions
from physode.petab.posed import Course, Period
from physode.petab.sbml_model import SbmlEvent, SbmlModel
from physode.petab.switching import comparisons, crossing, is_true, time_of

Values = Mapping[str, Expression]

_MOST_EVENTS = 100  # at one time


@dataclass(frozen=True)
class Step:
    """What is done at one time: new values of constants, of unknowns; and of states, of states and unknowns."""

    time: float
    constants: dict[str, Expression]
    states: dict[str, Expression]

    def followed_by(self, other: Step) -> Step:
        """Return what this and another do at one time, one after the other, as one step from the values before."""
        states = {state: value.substitute(self.states) for state, value in other.states.items()}
        return Step(self.time, {**self.constants, **other.constants}, {**self.states, **states})


@dataclass(frozen=True)
class Schedule:
    """An experiment.

    Attributes
    ----------
    constants
        Values from its start on, of unknowns.
    steady
        Values while a steady state is sought before; None where it does not begin from one.
    initial
        Initial values of all states, of unknowns.
    overridden
        Those states, and other symbols, that its first period gives values.
    steps
        What is done later, or at its start once all has its initial value.
    history
        Times, with the values of constants from each on.
    """

    name: str
    start: float
    constants: dict[str, Expression]
    steady: dict[str, Expression] | None
    initial: dict[str, Expression]
    overridden: dict[str, Expression]
    steps: tuple[Step, ...]
    history: tuple[tuple[float, dict[str, Expression]], ...]

    def constants_at(self, time: float) -> dict[str, Expression]:
        """Return the values of constants at some time, after what is done then."""
        return next(values for since, values in reversed(self.history) if since <= time or since == self.start)


@dataclass(frozen=True)
class Clockwork:
    """What acts at known times in every experiment.

    Attributes
    ----------
    model, kinetics
        The model.
    given
        Names of unknowns; `kept` has values of those that are not estimated.
    events
        Events whose times are known.
    switches
        Comparisons in the differential equation whose times are known, with what the constants are called that stand
        for them.
    afresh
        Whether constants take their values anew in each period.
    events_in_steady_states
        Whether events act while a steady state is sought.
    aliases
        Values of symbols that the tables know by other names.
    """

    model: SbmlModel
    kinetics: Kinetics
    given: frozenset[str]
    kept: dict[str, Expression]
    events: dict[str, SbmlEvent]
    switches: dict[Apply, str]
    afresh: bool
    events_in_steady_states: bool
    aliases: dict[str, Expression] = field(default_factory=dict)

    def beginning(self, values: Values, time: float) -> dict[str, Expression]:
        """Return all symbols' values at the beginning, of unknowns."""
        overrides = {**self.aliases, **values}
        return start_definitions(self.model, given=self.given, overrides=overrides, time=time)

    def constants(self, beginning: Values) -> dict[str, Expression]:
        """Return the values of constants among those of all symbols; those of the unknowns are themselves."""
        others = {*self.kinetics.states, *self.kinetics.definitions, TIME}
        values = {symbol: value for symbol, value in beginning.items() if symbol not in others}
        return {**values, **{symbol: name(symbol) for symbol in self.given}}

    def numbers(self, constants: Values, names: Iterable[str]) -> dict[str, Expression]:
        """Return some constants with the values of unknowns that are not estimated put in."""
        return {symbol: constants[symbol].substitute(self.kept) for symbol in names if symbol in constants}

    def effects(self, assignments: Values, constants: Values, time: float, *, amounts: bool) -> Step:
        """Return what assignments do to constants and states, all at once.

        Parameters
        ----------
        assignments
            New values of symbols, of all that the model has.
        constants
            Values of constants before.
        time
            When.
        amounts
            Whether species in a compartment whose size changes keep their amounts, as SBML's events have it, in place
            of their concentrations.
        """
        before = {**constants, TIME: number(time)}
        if amounts:
            assignments = keeping_amounts(self.model, assignments)
        new_constants: dict[str, Expression] = {}
        new_states: dict[str, Expression] = {}
        for symbol, expression in assignments.items():
            state, value = symbol, expression
            if by_amount(self.model, symbol):
                state, value = amount_of(symbol), apply("*", expression, name(self.model.species[symbol].compartment))
            value = self.kinetics.resolved(value).substitute(before)
            if state in self.kinetics.states:
                new_states[state] = value
            elif symbol in self.kinetics.definitions:
                raise DataError(f"{symbol} gets a value at time {time:g}, but follows from others by a rule")
            else:
                new_constants[symbol] = value
        return Step(time, new_constants, new_states)


def keeping_amounts(model: SbmlModel, assignments: Values) -> Values:
    """Return assignments with those that keep the amounts of species in compartments whose size is assigned."""
    assigned = dict(assignments)
    for symbol, species in model.species.items():
        size = assignments.get(species.compartment)
        if size is not None and not species.amount and symbol not in model.assigned:
            ratio = apply("/", name(species.compartment), size)
            assigned[symbol] = apply("*", assignments.get(symbol, name(symbol)), ratio)
    return assigned


def scheduled(clockwork: Clockwork, course: Course, measured: tuple[float, ...]) -> Schedule:
    """Return what happens in an experiment.

    Parameters
    ----------
    clockwork
        What acts by itself.
    course
        The experiment.
    measured
        When something is measured in it.

    Raises
    ------
    DataError
        If something is not determined, or events follow one another without end.
    """
    return _Walk(clockwork, course, measured).schedule()


class _Walk:
    """Walks through an experiment from time to time."""

    def __init__(self, clockwork: Clockwork, course: Course, measured: tuple[float, ...]) -> None:
        self.clockwork, self.course = clockwork, course
        self.measured = frozenset(measured)
        self.end = max(measured, default=course.start)
        self.constants: dict[str, Expression] = {}
        self.truths: dict[str, bool] = {}
        self.steps: list[Step] = []
        self.history: list[tuple[float, dict[str, Expression]]] = []
        events = [event.trigger for event in clockwork.events.values()]
        self.crossings = [
            each for each in map(crossing, comparisons([*events, *clockwork.switches])) if each is not None
        ]

    def schedule(self) -> Schedule:
        first, *later = self.course.periods
        start = self.course.start
        beginning = self.clockwork.beginning(first.values, 0.0 if self.course.steady else first.time)
        self.constants = self.clockwork.constants(beginning)
        steady = None
        if self.course.steady:
            if self.clockwork.events_in_steady_states:
                self.act_until_steady()
            steady = {**self.constants, **self.switched(math.inf)}
            at_start = Step(start, {}, {})
            if later:
                at_start = self.entered(later.pop(0), first)
            self.constants.update(at_start.constants)
            if at_start.states:
                self.steps.append(Step(start, {}, at_start.states))
        self.constants.update(self.switched(self.after(start)))
        constants = dict(self.constants)
        self.history.append((start, constants))
        if not self.truths:
            self.wait(start)
        self.settle(start, edge=True)
        for period, following in zip([None, *later], [*later, None], strict=True):
            if period is not None:
                self.do(self.entered(period, None))
                self.settle(period.time, edge=True)
            until = following.time if following else math.inf
            self.walk(period.time if period else start, until, self.end)
        return Schedule(
            self.course.name, start, constants, steady,
            initial={state: beginning[state] for state in self.clockwork.kinetics.states if state in beginning},
            overridden=dict(first.values), steps=tuple(self.steps), history=tuple(self.history),
        )  # fmt: skip

    def entered(self, period: Period, steady: Period | None) -> Step:
        """Return what the beginning of a period does."""
        time = self.course.start if steady is not None else period.time
        if not self.clockwork.afresh:
            return self.clockwork.effects(period.values, self.constants, time, amounts=False)
        model = self.clockwork.model
        kept = {} if steady is None else steady.values
        kept = {
            symbol: value for symbol, value in kept.items() if symbol in model.species or symbol in model.compartments
        }
        beginning = self.clockwork.beginning({**kept, **period.values}, time)
        states = {
            state: beginning[state]
            for symbol in period.values
            for state in (amount_of(symbol), symbol)
            if state in self.clockwork.kinetics.states
        }
        return Step(time, self.clockwork.constants(beginning), states)

    def do(self, step: Step) -> None:
        """Do something, and keep it in the list if it does anything."""
        changed = {symbol: value for symbol, value in step.constants.items() if self.constants.get(symbol) != value}
        self.constants = {**self.constants, **changed}
        if changed or step.states:
            done = Step(step.time, changed, step.states)
            if self.steps and self.steps[-1].time == step.time:
                done = self.steps.pop().followed_by(done)
            self.steps.append(done)
            self.history.append((step.time, self.constants))

    def wait(self, time: float) -> None:
        """Let events wait for their triggers, from some time on."""
        for label, event in self.clockwork.events.items():
            self.truths[label] = event.initially and self.holds(event.trigger, time)

    def act_until_steady(self) -> None:
        """Do to constants all that events do while a steady state is sought, from time 0 on for ever."""
        self.wait(0.0)
        self.settle(0.0, edge=True)
        self.walk(0.0, math.inf, math.inf)
        self.steps.clear()
        self.history.clear()

    def walk(self, time: float, end: float, last: float) -> None:
        """Go through all that happens between two times, the second not among them, and not after the last."""
        while (following := self.following(time)) is not None and following < end and following <= last:
            time = following
            self.settle(time, edge=False)

    def following(self, time: float) -> float | None:
        """Return the next time at which a condition changes."""
        return min((each for each in self.times() if each > time), default=None)

    def times(self) -> list[float]:
        """Return the times at which conditions change, as constants are now."""
        times = [time_of(each, self.clockwork.numbers(self.constants, each.names)) for each in self.crossings]
        return [each for each in times if each is not None]

    def after(self, time: float) -> float:
        """Return a time shortly behind one, before the next condition changes."""
        following = self.following(time)
        return time + 1.0 if following is None else 0.5 * (time + following)

    def holds(self, condition: Expression, time: float) -> bool:
        if time == math.inf:
            time = max(self.times(), default=0.0) + 1.0
        return is_true(condition, time, self.clockwork.numbers(self.constants, condition.names))

    def switched(self, time: float) -> dict[str, Expression]:
        """Return the values of switches at some time."""
        return {
            label: number(float(self.holds(condition, time))) for condition, label in self.clockwork.switches.items()
        }

    def settle(self, time: float, *, edge: bool) -> None:
        """Do at one time what events and switches do: again, as long as events set off others."""
        for _ in range(_MOST_EVENTS):
            event = self.fired(time)
            if event is None:
                break
            late = not edge and time in self.measured and not self.holds(event.trigger, time)
            moment = (
                math.nextafter(time, math.inf) if late else time
            )  # what is measured at that time is measured before
            self.do(self.clockwork.effects(event.assignments, self.constants, moment, amounts=True))
        else:
            raise DataError(f"events follow one another without end at time {time:g} of {self.course.name}")
        self.do(Step(time, self.switched(self.after(time)), {}))

    def fired(self, time: float) -> SbmlEvent | None:
        """Return the first event whose trigger has become true."""
        after = self.after(time)
        fired = None
        for label, event in self.clockwork.events.items():
            holds = self.holds(event.trigger, after)
            rises = (holds or self.holds(event.trigger, time)) and not self.truths[label]
            if rises and fired is not None:
                continue  # its turn comes
            self.truths[label] = holds or rises
            fired = event if rises else fired
        return fired
