"""Anybody's right-hand side, a function or a module, as the model of an estimation."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physode.errors import ConfigError, DataError
from physode.estimation.observed import Observed, Series
from physode.estimation.problem import (
    Entry,
    Estimation,
    Experiment,
    Measured,
    Measurements,
    Model,
    Observable,
    Prior,
    Unknown,
)  # fmt: skip

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Named:
    """Constants of any shapes in one row of numbers.

    Attributes
    ----------
    shapes
        By name.
    elements
        Names of all elements: ``"k"``, ``"masses[2]"``, counted from 1.
    values
        Where the search begins.
    """

    shapes: Mapping[str, tuple[int, ...]]
    elements: tuple[str, ...]
    values: tuple[float, ...]

    @staticmethod
    def of(constants: Numbers) -> Named:
        """Lay constants out; scalars or arrays."""
        shapes: dict[str, tuple[int, ...]] = {}
        elements: list[str] = []
        values: list[float] = []
        for name, given in constants.items():
            try:
                tensor = torch.as_tensor(given, dtype=torch.float64).detach()
            except (TypeError, ValueError, RuntimeError):
                raise ConfigError(
                    f"the constant {name!r} must be a number or an array of numbers, got {given!r}"
                ) from None
            if not bool(torch.isfinite(tensor).all()):
                raise ConfigError(f"the constant {name!r} must be finite, got {given!r}")
            shapes[name] = tuple(tensor.shape)
            elements += [name if not tensor.ndim else f"{name}[{i + 1}]" for i in range(tensor.numel())]
            values += tensor.reshape(-1).tolist()
        return Named(shapes, tuple(elements), tuple(values))

    def take(self, row: Tensor) -> dict[str, Tensor]:
        """Return the constants by name, of a row that begins with them."""
        found, at = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            found[name] = row[at : at + size].reshape(shape)
            at += size
        return found


def estimation_of(
    f: Callable[..., Any],
    data: Observed,
    *,
    constants: Numbers | None,
    start: Any,
    observe: Callable[..., Any] | Sequence[str] | None,
    states: Sequence[str] | None,
    sigma: float | Mapping[str, float] | None,
    wishes: Wishes,
    stiff: bool | None,
) -> Estimation:
    """Make an estimation of a right-hand side and data; the arguments are those of :func:`physode.fit`."""
    named = Named.of(_constants_of(f) if constants is None else constants)
    if not named.elements:
        raise ConfigError(
            "`f` has no constants to fit: give `constants`, such as constants={'k': 1.0}, or a module with parameters"
        )
    names = _state_names(data, states, observe, start)
    starts = _Starts.of(start, names, data, observe)
    unknowns, values, experiments = _unknowns(named, starts, data, wishes)
    call = _bound(f, named, module=constants is None)
    model = Model(
        states=names,
        constants=(*named.elements, *(f"{name}(0)" for name in names)),
        rhs=_rows(call),
        initial=lambda p: p[:, len(named.elements) :],
        values=values,
        stiff=stiff,
    )
    _check_once(model, data.series[0].t[0], starts.guesses[0], named)
    observables = _observables(data, names, observe, named, sigma)
    return Estimation(model, unknowns, experiments, observables, _measurements(data))


def _check_once(model: Model, t: float, x: Sequence[float], named: Named) -> None:
    """Call the right-hand side once, where the first experiment begins: what is wrong with it is said at once."""
    time, state, row = (torch.tensor([own], dtype=torch.float64) for own in (t, x, (*named.values, *x)))
    try:
        value = model.rhs(time, state, row, state[:, :0])
    except Exception as error:
        why = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"`f` fails where the data begin: {type(error).__name__}: {why}; write it in torch, as f(t, x, ...) with "
            f"x of shape ({len(x)},): {', '.join(model.states)} (`states` names others)"
        ) from error
    if not isinstance(value, Tensor) or value.shape[1:] != (len(x),):
        got = f"the shape {tuple(value.shape[1:])}" if isinstance(value, Tensor) else type(value).__name__
        names = ", ".join(model.states)
        remedy = "; write torch.stack([...])" if got in ("list", "tuple") else ""
        raise ConfigError(
            f"`f` must return the derivatives of {names}, a tensor of shape ({len(x)},), got {got}{remedy}"
        )


def _constants_of(f: Callable[..., Any]) -> dict[str, Any]:
    """Return a module's parameters, or the defaults of a function's keyword arguments."""
    if isinstance(f, nn.Module):
        return {name: parameter for name, parameter in f.named_parameters() if parameter.requires_grad}
    parameters = inspect.signature(f).parameters.values()
    return {
        one.name: one.default
        for one in list(parameters)[2:]
        if one.default is not one.empty and isinstance(one.default, (int, float))
    }


def _bound(f: Callable[..., Any], named: Named, *, module: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return f(t, x, p) of one sample: (), (D,), (K,) to (D,)."""
    if isinstance(f, nn.Module) and module:
        return lambda t, x, p: torch.func.functional_call(f, named.take(p), (t, x))
    return lambda t, x, p: f(t, x, **named.take(p))


