r"""An estimation posed: a model, what is unknown in it, how it was treated, and what was measured.

The states of experiment e follow

.. math:: \dot x = f(t, x, p_e, u_e(t)), \qquad x(t_0) = x_0(p_e),

with constants :math:`p_e` that are numbers, unknowns :math:`\theta`, or expressions of them, and inputs
:math:`u_e(t)`. At known times a *change* may give states and constants new values: a dose, a switch. Of it is measured

.. math:: m_i = g_i(t_i, x(t_i), p_e, u_e(t_i), q_i) \oplus \varepsilon_i,
          \qquad \varepsilon_i \sim s_i(t_i, x(t_i), p_e, u_e(t_i), q_i),

each observable g with a spread s and a distribution of its own; :math:`q_i` are numbers or unknowns that belong to one
measurement, such as the scale of a batch. Everything here is a frozen value, whether it was written in Python, in a
model file, or in PEtab's tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Vector = NDArray[np.float64]


class Formula(Protocol):
    """An expression of unknowns, or of anything that has a name."""

    @property
    def names(self) -> frozenset[str]:
        """What it depends on."""

    def __call__(self, values: Mapping[str, Tensor], /) -> Tensor:
        """Return its value, of the shape to which those of its names broadcast."""


Entry = float | str | Formula
"""Where a constant comes from: a number, the name of an unknown, or a formula of unknowns."""

SCALES = ("linear", "log", "log10")
"""On which an unknown is searched for."""

DISTRIBUTIONS = ("normal", "log-normal", "log10-normal", "laplace", "log-laplace", "log10-laplace")
"""Of measurements about the observable: the spread is a standard deviation, of the measurement's logarithm with
``log-`` (natural) and ``log10-``, or Laplace's scale b."""

PRIORS = (
    "uniform", "normal", "laplace", "log-normal", "log-laplace", "log-uniform",
    "cauchy", "chi-squared", "exponential", "gamma", "rayleigh",
)  # fmt: skip
"""Of an unknown, each by the numbers that PEtab version 2 gives them."""


@dataclass(frozen=True)
class Prior:
    """A prior density of an unknown.

    Attributes
    ----------
    kind
        One of `PRIORS`.
    numbers
        Its parameters: lower and upper end; mean and standard deviation (of the logarithm for ``"log-normal"``);
        location and scale; degrees of freedom; scale; shape and scale.
    scaled
        Whether the density is one of the value on the unknown's own scale, in place of the value itself.
    truncated
        Whether it is cut off at the unknown's bounds, and normalised between them.
    """

    kind: str
    numbers: tuple[float, ...]
    scaled: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class Unknown:
    """What is to be estimated, or kept at its value.

    Attributes
    ----------
    name
        Of the constant, such as ``"k"``, or ``"k[3]"`` for one of an experiment or an element.
    guess
        Its value where the search begins, or where it is kept.
    low, high
        Bounds of the value, infinite where there are none.
    scale
        One of `SCALES`.
    free
        Whether it is estimated.
    prior
        Its density before the data.
    unit
        Its unit.
    """

    name: str
    guess: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    scale: str = "linear"
    free: bool = True
    prior: Prior | None = None
    unit: str = ""


Rhs = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""f(t, x, p, u): (R,), (R, D), (R, K), (R, I) to (R, D), row by row."""
Initial = Callable[[Tensor], Tensor]
"""x0(p): (R, K) to (R, D)."""
Measured = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""g(t, x, p, u, q): (n,), (n, D), (n, K), (n, I), (n, Q) to (n,), row by row."""


