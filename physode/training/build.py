"""The right-hand side of a fit, from the settings and what the data say about their system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from physode.datasets import Trajectories
from physode.errors import ConfigError
from physode.rhs import MLP, SYSTEMS, AugmentedNBody, Hybrid, System, build
from physode.training.config import DTYPES, FitConfig
from physode.training.data import has_bodies

__all__ = ["build_rhs", "guesses", "known_system", "true_constants"]


def build_rhs(config: FitConfig, trajectories: Trajectories) -> System:
    """Build a right-hand side with what is to be learnt as its parameters.

    Random weights come from torch's global generator: seed it before.

    Raises
    ------
    ConfigError
        If the data do not name a system that the settings need, or guesses do not fit its constants.
    """
    rhs = _BUILDERS[config.rhs](config, trajectories)
    return rhs.to(device=config.device, dtype=DTYPES[config.dtype])


def true_constants(trajectories: Trajectories) -> dict[str, np.ndarray[Any, Any]]:
    """Return the constants that the file knows and its trajectories share, by name.

    Raises
    ------
    ConfigError
        If a constant differs from trajectory to trajectory.
    """
    name = str(trajectories.attrs.get("system"))
    declared = SYSTEMS[name].declared if name in SYSTEMS else {}
    config = trajectories.attrs.get("rhs", {})
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


def guesses(config: FitConfig, trajectories: Trajectories) -> dict[str, np.ndarray[Any, Any]]:
    """Return the initial guess of every constant to be fitted.

    Raises
    ------
    ConfigError
        If the data are not of a known system, a name is not a constant of it, or a guess has not one number or one an
        element.
    """
    name = _known_system(config, trajectories)
    declared, known = SYSTEMS[name].declared, true_constants(trajectories)
    for argument, names in (("free", config.free), ("init", tuple(config.init))):
        unknown = [each for each in names if each not in declared]
        if unknown:
            raise ConfigError(f"`{argument}` names {unknown[0]!r}; the constants of {name} are {', '.join(declared)}")
    free = config.free or tuple(declared)
    fixed = [each for each in config.init if each not in free]
    if fixed:
        raise ConfigError(f"`init` gives {fixed[0]!r}, which is not among the constants to fit: {', '.join(free)}")
    found = {}
    for constant in free:
        guess = np.asarray(config.init.get(constant, (1.0,)), dtype=np.float64)
        shape = known[constant].shape if constant in known else _shape(declared[constant].ndim, trajectories)
        size = int(np.prod(shape))
        if guess.size not in (1, size):
            raise ConfigError(f"`init` of {constant!r} must have 1 or {size} numbers, got {guess.tolist()}")
        if not np.isfinite(guess).all() or (config.positive and (guess <= 0).any()):
            kind = "finite and above 0" if config.positive else "finite"
            raise ConfigError(f"`init` of {constant!r} must be {kind}, got {guess.tolist()}")
        found[constant] = np.broadcast_to(guess, size).reshape(shape)
    return found


def _shape(ndim: int, trajectories: Trajectories) -> tuple[int, ...]:
    """Return the shape of a constant that the file does not know; the only vectors are masses, one a body."""
    return () if ndim == 0 else (len(trajectories.columns) // 6,)


def _known_system(config: FitConfig, trajectories: Trajectories) -> str:
    name = trajectories.attrs.get("system")
    known = sorted(key for key, system in SYSTEMS.items() if system.declared)
    if name not in known:
        told = "do not say which system they are of" if name is None else f"are of the system {str(name)!r}"
        raise ConfigError(
            f"rhs={config.rhs!r} needs data of a known system ({', '.join(known)}), these {told}; try rhs='neural'"
        )
    return str(name)


def _physical(config: FitConfig, trajectories: Trajectories) -> System:
    name = _known_system(config, trajectories)
    settings: Mapping[str, Any] = trajectories.attrs.get("rhs", {})
    start = guesses(config, trajectories)
    constants = {**true_constants(trajectories), **start}
    arguments = {
        **settings,
        **{key: value.tolist() for key, value in constants.items()},
        "learnable": list(start),
        "positive": list(start) if config.positive else False,
    }
    rhs = build(name, arguments)
    if len(rhs.columns) != len(trajectories.columns):
        raise ConfigError(
            f"{name} has {len(rhs.columns)} components, the data have {len(trajectories.columns)}: "
            f"{', '.join(trajectories.columns)}"
        )
    return rhs


def _augmented(config: FitConfig, trajectories: Trajectories) -> System:
    if not has_bodies(trajectories.columns):
        raise ConfigError(
            "rhs='augmented' needs bodies' positions and velocities, columns r1_x, ..., vn_z; "
            f"the data have {', '.join(trajectories.columns)}; try rhs='neural'"
        )
    scale = float(trajectories.attrs.get("rhs", {}).get("velocity_scale", 1.0))
    hidden = config.hidden or ()
    n = len(trajectories.columns) // 6
    return AugmentedNBody(n, hidden=hidden, activation=config.activation, velocity_scale=scale)


def _neural(config: FitConfig, trajectories: Trajectories) -> System:
    hidden = (64, 64) if config.hidden is None else config.hidden
    return MLP(len(trajectories.columns), hidden=hidden, activation=config.activation)


def _hybrid(config: FitConfig, trajectories: Trajectories) -> System:
    columns = trajectories.columns
    # Velocities are known to move positions: with bodies the network reaches the accelerations only.
    acts_on = columns[len(columns) // 2 :] if has_bodies(columns) else columns
    physics = _physical(config, trajectories)
    return Hybrid(physics, _neural(config, trajectories), acts_on=acts_on, zero_init=True)


_BUILDERS = {"physical": _physical, "augmented": _augmented, "neural": _neural, "hybrid": _hybrid}


def known_system(trajectories: Trajectories, index: int) -> System | None:
    """Return the physics that one trajectory is a solution of, constants included; None where the data do not say."""
    name = trajectories.attrs.get("system")
    if name not in SYSTEMS or not SYSTEMS[str(name)].declared:
        return None
    own = {key: values[index] for key, values in trajectories.params.items() if key in SYSTEMS[str(name)].declared}
    return build(str(name), {**trajectories.attrs.get("rhs", {}), **own})