def _rows(call: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Map a function of one sample over rows."""
    mapped = torch.func.vmap(call)
    return lambda t, x, p, u: mapped(t, x, p)


def _state_names(data: Observed, states: Sequence[str] | None, observe: object, start: Any) -> tuple[str, ...]:
    if states is not None:
        return tuple(states)
    if isinstance(start, Mapping):
        return tuple(start)
    if observe is None:
        return data.columns
    if start is not None and not isinstance(start, str):
        return tuple(f"x{d + 1}" for d in range(len(start)))
    raise ConfigError("what is observed is not the state itself: name the states, such as states=['x', 'v']")


@dataclass(frozen=True)
class _Starts:
    """Initial states by experiment and state, (N, D): numbers that are known, or guesses of those that are fitted."""

    names: tuple[str, ...]
    guesses: tuple[tuple[float, ...], ...]
    free: tuple[bool, ...]

    @staticmethod
    def of(start: Any, names: tuple[str, ...], data: Observed, observe: object) -> _Starts:
        columns = data.columns if observe is None else () if callable(observe) else tuple(observe)  # type: ignore[arg-type]
        first = [tuple(_first(series, columns, name) for name in names) for series in data.series]
        if start is None or (isinstance(start, str) and start == "fit"):
            return _Starts(names, tuple(first), (True,) * len(names))
        given = dict(start) if isinstance(start, Mapping) else dict(zip(names, list(start), strict=False))
        if set(given) != set(names):
            raise ConfigError(f"`start` must have a value for each of {', '.join(names)}, or be 'fit'")
        free = tuple(given[name] is None or given[name] == "fit" for name in names)
        try:
            wanted = [None if fitted else float(given[name]) for name, fitted in zip(names, free, strict=True)]
        except (TypeError, ValueError):
            raise ConfigError(f"`start` must hold numbers, or 'fit' where one is to be fitted, got {start!r}") from None
        rows = [
            tuple(guess if value is None else value for guess, value in zip(own, wanted, strict=True)) for own in first
        ]
        return _Starts(names, tuple(rows), free)


def _first(series: Series, columns: Sequence[str], name: str) -> float:
    """Return the first observed value of a state that is a column, 0 of another."""
    values = series.y[:, columns.index(name)] if name in columns else np.empty(0)
    present = values[np.isfinite(values)]
    return float(present[0]) if len(present) else 0.0


@dataclass(frozen=True)
class Wishes:
    """What is wished of constants, by the name of a constant or an element: `bounds`, normal `priors`, whether they are
    `fixed`, searched for as `log`, or have a value `own` to each experiment.
    """

    bounds: Mapping[str, tuple[float, float]]
    priors: Mapping[str, tuple[float, float]]
    fixed: Sequence[str]
    log: Sequence[str] | bool
    own: Sequence[str]

    def check(self, names: Sequence[str]) -> None:
        """Refuse what names nothing."""
        known = {*names, *(name.partition("[")[0] for name in names)}
        logs = () if isinstance(self.log, bool) else self.log
        kinds = {"bounds": self.bounds, "priors": self.priors, "fixed": self.fixed, "log": logs, "own": self.own}
        for what, wished in kinds.items():
            for name in wished:
                if name not in known:
                    raise ConfigError(f"`{what}` names {name!r}, which is none of {', '.join(names)}")

    def unknown(self, name: str, guess: float, label: str | None = None) -> Unknown:
        """Return an unknown; a `label` is that of its experiment."""
        low, high = _of(self.bounds, name) or (-math.inf, math.inf)
        prior = _of(self.priors, name)
        logged = self.log if isinstance(self.log, bool) else _among(self.log, name)
        return Unknown(
            name=name if label is None else f"{name}[{label}]",
            guess=guess,
            low=float(low),
            high=float(high),
            scale="log" if logged else "linear",
            free=not _among(self.fixed, name),
            prior=None if prior is None else Prior("normal", tuple(map(float, prior))),
        )


def _of(settings: Mapping[str, Any], name: str) -> Any:
    return settings.get(name, settings.get(name.partition("[")[0]))


def _among(names: Sequence[str], name: str) -> bool:
    return name in names or name.partition("[")[0] in names


def _unknowns(
    named: Named, starts: _Starts, data: Observed, wishes: Wishes
) -> tuple[tuple[Unknown, ...], tuple[Entry, ...], tuple[Experiment, ...]]:
    """Return the unknowns, the values of the model's constants, and the experiments."""
    labels = [series.name for series in data.series]
    several = len(labels) > 1
    initial = [f"{name}(0)" for name in starts.names]
    wishes.check([*named.elements, *initial])
    unknowns: list[Unknown] = []
    entries: list[dict[str, Entry]] = [{} for _ in labels]
    for name, guess in zip(named.elements, named.values, strict=True):
        if several and _among(wishes.own, name):
            for own, label in zip(entries, labels, strict=True):
                unknowns.append(wishes.unknown(name, guess, label))
                own[name] = unknowns[-1].name
        else:
            unknowns.append(wishes.unknown(name, guess))
    for d, name in enumerate(initial):
        for own, label, guesses in zip(entries, labels, starts.guesses, strict=True):
            if starts.free[d]:
                unknowns.append(wishes.unknown(name, guesses[d], label if several else None))
            own[name] = unknowns[-1].name if starts.free[d] else guesses[d]
    shared = {unknown.name for unknown in unknowns}
    values: list[Entry] = [name if name in shared else 0.0 for name in named.elements]
    experiments = tuple(
        Experiment(series.name, float(series.t[0]), constants=own, calendar=series.calendar)
        for series, own in zip(data.series, entries, strict=True)
    )
    return tuple(unknowns), (*values, *[0.0] * len(initial)), experiments


def _observables(
    data: Observed,
    names: tuple[str, ...],
    observe: Callable[..., Any] | Sequence[str] | None,
    named: Named,
    sigma: float | Mapping[str, float] | None,
) -> tuple[Observable, ...]:
    """Return one observable a column, each with a spread that is known, or one that is found."""
    given = dict.fromkeys(data.columns, sigma) if isinstance(sigma, (int, float)) else dict(sigma or {})
    strange = [name for name in given if name not in data.columns]
    if strange:
        raise ConfigError(f"`sigma` names {strange[0]!r}; the data have the columns {', '.join(data.columns)}")
    wrong = [name for name, value in given.items() if value is None or not (math.isfinite(value) and value > 0)]
    if wrong:
        raise ConfigError(f"`sigma` of {wrong[0]!r} must be above 0, got {given[wrong[0]]}")
    measured = [_measured(c, data.columns, names, observe, named) for c in range(len(data.columns))]
    found = []
    for c, name in enumerate(data.columns):
        own = any(s.sigma is not None and bool(np.isfinite(s.sigma[:, c]).any()) for s in data.series)
        spread: Measured | None = None
        if own:
            spread = lambda t, x, p, u, q: q[:, 0]  # noqa: E731
        elif name in given:
            spread = _constant(float(given[name]))
        found.append(Observable(name, measured[c], spread))
    return tuple(found)


def _constant(value: float) -> Measured:
    return lambda t, x, p, u, q: torch.full_like(t, value)


def _measured(
    c: int,
    columns: tuple[str, ...],
    names: tuple[str, ...],
    observe: Callable[..., Any] | Sequence[str] | None,
    named: Named,
) -> Measured:
    """Return what a column measures: a state, or a component of what the user's function observes."""
    if callable(observe):
        function = observe

        def one(t: Tensor, x: Tensor, p: Tensor) -> Tensor:
            value = torch.as_tensor(function(t, x, **named.take(p))).reshape(-1)
            if len(value) != len(columns):
                raise DataError(
                    f"`observe` returns {len(value)} values, the data have {len(columns)}: {', '.join(columns)}"
                )
            return value[c]

        mapped = torch.func.vmap(one)
        return lambda t, x, p, u, q: mapped(t, x, p)
    wanted = columns if observe is None else tuple(observe)
    if len(wanted) != len(columns):
        raise ConfigError(f"`observe` names {len(wanted)} states, the data have {len(columns)}: {', '.join(columns)}")
    if wanted[c] not in names:
        raise ConfigError(f"the column {wanted[c]!r} is no state; the states are {', '.join(names)}; give `observe`")
    d = names.index(wanted[c])
    return lambda t, x, p, u, q: x[:, d]


def _measurements(data: Observed) -> Measurements:
    """Return all values that are there, experiment by experiment."""
    experiment, observable, times, values, spreads = [], [], [], [], []
    for i, series in enumerate(data.series):
        rows, columns = np.nonzero(np.isfinite(series.y))
        experiment.append(np.full(len(rows), i))
        observable.append(columns)
        times.append(series.t[rows])
        values.append(series.y[rows, columns])
        spreads.append(np.ones(len(rows)) if series.sigma is None else series.sigma[rows, columns])
    own = np.concatenate(spreads)
    some = any(series.sigma is not None for series in data.series)
    return Measurements(
        experiment=np.concatenate(experiment).astype(np.int64),
        observable=np.concatenate(observable).astype(np.int64),
        times=np.concatenate(times),
        values=np.concatenate(values),
        own=tuple((float(spread) if math.isfinite(spread) else 1.0,) for spread in own) if some else (),
    )
