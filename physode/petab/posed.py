"""What PEtab's tables say, of either version: parameters, observables, experiments as periods, and measurements."""

from __future__ import annotations

from dataclasses import dataclass

from physode.equations.expression import Expression
from physode.estimation.problem import Unknown


@dataclass(frozen=True)
class Period:
    """A part of an experiment.

    Attributes
    ----------
    time
        When it begins; ``-inf`` for a steady state.
    values
        New values of symbols at its beginning.
    """

    time: float
    values: dict[str, Expression]


@dataclass(frozen=True)
class Course:
    """An experiment: periods in the order of time, one of them at least."""

    name: str
    periods: tuple[Period, ...]

    @property
    def steady(self) -> bool:
        """Whether it begins from a steady state."""
        return self.periods[0].time == -float("inf")

    @property
    def start(self) -> float:
        """When what is measured can begin."""
        later = self.periods[self.steady :]
        return later[0].time if later else 0.0


@dataclass(frozen=True)
class ObservableFormula:
    """An observable: its formula, that of its spread, and what both call the numbers of one measurement."""

    name: str
    value: Expression
    spread: Expression
    distribution: str
    placeholders: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Row:
    """A measurement: indices of its course and observable, and what stands for the placeholders."""

    course: int
    observable: int
    time: float
    value: float
    own: tuple[Expression, ...]


@dataclass(frozen=True)
class Tables:
    """All tables of a problem.

    Attributes
    ----------
    afresh
        Whether constants take their values anew when a period begins (version 1), in place of those that they had
        (version 2).
    events_in_steady_states
        Whether the model's events act while a steady state is sought (version 2).
    """

    unknowns: tuple[Unknown, ...]
    courses: tuple[Course, ...]
    observables: tuple[ObservableFormula, ...]
    rows: tuple[Row, ...]
    afresh: bool
    events_in_steady_states: bool
