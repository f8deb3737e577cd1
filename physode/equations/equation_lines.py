"""Equations as lines of text: what stands on the left of each, and first-order systems made of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from physode.datasets.files import shown
from physode.equations.scope import Scope
from physode.equations.toml_tables import Section
from physode.equations.tree import Expression, name

__all__ = ["EquationText", "Equations", "read_equations"]

_HIGHEST = 10
_LEFT = re.compile(
    r"\s*(?:d\s*(?P<leibniz>[^\W\d]\w*)\s*/\s*dt|(?P<name>[^\W\d]\w*)\s*(?P<primes>'*))\s*=(?!=)\s*(?P<right>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class EquationText:
    """One equation as it was written.

    Attributes
    ----------
    name
        What is on its left, without ``'``.
    order
        Of the derivative on its left; 0 for a definition.
    right
        What is on its right.
    section, key
        Where it was written.
    """

    name: str
    order: int
    right: str
    section: Section
    key: str

    @property
    def text(self) -> str:
        """The equation on one line."""
        return f"{self.name}{self.order * chr(39)} = {' '.join(self.right.split())}"


@dataclass
class Equations:
    """Equations collected from a file.

    Attributes
    ----------
    derivatives
        By what they are a derivative of, in the file's order.
    definitions
        By name.
    """

    derivatives: dict[str, EquationText] = field(default_factory=dict)
    definitions: dict[str, EquationText] = field(default_factory=dict)

    @property
    def states(self) -> list[str]:
        """The names of all states: of an equation of second order, x and x'."""
        return [each.name + i * "'" for each in self.derivatives.values() for i in range(each.order)]

    def add(self, equation: EquationText) -> None:
        """Add an equation, unless there is one for what it is of."""
        for kind in (self.derivatives, self.definitions):
            if equation.name in kind:
                raise equation.section.refusal(
                    f"{equation.name} has two equations, {shown(kind[equation.name].text)!r} and "
                    f"{shown(equation.text)!r}; remove one",
                    equation.key,
                )
        (self.derivatives if equation.order else self.definitions)[equation.name] = equation

    def define(self, scope: Scope) -> None:
        """Put the definitions into a scope, which has all other names already."""
        scope.define({each.name: (each.right, each.section, each.key) for each in self.definitions.values()})

    def rates(self, scope: Scope) -> dict[str, Expression]:
        """Return the derivative of each state."""
        rates: dict[str, Expression] = {}
        for each in self.derivatives.values():
            for i in range(1, each.order):
                rates[each.name + (i - 1) * "'"] = name(each.name + i * "'")
            rates[each.name + (each.order - 1) * "'"] = scope.read(each.right, each.section, f"{each.key}")
        return rates


def read_equations(section: Section, key: str, *, state: str | None = None) -> list[EquationText]:
    """Read one equation a line, or one an element of a list; a line that has no left side goes on with the one before.

    Parameters
    ----------
    section, key
        Where they are.
    state
        The state that they are of: there may be one equation only, and its left side may be left out.

    Raises
    ------
    ConfigError
        If there is something else.
    """
    value = section.take(key)
    if value is None:
        return []
    if isinstance(value, str):
        lines = [line.split("#")[0] for line in value.splitlines()] if state is None else [value]
    elif state is None and isinstance(value, list) and all(isinstance(line, str) for line in value):
        lines = value
    else:
        raise section.refusal('must be text, such as "x\' = -k*x"', key)
    if state is not None:
        return [_of_state(lines[0], section, key, state)]
    return [_equation(text, section, key) for text in _joined([line for line in lines if line.strip()])]


def _joined(lines: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for line in lines:
        if joined and not _LEFT.fullmatch(line):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined


def _equation(text: str, section: Section, key: str) -> EquationText:
    match = _LEFT.fullmatch(text)
    if match is None:
        raise section.refusal(f"{shown(text.strip())!r} is no equation; write x' = ... or, to define a, a = ...", key)
    order = 1 if match["leibniz"] else len(match["primes"])
    if order > _HIGHEST:
        raise section.refusal(f"{shown(text.strip())!r} is of order {order}; the highest is {_HIGHEST}", key)
    label = unicodedata.normalize("NFKC", match["leibniz"] or match["name"])
    return EquationText(label, order, match["right"], section, key)


def _of_state(text: str, section: Section, key: str, state: str) -> EquationText:
    if _LEFT.fullmatch(text) is None:
        return EquationText(state, 1, text, section, key)
    equation = _equation(text, section, key)
    if equation.name != state or not equation.order:
        raise section.refusal(f"{shown(text)!r} is no equation of {state}; write {state}' = ...", key)
    return equation
