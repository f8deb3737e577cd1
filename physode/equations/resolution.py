"""What constants and initial values are in each experiment: numbers, unknowns, or formulas of unknowns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from physode.datasets.files import shown
from physode.equations.columns import Recording
from physode.equations.declarations import Constant, Declarations, Guess, State
from physode.equations.observing import scale_of
from physode.equations.toml_tables import near
from physode.equations.tree import Expression, Name, Number, name, number
from physode.errors import ConfigError
from physode.estimation.problem import Entry, Unknown

__all__ = ["Resolution", "entry_of", "label_of"]


def label_of(quantity: str, experiment: str | None) -> str:
    """Return the name of an unknown: of one experiment, ``k[A]``."""
    return quantity if experiment is None else f"{quantity}[{experiment}]"


def entry_of(expression: Expression) -> Entry:
    """Return a number, the name of an unknown, or a formula, whichever an expression is."""
    match expression:
        case Number(value):
            return value
        case Name(text):
            return text
        case _:
            return expression


@dataclass
class Resolution:
    """Unknowns as they come up, and what depends on them.

    Attributes
    ----------
    declarations
        The model file's.
    where
        Its name, for errors.
    alone
        Whether there is one experiment only: its own unknowns need no label.
    unknowns
        By name.
    """

    declarations: Declarations
    where: str
    alone: bool
    unknowns: dict[str, Unknown] = field(default_factory=dict)

    def constants(self, recording: Recording) -> dict[str, Expression]:
        """Return each constant in an experiment, as an expression of unknowns.

        Raises
        ------
        ConfigError
            If constants depend on one another in a circle, or the column of one is not there, or not constant.
        """
        treatment = self.declarations.treatments.get(recording.name)
        own = {} if treatment is None else treatment.constants
        resolved: dict[str, Expression] = {}
        pending: dict[str, Expression] = {}
        for constant in self.declarations.constants:
            source = own.get(constant.name)
            if isinstance(source, Guess):
                resolved[constant.name] = self._unknown(constant.name, recording.name, source, constant.unit)
            elif source is None:
                resolved[constant.name] = self._shared(constant, recording)
            else:
                pending[constant.name] = source
        for label, source in pending.items():
            others = {each for each in source.names if each in pending}
            if label in others:  # k = "2*k" means two of what is shared
                constant = next(each for each in self.declarations.constants if each.name == label)
                resolved[label] = source.substitute({**resolved, label: self._shared(constant, recording)})
        while missing := [each for each in pending if each not in resolved]:
            ready = [each for each in missing if pending[each].names <= resolved.keys()]
            if not ready:
                where = f"{self.where}, [experiments.{shown(recording.name)}] constants"
                raise ConfigError(f"{where}: {', '.join(missing)} depend on one another in a circle")
            for each in ready:
                resolved[each] = pending[each].substitute(resolved)
        return resolved

    def start(self, state: State, recording: Recording, constants: Mapping[str, Expression], seen: float) -> Entry:
        """Return a state's initial value; `seen` is what the data show of it."""
        treatment = self.declarations.treatments.get(recording.name)
        own = None if treatment is None else treatment.start.get(state.name)
        source = state.start if own is None else own
        if isinstance(source, Guess):
            label = None if self.alone or (own is None and not state.own) else recording.name
            return entry_of(self._unknown(f"{state.name}(0)", label, source, state.unit, seen))
        return source if isinstance(source, float) else entry_of(source.substitute(constants))

    def spread(self, observable: str) -> str:
        """Return the name of the unknown share of a proportional noise."""
        label = f"sigma({observable})"
        self.unknowns.setdefault(label, Unknown(label, 0.1, 1e-8, 1e8, "log"))
        return label

    def _unknown(
        self, quantity: str, experiment: str | None, source: Guess, unit: str | None, value: float = 1.0
    ) -> Expression:
        label = label_of(quantity, None if self.alone else experiment)
        self.unknowns.setdefault(label, source.unknown(label, unit, value))
        return name(label)

    def _shared(self, constant: Constant, recording: Recording) -> Expression:
        source = constant.source
        if isinstance(source, float):
            return number(source)
        if isinstance(source, str):
            return number(self._column(constant, source, recording))
        return self._unknown(constant.name, recording.name if constant.own else None, source, constant.unit)

    def _column(self, constant: Constant, column: str, recording: Recording) -> float:
        where = f"{self.where}, [constants.{constant.name}] column"
        if column not in recording.columns:
            raise ConfigError(
                f"{where}: the experiment {shown(recording.name)!r} has no column {shown(column)}; "
                f"{near(column, list(recording.columns))}"
            )
        values = np.unique(recording.columns[column].present().values)
        if len(values) != 1:
            what = "no value" if not len(values) else f"several values, such as {values[0]:g} and {values[1]:g}"
            raise ConfigError(f"{where}: {shown(column)} has {what} in the experiment {shown(recording.name)!r}")
        return float(values[0]) * scale_of(recording.columns[column], constant.unit, f"column {shown(column)}")
