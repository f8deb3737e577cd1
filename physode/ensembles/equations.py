"""Equations of ensembles: systems of physode by name, as functions of their constants; or anybody's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from physode.errors import ConfigError
from physode.fitting.constants import told_settings
from physode.rhs import SYSTEMS, NBody, System, build

__all__ = ["SystemEquation", "defaults_of", "equation_of"]


@dataclass(frozen=True)
class SystemEquation:
    """The right-hand side of a system of physode as f(t, x, **constants).

    Attributes
    ----------
    name
        Of the system.
    constants
        Its constants with values that the system can be made with.
    settings
        Its further arguments.
    """

    name: str
    constants: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def system(self) -> System:
        """The system."""
        return build(self.name, {**self.settings, **self.constants})

    def __call__(self, t: Tensor, x: Tensor, **constants: Tensor) -> Tensor:
        """Return dx/dt."""
        values = {f"raw_{name}": value for name, value in constants.items()}
        found: Tensor = torch.func.functional_call(self.system, values, (t, x))
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "constants": dict(self.constants), "settings": dict(self.settings)}


def equation_of(
    f: Any, data: Any, columns: Sequence[str], constants: Mapping[str, Any] | None, fixed: Sequence[str]
) -> tuple[Callable[..., Any], dict[str, Any] | None, tuple[str, ...] | None]:
    """Return the right-hand side of an ensemble, its constants where these are known, and its states, where they are.

    Parameters
    ----------
    f
        The name of a system of physode, a system, or a function.
    data
        Where they are trajectories, they may say more of their system.
    columns
        Of the data.
    constants
        Guesses and values, as far as they are given: of a system, those that are fitted are guessed 1, the others have
        the system's own values.
    fixed
        Constants that are not fitted.

    Raises
    ------
    ConfigError
        If there is no such system, or a constant is none of its.
    """
    if isinstance(f, System):
        own = {name: value.detach().tolist() for name, value in f.constants.items()}
        settings = {key: value for key, value in f.config().items() if key not in ("learnable", "positive", *own)}
        kind, begun = type(f), own
    elif isinstance(f, str):
        if f not in SYSTEMS or not SYSTEMS[f].declared:
            known = ", ".join(sorted(name for name, system in SYSTEMS.items() if system.declared))
            raise ConfigError(f"{f!r} is no system with constants; choose {known}, or give a function f(t, x, k=1.0)")
        kind, settings = SYSTEMS[f], _told(SYSTEMS[f], data)
        shape = (len(columns) // 6,) if issubclass(kind, NBody) else ()
        begun = {
            name: torch.full(shape if one.ndim else (), _value(one.default, fitted=name not in fixed)).tolist()
            for name, one in kind.declared.items()
        }
    else:
        return f, None if constants is None else dict(constants), None
    strange = sorted(set(constants or {}) - set(begun))
    if strange:
        raise ConfigError(f"`constants` names {strange[0]!r}; the constants of {kind.name} are {', '.join(begun)}")
    begun = {**begun, **(constants or {})}
    equation = SystemEquation(kind.name, begun, settings)
    states = tuple(equation.system.columns)
    by_order = len(columns) == len(states) and not set(columns) & set(states)
    return equation, begun, tuple(columns) if by_order else states


def _value(default: float | None, *, fitted: bool) -> float:
    return 1.0 if fitted or default is None else default


def _told(kind: type[System], data: Any) -> dict[str, Any]:
    """Return what trajectories say of a system's arguments that are no constants."""
    if not hasattr(data, "attrs") or not hasattr(data, "params"):
        return {}
    known = set(inspect.signature(kind).parameters) - {"learnable", "positive", *kind.declared}
    return {key: value for key, value in told_settings(data).items() if key in known}


def defaults_of(f: Callable[..., Any]) -> dict[str, float]:
    """Return the defaults of a function's keyword arguments that are numbers."""
    return {
        one.name: float(one.default)
        for one in list(inspect.signature(f).parameters.values())[2:]
        if isinstance(one.default, int | float)
    }
