"""Whether what a model file declares fits together: dimensions, and that nothing is declared in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from physode.datasets.files import shown
from physode.equations.declarations import ChangeText, Constant, Declarations, Guess, InputColumn, State
from physode.equations.dimensions import Misfit, check, quantity_of
from physode.equations.scope import TIME
from physode.equations.toml_tables import Section
from physode.equations.tree import Expression, Number, dependencies
from physode.equations.units import DIMENSIONLESS, Unit, unit_of
from physode.errors import ConfigError

__all__ = ["check_dimensions", "check_use", "expressions_of"]


def expressions_of(declarations: Declarations) -> Iterator[Expression]:
    """Yield every expression of a model."""
    for state in declarations.states:
        yield state.rate
        if isinstance(state.start, Expression):
            yield state.start
    for observable in declarations.observables:
        yield observable.formula
        if observable.sigma is not None:
            yield observable.sigma
    for treatment in declarations.treatments.values():
        for values in (treatment.start, treatment.constants):
            yield from (each for each in values.values() if isinstance(each, Expression))
    for change in _changes(declarations):
        yield from (*change.states.values(), *change.constants.values())


def check_use(declarations: Declarations, section: Section) -> None:
    """Raise `ConfigError` if nothing depends on a constant or an input."""
    used = frozenset[str]().union(*map(dependencies, expressions_of(declarations)))
    for kind, labels in (
        ("constants", [each.name for each in declarations.constants]),
        ("inputs", [each.name for each in declarations.inputs]),
    ):
        for label in labels:
            if label not in used:
                raise section.table(kind).refusal("nothing depends on it; remove it, or put it into an equation", label)


def check_dimensions(declarations: Declarations, section: Section) -> None:
    """Raise `ConfigError` where the dimensions of equations, initial values, observables or changes do not fit.

    What has no declared unit may have any.
    """
    units = _units(declarations)
    time = units.get(TIME)
    for state in declarations.states:
        own = units.get(state.name)
        rate = own / time if own is not None and time is not None else None
        _check(state.rate, units, rate, f"{state.name}'", section.where("equations"))
        if isinstance(state.start, Expression):
            _check(state.start, units, own, state.name, section.table("states").where(state.name))
    for observable in declarations.observables:
        where = section.table("observables").where(observable.name)
        expected = None if observable.unit is None else unit_of(observable.unit)
        _check(observable.formula, units, expected, observable.name, where)
        if observable.sigma is not None:
            if observable.proportional or observable.distribution.startswith("log"):
                expected = DIMENSIONLESS
            _check(observable.sigma, units, None, "its sigma", where)
            if not _is_root_of_counts(observable.sigma, units, expected):
                _check(observable.sigma, units, expected, "its sigma", where)
    for label, treatment in declarations.treatments.items():
        where = section.table("experiments").where(label)
        for values in (treatment.start, treatment.constants):
            _check_values(values, units, where)
    for change in _changes(declarations):
        for given in (change.states, change.constants):
            _check_values(given, units, section.where("changes"))


def _is_root_of_counts(sigma: Expression, units: Mapping[str, Unit], expected: Unit | None) -> bool:
    """Whether a spread is the square root of what is measured, as that of counts is: people, cells, pelts."""
    unit = quantity_of(sigma, units).unit
    return unit is not None and expected is not None and expected.is_count and (unit**2).powers == expected.powers


def _changes(declarations: Declarations) -> Iterator[ChangeText]:
    yield from declarations.changes
    for treatment in declarations.treatments.values():
        yield from treatment.changes


def _check_values(values: Mapping[str, Expression | Guess], units: Mapping[str, Unit], where: str) -> None:
    for label, value in values.items():
        if isinstance(value, Expression):
            _check(value, units, units.get(label), label, where)


def _check(expression: Expression, units: Mapping[str, Unit], expected: Unit | None, what: str, where: str) -> None:
    if isinstance(expression, Number):
        return
    try:
        if expected is None:
            quantity_of(expression, units)
        else:
            check(expression, units, expected, what=what)
    except Misfit as misfit:
        raise ConfigError(
            f"{where}: the dimensions of {what} = {shown(str(expression))} do not fit: {misfit}"
        ) from None


def _units(declarations: Declarations) -> dict[str, Unit]:
    """Return the units of names, as far as they are declared; that of x' follows from that of x."""
    units: dict[str, Unit] = {}
    if declarations.time_unit is not None:
        units[TIME] = unit_of(declarations.time_unit)
    declared: list[Constant | InputColumn | State] = [
        *declarations.constants,
        *declarations.inputs,
        *declarations.states,
    ]
    for each in declared:
        if each.unit is not None:
            units[each.name] = unit_of(each.unit)
    for state in declarations.states:
        base = state.name.removesuffix("'")
        if state.name not in units and base != state.name and base in units and TIME in units:
            units[state.name] = units[base] / units[TIME]
    return units
