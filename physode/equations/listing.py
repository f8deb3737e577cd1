"""Models in words: equations as they are printed, and tables of what is declared and what is estimated."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

from physode.equations.declarations import Constant, Declarations, Guess, ObservableText
from physode.equations.expression import parse
from physode.equations.model import MeasuredFormula
from physode.equations.tree import Expression
from physode.estimation.problem import Entry, Estimation, Prior

__all__ = ["as_listed", "constants_listed", "equations_listed", "estimation_listed", "pretty"]

_LETTERS = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "rho",
    "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi",
    "Omega",
)  # fmt: skip
_GREEK = {
    letter: unicodedata.lookup(
        f"GREEK {'SMALL' if letter.islower() else 'CAPITAL'} LETTER {letter.upper().replace('LAMBDA', 'LAMDA')}"
    )
    for letter in _LETTERS
}
_HIGH = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SIGNS = {"*": "·", "<=": "≤", ">=": "≥", "!=": "≠", "==": "=", " - ": " − ", "sqrt(": "√("}  # noqa: RUF001


def pretty(expression: Expression) -> str:
    """Print an expression in the letters of mathematics, such as ``k·x² + β``."""
    text = re.sub(r"\^(-?\d+)(?![\d.]|e)", lambda power: power[1].translate(_HIGH), str(expression))
    for plain, sign in _SIGNS.items():
        text = text.replace(plain, sign)
    return re.sub(r"[A-Za-z]+(?=[^A-Za-z(]|$)", lambda word: _GREEK.get(word[0], word[0]), text)


def equations_listed(declarations: Declarations) -> list[str]:
    """Return the equations, initial values and observables, one a line."""
    names = {
        *(state.name for state in declarations.states),
        *(constant.name for constant in declarations.constants),
        *(each.name for each in declarations.inputs),
        *(line.partition(" = ")[0].rstrip("'") for line in declarations.equations),
    }
    lines = []
    for line in declarations.equations:
        left, _, right = line.partition(" = ")
        lines.append(f"{_left(left)} = {pretty(parse(right, declared=names))}")
    starts = [state for state in declarations.states if not isinstance(state.start, Guess)]
    lines += [f"{state.name}(0) = {_start(state.start)}" for state in starts]
    lines += [f"{each.name} ~ {pretty(parse(each.text, declared=names))}" for each in declarations.observables]
    return lines


def _left(text: str) -> str:
    name = text.rstrip("'")
    order = len(text) - len(name)
    if not order:
        return name
    high = "" if order == 1 else str(order).translate(_HIGH)
    return f"d{high}{name}/dt{high}"


def _start(start: float | Expression | Guess) -> str:
    match start:
        case float():
            return f"{start:g}"
        case Guess(value=value):
            return "fitted" if value is None else f"fitted, from {value:g}"
        case _:
            return pretty(start)


def constants_listed(declarations: Declarations) -> list[dict[str, Any]]:
    """Return what is declared of each constant."""
    return [_constant(constant) for constant in declarations.constants]


def _constant(constant: Constant) -> dict[str, Any]:
    value: float | None
    match constant.source:
        case float():
            value, kind, bounds, prior = constant.source, "known", None, None
        case str():
            value, kind, bounds, prior = None, f"column {constant.source}", None, None
        case guess:
            value, kind = guess.value, "free" if guess.free else "kept"
            kind += ", one an experiment" if constant.own else ""
            bounds, prior = _bounds(guess.low, guess.high), _prior(guess.prior)
    return {
        "name": constant.name, "unit": constant.unit or "", "value": value, "": kind, "bounds": bounds, "prior": prior,
    }  # fmt: skip


def as_listed(declarations: Declarations) -> dict[str, list[dict[str, Any]]]:
    """Return tables of what a model declares: states, constants, inputs, observables."""
    return {
        "states": [
            {"name": state.name, "unit": state.unit or "", "start": _start(state.start)}
            for state in declarations.states
        ],
        "constants": constants_listed(declarations),
        "inputs": [
            {"name": each.name, "unit": each.unit or "", "column": each.column, "kind": each.kind}
            for each in declarations.inputs
        ],
        "observables": [
            {
                "name": each.name,
                "unit": each.unit or "",
                "formula": each.text,
                "column": each.column,
                "noise": _noise(each),
            }
            for each in declarations.observables
        ],
    }


def _noise(observable: ObservableText) -> str:
    sigma = "unknown" if observable.sigma is None else str(observable.sigma)
    if observable.sigma_column is not None:
        sigma = f"column {observable.sigma_column}"
    kind = "proportional, " if observable.proportional else ""
    return f"{observable.distribution}, {kind}sigma {sigma}"


def estimation_listed(estimation: Estimation) -> dict[str, list[dict[str, Any]]]:
    """Return tables of what is estimated, and from what: unknowns, experiments, observables with counts."""
    rows = estimation.measurements
    return {
        "unknowns": [
            {
                "name": each.name, "unit": each.unit, "guess": each.guess, "free": each.free, "scale": each.scale,
                "bounds": _bounds(each.low, each.high), "prior": _prior(each.prior),
            }
            for each in estimation.unknowns
        ],
        "experiments": [
            {
                "name": each.name,
                "from": each.start,
                "to": float(rows.times[rows.experiment == i].max()),
                "values": int((rows.experiment == i).sum()),
                "changes": len(each.changes),
                "its own": ", ".join(_assigned(name, entry) for name, entry in _own(each)) or None,
            }
            for i, each in enumerate(estimation.experiments)
        ],
        "measured": [
            {
                "name": each.name, "unit": each.unit, "formula": each.text,
                "values": int((rows.observable == j).sum()), "noise": _spread(estimation, j),
            }
            for j, each in enumerate(estimation.observables)
        ],
    }  # fmt: skip


def _own(experiment: Any) -> list[tuple[str, Entry]]:
    return [*experiment.constants.items(), *((f"{name}(0)", entry) for name, entry in experiment.initial.items())]


def _assigned(name: str, entry: Entry) -> str:
    value = f"{entry:g}" if isinstance(entry, float) else str(entry)
    return name if value == name else f"{name} = {value}"


def _spread(estimation: Estimation, observable: int) -> str:
    each = estimation.observables[observable]
    match each.spread:
        case None:
            sigma = "unknown"
        case MeasuredFormula(expression=expression):
            sigma = str(expression)
        case _:
            sigma = "beside each value"
    return f"{each.distribution}, sigma {sigma}"


def _bounds(low: float, high: float) -> str | None:
    return None if math.isinf(low) and math.isinf(high) else f"{low:g} to {high:g}"


def _prior(prior: Prior | None) -> str | None:
    return None if prior is None else f"{prior.kind} {', '.join(f'{each:g}' for each in prior.numbers)}"
