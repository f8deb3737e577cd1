r"""The differential equation behind an SBML model: what moves, what is constant, what follows from both.

Species that are concentrations obey

.. math:: \frac{d[S]}{dt} = \frac1V\sum_j n_{Sj} v_j - \frac{[S]}{V}\frac{dV}{dt},

with stoichiometries n and reaction rates v in amounts per time; those that are amounts obey the sum alone.
Concentrations in a compartment whose size is given by an assignment rule are kept as amounts, from which they follow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from physode.equations.expression import Expression, Number, apply, name, number
from physode.errors import DataError
from physode.petab.from_sympy import TIME
from physode.petab.sbml_model import SbmlModel, Species

Term = tuple[float, Expression]
"""A coefficient and what it multiplies."""


@dataclass(frozen=True)
class Kinetics:
    """A differential equation whose right-hand side is a sum of terms for each state.

    Attributes
    ----------
    states
        Symbols that have a time derivative, as SBML calls them, or ``symbol.amount``.
    constants
        Symbols that hold their value, save where something is done to them.
    derivatives
        Terms of each state's derivative, in states, constants and time.
    definitions
        What follows from these: targets of assignment rules, reaction rates, sizes that never change.
    """

    states: tuple[str, ...]
    constants: tuple[str, ...]
    derivatives: tuple[tuple[Term, ...], ...]
    definitions: dict[str, Expression]

    def resolved(self, expression: Expression) -> Expression:
        """Return an expression in states, constants and time alone (and in what the model does not know)."""
        return expression.substitute(self.definitions)

    def equations(self) -> tuple[str, ...]:
        """Return lines of text, one a state."""
        lines = []
        for state, terms in zip(self.states, self.derivatives, strict=True):
            signed = [
                apply("neg", rate) if factor == -1 else apply("*", number(factor), rate) for factor, rate in terms
            ]
            lines.append(f"{state}' = {apply('+', *signed) if signed else number(0.0)}")
        return tuple(lines)


def kinetics(model: SbmlModel, *, changed: Collection[str] = (), moving: Collection[str] = ()) -> Kinetics:
    """Return the differential equation of a model.

    Parameters
    ----------
    model
        The model.
    changed
        Symbols that something outside of it gives other values: their sizes are no fixed numbers.
    moving
        Those of them that get values only the solution knows, and so are states, although nothing moves them between.

    Raises
    ------
    DataError
        If rules depend on one another in a circle.
    """
    touched = {*changed, *moving, *model.assigned, *model.rates, *model.initial}
    touched.update(*(event.assignments for event in model.events.values()))
    definitions: dict[str, Expression] = {
        label: number(1.0 if each.size is None else each.size)
        for label, each in model.compartments.items()
        if label not in touched
    }
    definitions.update(model.assigned)
    reacting = {one for reaction in model.reactions.values() for one, _ in reaction.stoichiometry}
    states, constants = [], []
    for symbol in (*model.species, *model.compartments, *model.parameters):
        species = model.species.get(symbol)
        if symbol in definitions:
            continue
        if symbol in model.rates or symbol in moving or (species and species.reacts and symbol in reacting):
            states.append(symbol)
        else:
            constants.append(symbol)
    for symbol in states:
        if by_amount(model, symbol):
            definitions[symbol] = apply("/", name(amount_of(symbol)), name(model.species[symbol].compartment))
    definitions = closed(definitions)
    derivatives = tuple(
        tuple((factor, rate.substitute(definitions)) for factor, rate in _derivative(model, symbol, definitions))
        for symbol in states
    )
    names = tuple(amount_of(each) if by_amount(model, each) else each for each in states)
    return Kinetics(names, tuple(constants), derivatives, definitions)


def amount_of(symbol: str) -> str:
    """Return what the amount of a species is called where its symbol stands for its concentration."""
    return f"{symbol}.amount"


def by_amount(model: SbmlModel, symbol: str) -> bool:
    """Return whether the amount of a species is its state, although its symbol stands for a concentration."""
    species = model.species.get(symbol)
    return (
        species is not None
        and not species.amount
        and species.reacts
        and symbol not in model.rates
        and species.compartment in model.assigned
    )


def closed(definitions: Mapping[str, Expression]) -> dict[str, Expression]:
    """Return definitions that depend on what is not defined alone.

    Raises
    ------
    DataError
        If some depend on one another in a circle.
    """
    done: dict[str, Expression] = {}
    for first in definitions:
        path = [first]
        while path:
            symbol = path[-1]
            if symbol in done:
                path.pop()
                continue
            open_ones = sorted(each for each in definitions[symbol].names if each in definitions and each not in done)
            if not open_ones:
                done[symbol] = definitions[symbol].substitute(
                    {each: done[each] for each in definitions[symbol].names if each in done}
                )
                path.pop()
            elif open_ones[0] in path:
                circle = path[path.index(open_ones[0]) :]
                raise DataError(f"the values of {', '.join(circle)} depend on one another in a circle")
            else:
                path.append(open_ones[0])
    return done


def _derivative(model: SbmlModel, symbol: str, definitions: Mapping[str, Expression]) -> list[Term]:
    if symbol in model.rates:
        return [(1.0, model.rates[symbol])]
    species = model.species.get(symbol)
    if species is None or not species.reacts:
        return []
    terms = []
    for reaction in model.reactions.values():
        for one, factor in reaction.stoichiometry:
            if one == symbol:
                terms.append(_term(factor, reaction.rate, species))
    if species.amount or by_amount(model, symbol):
        return _collected(terms)
    size = definitions.get(species.compartment, name(species.compartment))
    if isinstance(size, Number):
        return _collected([(factor / size.value, rate) for factor, rate in terms])
    terms = [(factor, apply("/", rate, size)) for factor, rate in terms]
    if species.compartment in model.rates:
        growth = apply("/", model.rates[species.compartment], size)
        terms.append((-1.0, apply("*", name(symbol), growth)))
    return _collected(terms)


def _term(factor: Expression, rate: Expression, species: Species) -> Term:
    if species.conversion:
        rate = apply("*", name(species.conversion), rate)
    if isinstance(factor, Number):
        return factor.value, rate
    return 1.0, apply("*", factor, rate)


def _collected(terms: list[Term]) -> list[Term]:
    """Return terms with the coefficients of equal ones added, without those that are 0."""
    sums: dict[Expression, float] = {}
    for factor, rate in terms:
        sums[rate] = sums.get(rate, 0.0) + factor
    return [(factor, rate) for rate, factor in sums.items() if factor and rate != number(0.0)]


def start_definitions(
    model: SbmlModel, *, given: Collection[str], overrides: Mapping[str, Expression], time: float
) -> dict[str, Expression]:
    """Return what each symbol is at the beginning, in terms of others and of what is given.

    Parameters
    ----------
    model
        The model.
    given
        Symbols whose values come from outside, and stand for themselves.
    overrides
        Values in place of the model's, also of symbols that it does not have.
    time
        When it begins.

    Raises
    ------
    DataError
        If there is a circle, or a symbol without a value that another depends on.
    """
    definitions: dict[str, Expression] = {TIME: number(time)}
    for symbol, parameter in model.parameters.items():
        if parameter is not None:
            definitions[symbol] = number(parameter)
    for symbol, compartment in model.compartments.items():
        definitions[symbol] = number(1.0 if compartment.size is None else compartment.size)
    for symbol, species in model.species.items():
        if species.initial is not None:
            definitions[symbol] = _initial_of(species)
    definitions.update(model.initial)
    definitions.update(model.assigned)
    definitions.update(overrides)
    for symbol in given:
        definitions.pop(symbol, None)
    for symbol, species in model.species.items():
        if by_amount(model, symbol):
            definitions[amount_of(symbol)] = apply("*", name(symbol), name(species.compartment))
    return closed(definitions)


def _initial_of(species: Species) -> Expression:
    """Return a species' initial value as its symbol means it: an amount or a concentration."""
    value = number(species.initial if species.initial is not None else float("nan"))
    if species.initial_amount == species.amount:
        return value
    size = name(species.compartment)
    return apply("/", value, size) if species.initial_amount else apply("*", value, size)
