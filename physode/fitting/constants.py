"""The constants of a fit's physics: what the data know of them, what is guessed, fixed and free."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from physode.datasets import Trajectories
from physode.errors import ConfigError, DataError
from physode.fitting.config import FitConfig
from physode.fitting.data import has_bodies
from physode.fitting.labels import element, parse_target
from physode.rhs import SYSTEMS, NBody, System

Array = np.ndarray[Any, Any]


def true_constants(trajectories: Trajectories) -> dict[str, np.ndarray[Any, Any]]:
    """Return the constants that the file knows and its trajectories share, by name.

    Raises
    ------
    ConfigError
        If a constant differs from trajectory to trajectory.
    """
    name = str(trajectories.attrs.get("system"))
    declared = SYSTEMS[name].declared if name in SYSTEMS else {}
    config = told_settings(trajectories)
    found: dict[str, np.ndarray[Any, Any]] = {}
    for constant in declared:
        if constant in trajectories.params:
            rows = np.asarray(trajectories.params[constant], dtype=np.float64)
            if not (rows == rows[0]).all():
                raise ConfigError(
                    f"the {len(rows)} trajectories have different `{constant}`, a fit shares one; "
                    "choose one of them, on the command line with --trajectory"
                )
            found[constant] = rows[0]
        elif constant in config:
            found[constant] = np.asarray(config[constant], dtype=np.float64)
    return found


def told_settings(trajectories: Trajectories) -> Mapping[str, Any]:
    """Return what the data say of their right-hand side, its arguments by name.

    Raises
    ------
    DataError
        If an argument that systems take as a number is none.
    """
    found: Mapping[str, Any] = trajectories.attrs.get("rhs", {})
    numeric = _numeric_arguments()
    for name, value in found.items():
        if name in numeric and not _is_finite(value, scalar=numeric[name]):
            raise DataError(f"its attribute `rhs` has {name} = {value!r}, which is no number; correct it")
    return found


@cache
def _numeric_arguments() -> Mapping[str, bool]:
    """Return which arguments of systems are numbers or constants, and whether each is a single number."""
    arguments = [each for system in SYSTEMS.values() for each in inspect.signature(system).parameters.values()]
    return {each.name: each.annotation == "float" for each in arguments if each.annotation in ("float", "ConstantLike")}


def _is_finite(value: object, *, scalar: bool) -> bool:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return bool(np.isfinite(numbers).all()) and (numbers.ndim == 0 or not scalar)


@dataclass(frozen=True)
class Constants:
    """The constants of a fit's physics: values to begin with, and which elements of them are free."""

    values: dict[str, Array]
    free: dict[str, Array]
    settings: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The constants that have a free element."""
        return tuple(name for name, free in self.free.items() if free.any())

    def free_targets(self) -> tuple[str, ...]:
        """Return what is free by name: whole constants where all of them is, else elements."""
        found: list[str] = []
        for name in self.names:
            free = self.free[name]
            places = [place for place in np.ndindex(free.shape) if free[place]]
            found += [name] if free.all() else [element(name, place) for place in places]
        return tuple(found)


def constants_of(config: FitConfig, trajectories: Trajectories) -> Constants:
    """Return the constants that a fit begins with: guesses of the free ones, the values of the others.

    Raises
    ------
    ConfigError
        If the data are not of a known system, a name is not a constant of it, or a value does not fit one.
    """
    name = system_name(config, trajectories)
    known = true_constants(trajectories)
    system = SYSTEMS[name]
    if issubclass(system, NBody) and not has_bodies(trajectories.columns):
        raise ConfigError(
            f"{name} needs bodies' positions and velocities, columns r1_x, ..., vn_z; the data have "
            f"{', '.join(trajectories.columns)}: is this the right file?"
        )
    shapes = {
        each: known[each].shape if each in known else _shape(constant.ndim, trajectories)
        for each, constant in system.declared.items()
    }
    for argument in ("free", "init", "bounds", "priors"):
        for target in getattr(config, argument):
            _place(argument, target, shapes, name)
    settings = _settings(config, trajectories, system)
    free = _free(config, shapes, name)
    _check_limits(config, free, shapes, name)
    fixed = {target: given for target, given in config.fix.items() if parse_target(target)[0] in shapes}
    values = {}
    for constant, shape in shapes.items():
        begin = known.get(constant, np.full(shape, np.nan))
        value = np.where(free[constant], 1.0, begin)
        value = _written("init", config.init, constant, value, free[constant])
        values[constant] = _written("fix", fixed, constant, value, ~free[constant])
        default = inspect.signature(system).parameters[constant].default is not inspect.Parameter.empty
        _check_value(config, constant, values[constant], free[constant], default=default)
    return Constants({key: value for key, value in values.items() if not np.isnan(value).any()}, free, settings)


def _check_limits(
    config: FitConfig, free: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]], system: str
) -> None:
    """Refuse bounds and priors of what is not fitted, and bounds that leave a positive constant nothing."""
    for argument in ("bounds", "priors"):
        for target in getattr(config, argument):
            constant, place = _place(argument, target, shapes, system)
            if not free[constant][place].all():
                raise ConfigError(f"`{argument}` gives {target!r}, of which not all is to be fitted")
    for target, pair in config.bounds.items():
        if config.positive and pair[1] <= 0:
            raise ConfigError(f"`bounds` of {target!r} must reach above 0 to be kept positive, got {list(pair)}")


def _free(config: FitConfig, shapes: Mapping[str, tuple[int, ...]], system: str) -> dict[str, Array]:
    free = {name: np.full(shape, not config.free) for name, shape in shapes.items()}
    for argument, value in (("free", True), ("fix", False)):
        for target in getattr(config, argument):
            if argument == "fix" and parse_target(target)[0] not in shapes:
                continue  # a setting of the system
            name, place = _place(argument, target, shapes, system)
            free[name][place] = value
    if config.rhs == "physical" and not any(mask.any() for mask in free.values()):
        raise ConfigError(f"`fix` leaves no constant of {system} to fit")
    return free


def _place(argument: str, target: str, shapes: Mapping[str, tuple[int, ...]], system: str) -> tuple[str, Any]:
    """Return a target's constant and index into it."""
    name, index = parse_target(target)
    if name not in shapes:
        raise ConfigError(f"`{argument}` names {name!r}; the constants of {system} are {', '.join(shapes)}")
    if index is None:
        return name, ...
    size = shapes[name][0] if shapes[name] else 0
    if index >= size:
        told = f"has the elements 1 to {size}" if size else "is one number"
        raise ConfigError(f"`{argument}` names {target!r}, but {name!r} {told}")
    return name, index


