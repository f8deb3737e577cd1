"""An estimation evaluated by SciPy: its simulations, log-likelihood and priors, step by step and without haste."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from physode.estimation.problem import Entry, Estimation, Experiment, Prior

Vector = NDArray[np.float64]

RTOL, ATOL = 1e-9, 1e-12


def guesses(estimation: Estimation) -> dict[str, float]:
    """Return the unknowns' values where a search would begin."""
    return {unknown.name: unknown.guess for unknown in estimation.unknowns}


def simulations(estimation: Estimation, values: Mapping[str, float]) -> tuple[Vector, Vector]:
    """Return observables and their spreads, (n,) each, at the measurements."""
    simulated, spreads = np.empty(len(estimation.measurements)), np.empty(len(estimation.measurements))
    for index, experiment in enumerate(estimation.experiments):
        rows = np.flatnonzero(estimation.measurements.experiment == index)
        solution = _Solution(estimation, experiment, values)
        for row in sorted(rows, key=lambda row: estimation.measurements.times[row]):
            time = float(estimation.measurements.times[row])
            own = estimation.measurements.own[row] if estimation.measurements.own else ()
            q = _tensor([_value(entry, values) for entry in own])
            observable = estimation.observables[estimation.measurements.observable[row]]
            x, p = solution.at(time)
            arguments = (_tensor([time]), _tensor([x]), _tensor([p]), torch.empty(1, 0), q[None])
            simulated[row] = float(observable.value(*arguments))
            spreads[row] = float(observable.spread(*arguments)) if observable.spread else math.nan
    return simulated, spreads


def log_likelihood(estimation: Estimation, simulated: Vector, spreads: Vector) -> float:
    """Return the logarithm of the measurements' density."""
    return float(sum(
        _density(estimation.observables[observable].distribution, m, y, s)
        for observable, m, y, s in zip(
            estimation.measurements.observable, estimation.measurements.values, simulated, spreads, strict=True
        )
    ))  # fmt: skip


def chi_squared(estimation: Estimation, simulated: Vector, spreads: Vector) -> float:
    """Return the sum of squares of residuals over their spreads, each on its observable's scale."""
    total = 0.0
    for observable, m, y, s in zip(
        estimation.measurements.observable, estimation.measurements.values, simulated, spreads, strict=True
    ):
        scale = _scale(estimation.observables[observable].distribution)
        total += ((scale(m) - scale(y)) / s) ** 2
    return float(total)


def log_prior(estimation: Estimation, values: Mapping[str, float]) -> dict[str, float]:
    """Return the logarithm of each prior's density."""
    densities = {}
    for unknown in estimation.free:
        if unknown.prior is not None:
            scale = {"linear": float, "log": math.log, "log10": math.log10}[unknown.scale]
            low, high, value = unknown.low, unknown.high, values[unknown.name]
            if unknown.prior.scaled:
                low, high, value = (scale(each) if 0 < each < math.inf else each for each in (low, high, value))
            distribution = _distribution(unknown.prior)
            density = distribution.logpdf(value)
            if unknown.prior.truncated:
                density -= math.log(distribution.cdf(high) - distribution.cdf(low))
            densities[unknown.name] = float(density)
    return densities


def _distribution(prior: Prior) -> scipy.stats.rv_frozen:
    stats, numbers = scipy.stats, prior.numbers
    match prior.kind:
        case "uniform":
            return stats.uniform(numbers[0], numbers[1] - numbers[0])
        case "log-uniform":
            return stats.loguniform(*numbers)
        case "log-normal":
            return stats.lognorm(s=numbers[1], scale=math.exp(numbers[0]))
        case "log-laplace":
            return stats.loglaplace(c=1 / numbers[1], scale=math.exp(numbers[0]))
        case "chi-squared":
            return stats.chi2(numbers[0])
        case "gamma":
            return stats.gamma(numbers[0], scale=numbers[1])
        case "exponential":
            return stats.expon(scale=numbers[0])
        case "rayleigh":
            return stats.rayleigh(scale=numbers[0])
        case "normal":
            return stats.norm(*numbers)
        case "laplace":
            return stats.laplace(*numbers)
    assert prior.kind == "cauchy"
    return stats.cauchy(*numbers)