Condition = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""g(t, x, p, u): (R,), (R, D), (R, K), (R, I) to (R,), row by row."""


@dataclass(frozen=True)
class Trigger:
    """What a model does by itself when a condition on its states, or on times that are unknown, becomes true.

    Attributes
    ----------
    name
        Its label.
    condition
        g, true where it is above 0. What is done is done where it rises through 0, each time.
    states
        New values of states, as in `Change.states`, from values before it, all of them at once. Empty where nothing is
        done but f may jump.
    initially
        Whether the condition counts as true before the experiment begins. Where it does not and g is not below 0 at
        the start, it is done there. It is not done at the start if g was not below 0 at the end of the steady state
        that the experiment begins from; while that is sought, triggers act as well.
    """

    name: str
    condition: Condition
    states: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = field(default_factory=dict)
    initially: bool = True


@dataclass(frozen=True)
class Model:
    """A differential equation with named states, constants and inputs.

    Attributes
    ----------
    states, constants, inputs
        Names, in the order of x, p and u.
    rhs, initial
        f and x0. Rows are independent, and f is written in torch operations that :mod:`torch.func` can map and
        differentiate.
    values
        Of each constant where no experiment says otherwise, (K,): numbers, names of unknowns, or formulas.
    state_units, time_unit
        Units of the states, one each, and of time.
    stiff
        Whether implicit methods are needed; None where that is not known.
    equations
        Lines of text that show it.
    breaks
        Times at which f steps or has a kink, beside those of changes and inputs: formulas of constants.
    triggers
        What it does by itself, in the order in which that is done where several act at once.
    """

    states: tuple[str, ...]
    constants: tuple[str, ...]
    rhs: Rhs
    initial: Initial
    values: tuple[Entry, ...]
    inputs: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()
    time_unit: str = ""
    stiff: bool | None = None
    equations: tuple[str, ...] = ()
    breaks: tuple[Formula, ...] = ()
    triggers: tuple[Trigger, ...] = ()


@dataclass(frozen=True)
class Change:
    """What is done to an experiment at one time, before the solution goes on from there.

    What is measured at that time is measured after it. There is one change at a time, at most; one that changes nothing
    marks a time at which f jumps, or its derivatives.

    Attributes
    ----------
    time
        When; ``-inf`` for what holds while a steady state is sought, before the experiment begins.
    constants
        New values of constants, which hold from here on.
    states
        New values of states, as functions of time, states and constants before the change, all of them at once:
        (t, x, p) with shapes (), (D,), (K,) to ().
    """

    time: float
    constants: Mapping[str, Entry] = field(default_factory=dict)
    states: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """An input of one experiment, known at some times.

    Attributes
    ----------
    times, values
        (m,) each, times strictly rising.
    kind
        ``"step"``: the value holds until the next; ``"linear"``; ``"smooth"``: a monotone cubic (PCHIP).
    """

    times: Vector
    values: Vector
    kind: str = "linear"


@dataclass(frozen=True)
class Calendar:
    """What times are, where they were dates.

    Attributes
    ----------
    origin
        The date of time 0.
    unit
        A unit of time in seconds.
    """

    origin: datetime
    unit: float

    def dates(self, times: Vector) -> NDArray[np.datetime64]:
        """Return the dates of times, of the same shape; without the zone, which is the origin's."""
        micro = np.round(np.asarray(times, dtype=np.float64) * self.unit * 1e6).astype("timedelta64[us]")
        return np.datetime64(self.origin.replace(tzinfo=None), "us") + micro

    @property
    def zone(self) -> str:
        """The name of the origin's zone, or nothing."""
        return self.origin.tzname() or ""


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes
    ----------
    name
        Its label.
    start
        Time of the initial state.
    constants
        Values of constants that are its own.
    initial
        Initial values of states that are its own, in place of the model's: numbers, unknowns, or formulas of unknowns.
    changes
        In the order of time. A first one at ``-inf`` asks for a steady state, reached with its constants from the
        initial state of these constants, to begin from; the experiment's constants apply again at `start`.
    inputs
        By name.
    calendar
        Of its times, where these are dates.
    """

    name: str
    start: float = 0.0
    constants: Mapping[str, Entry] = field(default_factory=dict)
    initial: Mapping[str, Entry] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    inputs: Mapping[str, Input] = field(default_factory=dict)
    calendar: Calendar | None = None


@dataclass(frozen=True)
class Observable:
    """What is measured, and how well.

    Attributes
    ----------
    name
        Its label.
    value
        g.
    spread
        s, above 0, of the same arguments; None where it is constant and unknown, and left out of what is searched for:
        its best value given the rest.
    distribution
        One of `DISTRIBUTIONS`.
    unit
        Of g.
    text
        The formula, to be shown.
    """

    name: str
    value: Measured
    spread: Measured | None = None
    distribution: str = "normal"
    unit: str = ""
    text: str = ""


@dataclass(frozen=True)
class Measurements:
    """What was measured, one value a row.

    Attributes
    ----------
    experiment, observable
        Indices, (n,).
    times
        (n,), ``inf`` for a steady state.
    values
        (n,), finite.
    own
        q: for each row as many numbers, names of unknowns or formulas as the observables have at most, or none at all.
    """

    experiment: NDArray[np.int64]
    observable: NDArray[np.int64]
    times: Vector
    values: Vector
    own: tuple[tuple[Entry, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Estimation:
    """All that an estimate follows from."""

    model: Model
    unknowns: tuple[Unknown, ...]
    experiments: tuple[Experiment, ...]
    observables: tuple[Observable, ...]
    measurements: Measurements

    @property
    def free(self) -> tuple[Unknown, ...]:
        """The unknowns that are estimated."""
        return tuple(unknown for unknown in self.unknowns if unknown.free)
