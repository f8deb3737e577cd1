"""What an SBML model says: compartments, species, parameters, rules, reactions and events."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from physode.equations.expression import Expression
from physode.petab.from_sympy import TIME


@dataclass(frozen=True)
class Compartment:
    """A compartment: its size, None where the file has none, and whether it is a point, without one."""

    size: float | None
    point: bool = False


@dataclass(frozen=True)
class Species:
    """A chemical species.

    Attributes
    ----------
    compartment
        Where it is.
    amount
        Whether its symbol stands for an amount, in place of a concentration.
    initial, initial_amount
        Its initial value, None where the file has none; and whether that is an amount.
    reacts
        Whether reactions change it.
    conversion
        The parameter that its changes by reactions are multiplied by, ``""`` where there is none.
    """

    compartment: str
    amount: bool
    initial: float | None
    initial_amount: bool
    reacts: bool
    conversion: str = ""


@dataclass(frozen=True)
class Reaction:
    """A reaction: its rate, in amounts per time, and how many of each species it makes (uses, below 0)."""

    rate: Expression
    stoichiometry: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True)
class SbmlEvent:
    """An event: it assigns values, all at once, when its trigger becomes true.

    Attributes
    ----------
    trigger
        The condition.
    initially
        Whether that counts as true before the beginning.
    assignments
        New values by the symbols that get them.
    priority
        Of several events at once the highest comes first.
    """

    trigger: Expression
    initially: bool
    assignments: dict[str, Expression]
    priority: float = -math.inf


@dataclass(frozen=True)
class SbmlModel:
    """What a file says, by the identifiers of SBML; local parameters are called ``reaction.parameter``.

    Attributes
    ----------
    parameters
        Values, None where the file has none.
    assigned, rates
        Right-hand sides of assignment rules, with reactions' rates by their identifiers; and of rate rules.
    initial
        Of initial assignments.
    """

    name: str
    compartments: dict[str, Compartment]
    species: dict[str, Species]
    parameters: dict[str, float | None]
    assigned: dict[str, Expression]
    rates: dict[str, Expression]
    initial: dict[str, Expression]
    reactions: dict[str, Reaction]
    events: dict[str, SbmlEvent]

    @property
    def symbols(self) -> frozenset[str]:
        """What expressions may depend on."""
        return frozenset({*self.compartments, *self.species, *self.parameters, *self.assigned, TIME})

    def expressions(self) -> Iterator[tuple[str, Expression]]:
        """Yield all expressions, each with what it is, for errors."""
        for kind, rules in (("assignment of", self.assigned), ("rate rule of", self.rates)):
            yield from ((f"the {kind} {symbol}", rule) for symbol, rule in rules.items())
        yield from ((f"the initial assignment of {symbol}", rule) for symbol, rule in self.initial.items())
        for label, reaction in self.reactions.items():
            yield from (
                (f"the reaction {label}", each) for each in (reaction.rate, *dict(reaction.stoichiometry).values())
            )
        for label, event in self.events.items():
            yield from ((f"the event {label}", each) for each in (event.trigger, *event.assignments.values()))
