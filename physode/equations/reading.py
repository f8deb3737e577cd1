"""The tables of a model file, read one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physode.equations.declarations import ChangeText, Constant, Guess, InputColumn, ObservableText, State, Treatment
from physode.equations.scope import Scope, checked_name
from physode.equations.toml_tables import Section, near
from physode.equations.tree import Expression, number
from physode.equations.units import unit_of
from physode.errors import ConfigError
from physode.estimation.problem import DISTRIBUTIONS, PRIORS, Prior

__all__ = [
    "read_changes", "read_constant", "read_input", "read_observable", "read_state", "read_treatment", "read_unit",
]  # fmt: skip

_GUESS = ("guess", "bounds", "log", "free", "prior")
_NOISES = ("constant", "proportional", "log-normal")
_KINDS = ("linear", "step", "smooth")
_MOST_CHANGES = 10_000

# How many numbers a prior takes; which of them must be above 0.
_NUMBERS = {
    "uniform": (2, ()), "normal": (2, (1,)), "laplace": (2, (1,)), "log-normal": (2, (1,)), "log-laplace": (2, (1,)),
    "log-uniform": (2, (0,)), "cauchy": (2, (1,)), "chi-squared": (1, (0,)), "exponential": (1, (0,)),
    "gamma": (2, (0, 1)), "rayleigh": (1, (0,)),
}  # fmt: skip


def read_unit(section: Section, key: str = "unit") -> str | None:
    """Return a unit that can be read; None where there is none."""
    text = section.text(key)
    if text is not None:
        try:
            unit_of(text)
        except ConfigError as error:
            raise section.refusal(str(error), key) from None
    return text


def read_constant(section: Section, key: str) -> Constant:
    """Read ``k = 2.0``, a guess, or ``k = { ... }``."""
    value = section.take(key)
    label = checked_name(key, section)
    if not isinstance(value, Mapping):
        return Constant(label, Guess(section.as_number(value, key)))
    table = section.table(key)
    table.only("value", "column", "unit", "per", *_GUESS)
    unit = read_unit(table)
    own = table.text("per", "all", ("all", "experiment")) == "experiment"
    for kind in ("value", "column"):
        others = [other for other in ("value", "column", *_GUESS, "per") if other in table and other != kind]
        if kind in table and others:
            raise table.refusal(f"{kind} and {others[0]} cannot both be; {kind} makes it known", others[0])
    if "value" in table:
        return Constant(label, table.number("value") or 0.0, unit=unit)
    if "column" in table:
        return Constant(label, table.text("column") or "", unit=unit)
    return Constant(label, read_guess(table, 1.0), own, unit)


def read_guess(table: Section, default: float | None = None) -> Guess:
    """Read a guess with its bounds and prior.

    Raises
    ------
    ConfigError
        If the bounds exclude it, or logarithms cannot be taken of them; if a prior cannot be.
    """
    log = bool(table.flag("log", default=False))
    low, high = table.numbers("bounds", finite=False, count=2) or (0.0 if log else -math.inf, math.inf)
    if not low < high:
        raise table.refusal(f"the lower bound {low:g} must be below the upper one, {high:g}", "bounds")
    value = table.number("guess")
    if value is not None and not low <= value <= high:
        raise table.refusal(f"{value:g} is outside of the bounds {low:g} and {high:g}", "guess")
    if value is None and default is not None:
        value = _between(low, high, default, log)
    if log and (low < 0 or (value is not None and value <= 0)):
        which = "guess" if low >= 0 else "bounds"
        raise table.refusal("a logarithm asks for numbers above 0; change it, or leave log out", which)
    return Guess(value, low, high, log, bool(table.flag("free", default=True)), _prior(table))


def _between(low: float, high: float, default: float, log: bool) -> float:
    """Return a guess where there is none: the middle of finite bounds."""
    if low <= default <= high and (math.isinf(low) or math.isinf(high)):
        return default
    if math.isfinite(low) and math.isfinite(high):
        return math.sqrt(low * high) if log and low > 0 else 0.5 * (low + high)
    return low + 1.0 if math.isfinite(low) else high - 1.0


def _prior(table: Section) -> Prior | None:
    if "prior" not in table:
        return None
    if isinstance(table.content["prior"], list):
        kind, numbers, truncated = "normal", table.numbers("prior") or (), False
    else:
        inner = table.table("prior")
        inner.only(*PRIORS, "truncated")
        kinds = [each for each in PRIORS if each in inner]
        if len(kinds) != 1:
            raise table.refusal("must be [mean, standard deviation], or one such as { log-normal = [0, 1] }", "prior")
        kind, truncated = kinds[0], bool(inner.flag("truncated", default=False))
        value = inner.content[kind]
        numbers = (inner.numbers(kind) or ()) if isinstance(value, list) else (inner.as_number(value, kind),)
    count, above = _NUMBERS[kind]
    if len(numbers) != count:
        raise table.refusal(f"{kind} takes {count} number{'s' if count > 1 else ''}, not {len(numbers)}", "prior")
    for i in above:
        if numbers[i] <= 0:
            what = "standard deviation" if kind in ("normal", "log-normal") else f"number {i + 1} of {kind}"
            raise table.refusal(f"the {what} must be above 0, not {numbers[i]:g}", "prior")
    if "uniform" in kind and not numbers[0] < numbers[1]:
        raise table.refusal(f"the lower end {numbers[0]:g} must be below the upper one, {numbers[1]:g}", "prior")
    return Prior(kind, tuple(numbers), truncated=truncated)


def read_state(label: str, rate: Expression, section: Section, scope: Scope) -> State:
    """Read what a table says of a state: a number or formula that it begins with, or ``{ ... }``."""
    value = section.content.get(label)
    if value is None:
        return State(label, rate, Guess())
    if not isinstance(value, Mapping):
        start = read_start(section, label, scope)
        return State(label, rate, start)
    table = section.table(label)
    table.only("equation", "start", "unit", "per")
    own = table.text("per", "experiment", ("all", "experiment")) == "experiment"
    start = read_start(table, "start", scope) if "start" in table else Guess()
    return State(label, rate, start, own, read_unit(table))


def read_start(section: Section, key: str, scope: Scope) -> float | Expression | Guess:
    """Read an initial value: a number, a formula of constants, ``"fit"``, or a guess in a table."""
    value = section.take(key)
    if value == "fit":
        return Guess()
    if isinstance(value, str):
        return scope.read(value, section, key, ("constants",), time=False)
    if isinstance(value, Mapping):
        table = section.table(key)
        table.only(*_GUESS)
        return read_guess(table)
    return section.as_number(value, key)


def read_input(section: Section, key: str, folder: Path) -> InputColumn:
    """Read ``F = "column"`` or ``F = { ... }``."""
    label = checked_name(key, section)
    if isinstance(section.content[key], str):
        return InputColumn(label, section.text(key) or "")
    table = section.table(key)
    table.only("column", "file", "kind", "unit")
    file = table.text("file")
    kind = table.text("kind", "linear", _KINDS) or "linear"
    return InputColumn(label, table.text("column", key) or key, folder / file if file else None, kind, read_unit(table))


def read_observable(section: Section, key: str, scope: Scope) -> ObservableText:
    """Read ``y = "x + z"`` or ``y = { ... }``."""
    if isinstance(section.content[key], str):
        text = section.text(key) or ""
        return ObservableText(key, key, scope.read(text, section, key), text)
    table = section.table(key)
    table.only("formula", "column", "unit", "noise", "sigma", "sigma_column", "distribution")
    text = table.text("formula", key) or key
    formula = scope.read(text, table, "formula")
    noise = table.text("noise", "constant", _NOISES)
    distribution = table.text("distribution", "log-normal" if noise == "log-normal" else "normal", DISTRIBUTIONS)
    if noise == "log-normal" and distribution != "log-normal":
        raise table.refusal(f"noise is log-normal, distribution {distribution}; leave one out", "distribution")
    sigma = _sigma(table, key, formula, scope)
    if sigma is not None and "sigma_column" in table:
        raise table.refusal("sigma and sigma_column cannot both be; leave one out", "sigma_column")
    column, sigma_column = table.text("column", key) or key, table.text("sigma_column")
    proportional = noise == "proportional"
    if proportional and "sigma_column" in table:
        raise table.refusal("spreads beside the values are no share of them; leave noise out", "sigma_column")
    return ObservableText(
        key, column, formula, text, proportional, sigma, sigma_column, distribution or "normal", read_unit(table)
    )


def _sigma(table: Section, key: str, formula: Expression, scope: Scope) -> Expression | None:
    value = table.take("sigma")
    if value is None:
        return None
    if isinstance(value, str):
        inner = Scope(scope.states, scope.constants, scope.inputs, dict(scope.definitions))
        if key not in scope.declared:
            inner.definitions[key] = formula
        return inner.read(value, table, "sigma")
    sigma = table.as_number(value, "sigma")
    if sigma <= 0:
        raise table.refusal(f"must be above 0, not {sigma:g}", "sigma")
    return number(sigma)


def read_treatment(section: Section, key: str, scope: Scope) -> Treatment:
    """Read what is own to one experiment."""
    table = section.table(key)
    table.only("begin", "start", "constants", "changes")
    begin = table.number("begin")
    starts, constants = table.table("start").of_names(), table.table("constants").of_names()
    start: dict[str, Expression | Guess] = {}
    for state in starts.content:
        label = _one_of(state, scope.states, "state", starts)
        value = read_start(starts, state, scope)
        start[label] = number(value) if isinstance(value, float) else value
    own: dict[str, Expression | Guess] = {}
    for constant in constants.content:
        label = _one_of(constant, scope.constants, "constant", constants)
        own[label] = _own_constant(constants, constant, scope)
    return Treatment(key, begin, start, own, read_changes(table, scope))


def _own_constant(section: Section, key: str, scope: Scope) -> Expression | Guess:
    if isinstance(section.content[key], Mapping):
        table = section.table(key)
        table.only(*_GUESS)
        return read_guess(table, 1.0)
    return _value(section, key, scope, ("constants",), time=False)


def read_changes(section: Section, scope: Scope) -> tuple[ChangeText, ...]:
    """Read the list of changes in a table."""
    changes = []
    for table in section.tables("changes"):
        table.only("time", "states", "constants")
        times = table.content.get("time")
        if isinstance(times, list):
            when = table.numbers("time") or ()
        else:
            single = table.number("time", finite=False)
            when = () if single is None else (single,)
        if not when:
            raise table.refusal("when? give a time, such as time = 5.0, or a list of times", "time")
        if len(when) > _MOST_CHANGES:
            raise table.refusal(f"has {len(when)} times, more than {_MOST_CHANGES}", "time")
        if math.inf in when:
            raise table.refusal("must be finite, or -inf for a steady state to begin from", "time")
        states, constants = table.table("states").of_names(), table.table("constants").of_names()
        changes.append(ChangeText(when, _values(states, scope, "state"), _values(constants, scope, "constant")))
        if not states.content and not constants.content and when != (-math.inf,):
            raise table.refusal("changes nothing; give states or constants", "time")
        if -math.inf in when and states.content:
            raise table.refusal("a steady state begins from initial values; give constants only", "states")
    return tuple(changes)


def _values(section: Section, scope: Scope, what: str) -> dict[str, Expression]:
    names = scope.states if what == "state" else scope.constants
    kinds = ("states", "constants") if what == "state" else ("constants",)
    return {
        _one_of(key, names, what, section): _value(section, key, scope, kinds, time=what == "state")
        for key in section.content
    }


def _value(section: Section, key: str, scope: Scope, kinds: tuple[str, ...], *, time: bool) -> Expression:
    value: Any = section.take(key)
    if isinstance(value, str):
        return scope.read(value, section, key, kinds, time=time)
    return number(section.as_number(value, key))


def _one_of(key: str, names: Any, what: str, section: Section) -> str:
    if key not in names:
        raise section.refusal(f"there is no {what} of this name; {near(key, sorted(names))}", key)
    return key