class _Solution:
    """One experiment, solved from time to time in their order."""

    def __init__(self, estimation: Estimation, experiment: Experiment, values: Mapping[str, float]) -> None:
        self.model, self.values = estimation.model, values
        self.p = np.array([_value(entry, values) for entry in self.model.values])
        self.set_constants(experiment.constants)
        self.t = experiment.start
        changes = list(experiment.changes)
        before = self.p.copy()
        steady = bool(changes) and changes[0].time == -math.inf
        if steady:
            self.set_constants(changes.pop(0).constants)
        self.changes = changes
        self.x = self.model.initial(_tensor([self.p]))[0].numpy().copy()
        for state, entry in experiment.initial.items():
            self.x[self.model.states.index(state)] = _value(entry, values)
        self.above = [trigger.initially for trigger in self.model.triggers]
        if steady:
            self.t = 0.0
            self.begin()
            self.settle()
            self.t, self.p = experiment.start, before
        self.begin()

    def at(self, time: float) -> tuple[Vector, Vector]:
        """Return states and constants at a time not before the last one asked for."""
        while self.changes and self.changes[0].time <= time:
            change = self.changes.pop(0)
            self.go(change.time)
            states = {state: self.changed(new) for state, new in change.states.items()}
            self.set_constants(change.constants)
            for state, value in states.items():
                self.x[self.model.states.index(state)] = value
            self.begin()
        if time == math.inf:
            self.settle()
        else:
            self.go(time)
        return self.x.copy(), self.p.copy()

    def set_constants(self, constants: Mapping[str, Entry]) -> None:
        for name, entry in constants.items():
            self.p[self.model.constants.index(name)] = _value(entry, self.values)

    def changed(self, new: Callable[..., torch.Tensor]) -> float:
        return float(new(torch.tensor(self.t, dtype=torch.float64), torch.tensor(self.x), torch.tensor(self.p)))

    def f(self, t: float, x: Vector) -> Vector:
        return self.model.rhs(_tensor([t]), _tensor([x]), _tensor([self.p]), torch.empty(1, 0))[0].numpy()

    def jacobian(self, t: float, x: Vector) -> Vector:
        p, u = _tensor([self.p]), torch.empty(1, 0)
        return torch.func.jacrev(lambda y: self.model.rhs(_tensor([t]), y[None], p, u)[0])(torch.tensor(x)).numpy()

    def conditions(self, t: float, x: Vector) -> list[float]:
        arguments = (_tensor([t]), _tensor([x]), _tensor([self.p]), torch.empty(1, 0))
        return [float(trigger.condition(*arguments)) for trigger in self.model.triggers]

    def begin(self) -> None:
        """Do what conditions ask for that have become true at once."""
        for _ in range(100):
            now = self.conditions(self.t, self.x)
            rising = [index for index, value in enumerate(now) if value >= 0 and not self.above[index]]
            self.above = [value >= 0 for value in now]
            if not rising:
                return
            self.pull(rising[0])
            for index in rising[1:]:
                self.above[index] = False
        raise AssertionError("triggers without end")

    def pull(self, index: int) -> None:
        states = {state: self.changed(new) for state, new in self.model.triggers[index].states.items()}
        for state, value in states.items():
            self.x[self.model.states.index(state)] = value

    def go(self, end: float) -> None:
        """Go on to some time."""
        fired, since = -1, -math.inf
        for _ in range(1000):
            if self.t >= end or not len(self.x):
                self.t = max(self.t, end)
                return
            events = [self.event(index, since if index == fired else -math.inf) for index in range(len(self.above))]
            solved = solve_ivp(
                self.f, (self.t, end), self.x, method="Radau", rtol=RTOL, atol=ATOL, jac=self.jacobian, events=events
            )
            assert solved.status >= 0, solved.message
            self.t, self.x = float(solved.t[-1]), solved.y[:, -1].copy()
            if solved.status == 1:
                fired = next(index for index, times in enumerate(solved.t_events) if len(times))
                since = self.t
                self.above = [value >= 0 for value in self.conditions(self.t, self.x)]
                self.pull(fired)
                self.above[fired] = True
                self.begin()
        raise AssertionError(f"too many events before time {end}")

    def event(self, index: int, since: float) -> Callable[[float, Vector], float]:
        """Return a condition, held above 0 for a moment after the time at which it was found there."""

        def event(t: float, x: Vector) -> float:
            value = self.conditions(t, x)[index]
            return abs(value) + 1e-300 if t <= since + 1e-9 * (1 + abs(since)) else value

        event.terminal, event.direction = True, 1  # type: ignore[attr-defined]
        return event

    def settle(self) -> None:
        """Go on until nothing moves."""
        span = 1.0
        for _ in range(60):
            if not len(self.x) or np.all(np.abs(self.f(self.t, self.x)) <= 1e-12 * (np.abs(self.x) + 1e-3)):
                return
            self.go(self.t + span)
            span *= 2
        raise AssertionError(f"no steady state: {self.f(self.t, self.x)}")


def _value(entry: Entry, values: Mapping[str, float]) -> float:
    if isinstance(entry, float):
        return entry
    if isinstance(entry, str):
        return values[entry]
    return float(entry({name: torch.tensor(values[name], dtype=torch.float64) for name in entry.names}))


def _tensor(values: object) -> torch.Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def _scale(distribution: str) -> Callable[[float], float]:
    return math.log10 if distribution.startswith("log10-") else math.log if distribution.startswith("log-") else float


def _density(distribution: str, m: float, y: float, s: float) -> float:
    scale = _scale(distribution)
    kind = distribution.rpartition("-")[2]
    density = (scipy.stats.norm if kind == "normal" else scipy.stats.laplace).logpdf(scale(m), scale(y), s)
    if scale is not float:
        density -= math.log(m * (math.log(10) if scale is math.log10 else 1.0))
    return float(density)