def _written(argument: str, given: Mapping[str, tuple[float, ...]], constant: str, value: Array, where: Array) -> Array:
    """Return a constant with the numbers given for it, or for elements of it, put in where they belong."""
    value = value.copy()
    for target, numbers in given.items():
        name, index = parse_target(target)
        if name != constant or not numbers:
            continue
        if index is not None:
            if len(numbers) != 1:
                raise ConfigError(f"`{argument}` of {target!r} must have 1 number, got {list(numbers)}")
            if not where[index]:
                raise ConfigError(f"`{argument}` gives {target!r}, which is not among the elements to fit")
            value[index] = numbers[0]
            continue
        if len(numbers) not in (1, value.size):
            raise ConfigError(f"`{argument}` of {target!r} must have 1 or {value.size} numbers, got {list(numbers)}")
        if argument == "init" and not where.any():
            raise ConfigError(f"`init` gives {constant!r}, which is not among the constants to fit")
        filled = np.broadcast_to(np.asarray(numbers, dtype=np.float64), value.size).reshape(value.shape)
        # All of a constant may be given though some of it is fixed: the fixed elements are then values, not guesses.
        value = filled.copy() if len(numbers) == value.size else np.where(where, filled, value)
    return value


def _check_value(config: FitConfig, constant: str, value: Array, free: Array, *, default: bool) -> None:
    if np.isnan(value[~free]).any() and not (default and not free.any()):
        raise ConfigError(
            f"the data do not give {constant!r}, and it is not to be fitted; give its value with `fix`, "
            f"on the command line --fix {constant}=..."
        )
    known = value[free]
    if not np.isfinite(known).all() or (config.positive and (known <= 0).any()):
        kind = "finite and above 0" if config.positive else "finite"
        raise ConfigError(f"`init` of {constant!r} must be {kind}, got {known.tolist()}")


def _settings(config: FitConfig, trajectories: Trajectories, system: type[System]) -> dict[str, Any]:
    """Return the system's settings beside its constants: what the data say of them, and before that what is fixed."""
    known = set(inspect.signature(system).parameters) - {"learnable", "positive", *system.declared}
    settings = {key: value for key, value in told_settings(trajectories).items() if key in known}
    for target, numbers in config.fix.items():
        name, index = parse_target(target)
        if name in system.declared:
            continue
        if name not in known or index is not None:
            names = ", ".join([*system.declared, *sorted(known)])
            raise ConfigError(f"`fix` names {target!r}; {system.name} has {names}")
        if len(numbers) != 1:
            raise ConfigError(f"`fix` of {name!r} must have a value, such as {name}=1")
        settings[name] = numbers[0]
    return settings


def _shape(ndim: int, trajectories: Trajectories) -> tuple[int, ...]:
    """Return the shape of a constant that the file does not know; the only vectors are masses, one a body."""
    return () if ndim == 0 else (len(trajectories.columns) // 6,)


def system_name(config: FitConfig, trajectories: Trajectories) -> str:
    """Return the name of the system that the settings or the data say.

    Raises
    ------
    ConfigError
        If neither names a system with constants.
    """
    name = config.system or trajectories.attrs.get("system")
    known = sorted(key for key, system in SYSTEMS.items() if system.declared)
    if config.system is not None and name not in known:
        raise ConfigError(f"`system` must be one of: {', '.join(known)}; got {name!r}")
    if name not in known:
        told = "do not say which system they are of" if name is None else f"are of the system {str(name)!r}"
        raise ConfigError(
            f"rhs={config.rhs!r} needs data of a known system ({', '.join(known)}), these {told}; "
            "name it with `system` (--system), or try rhs='neural'"
        )
    return str(name)
