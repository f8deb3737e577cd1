"""What a model file declares, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from physode.equations.tree import Expression
from physode.estimation.problem import Prior, Unknown

__all__ = ["ChangeText", "Constant", "Declarations", "Guess", "InputColumn", "ObservableText", "State", "Treatment"]


@dataclass(frozen=True)
class Guess:
    """A number that is to be estimated, or kept.

    Attributes
    ----------
    value
        Where the search begins; None where the data say that.
    low, high
        Bounds.
    log
        Whether its logarithm is searched for.
    free
        Whether it is estimated.
    prior
        What is known of it before.
    """

    value: float | None = None
    low: float = -math.inf
    high: float = math.inf
    log: bool = False
    free: bool = True
    prior: Prior | None = None

    def unknown(self, name: str, unit: str | None, value: float = 1.0) -> Unknown:
        """Return it under a name; `value` stands for what only the data say."""
        if self.log and value <= 0:
            value = 1.0
        value = self.value if self.value is not None else min(max(value, self.low), self.high)
        scale = "log" if self.log else "linear"
        return Unknown(name, value, self.low, self.high, scale, self.free, self.prior, unit or "")


@dataclass(frozen=True)
class Constant:
    """A constant.

    Attributes
    ----------
    name
        Its name.
    source
        Its number; what is known of it, where it is unknown; or the column whose value in an experiment it is.
    own
        Whether every experiment has an unknown of its own.
    unit
        Its unit, None where none is declared.
    """

    name: str
    source: float | Guess | str
    own: bool = False
    unit: str | None = None


@dataclass(frozen=True)
class State:
    """A state.

    Attributes
    ----------
    name
        Its name; ``x'`` for the derivative of x, where an equation is of second order.
    rate
        Its derivative with time.
    start
        Its initial value: a number, a formula of constants, or what is known of it, where it is unknown.
    own
        Whether the unknown initial value is another one in every experiment.
    unit
        Its unit, None where none is declared.
    """

    name: str
    rate: Expression
    start: float | Expression | Guess
    own: bool = True
    unit: str | None = None


@dataclass(frozen=True)
class InputColumn:
    """An input: a column of the data, or of a file of its own, and what it is between its samples."""

    name: str
    column: str
    file: Path | None = None
    kind: str = "linear"
    unit: str | None = None


@dataclass(frozen=True)
class ObservableText:
    """What a column measures, and how well.

    Attributes
    ----------
    name, column
        Its name, and the column's, or in long tables the label's.
    formula, text
        g, and as it was written.
    proportional
        Whether `sigma` is that of g = 1.
    sigma
        The spread; None where it is unknown.
    sigma_column
        The column that holds it; None for ``<column>_sigma``, where that is there and `sigma` is not.
    distribution
        One of :data:`physode.estimation.problem.DISTRIBUTIONS`.
    unit
        Its unit, None where none is declared.
    """

    name: str
    column: str
    formula: Expression
    text: str
    proportional: bool = False
    sigma: Expression | None = None
    sigma_column: str | None = None
    distribution: str = "normal"
    unit: str | None = None


@dataclass(frozen=True)
class ChangeText:
    """What is done to an experiment at some times: new values of states and constants, all at once."""

    times: tuple[float, ...]
    states: Mapping[str, Expression] = field(default_factory=dict)
    constants: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True)
class Treatment:
    """What is an experiment's own: when it begins, initial values, constants, and what is done to it."""

    name: str
    begin: float | None = None
    start: Mapping[str, Expression | Guess] = field(default_factory=dict)
    constants: Mapping[str, Expression | Guess] = field(default_factory=dict)
    changes: tuple[ChangeText, ...] = ()


@dataclass(frozen=True)
class Declarations:
    """All that a model file says.

    Attributes
    ----------
    name, time_unit, stiff
        Of the model.
    begin
        Time of initial states; None for the first one of an experiment's data.
    time_column, experiment_column
        Columns of the data; None for the first that has a usual name.
    states, constants, inputs, observables
        In the file's order; without observables, every state is observed that is a column.
    treatments
        By the label of the experiment.
    changes
        What is done to all experiments.
    equations
        Lines that show the equations as they were written.
    """

    name: str
    states: tuple[State, ...]
    constants: tuple[Constant, ...] = ()
    inputs: tuple[InputColumn, ...] = ()
    observables: tuple[ObservableText, ...] = ()
    treatments: Mapping[str, Treatment] = field(default_factory=dict)
    changes: tuple[ChangeText, ...] = ()
    time_unit: str | None = None
    begin: float | None = None
    stiff: bool | None = None
    time_column: str | None = None
    experiment_column: str | None = None
    equations: tuple[str, ...] = ()
