"""Right-hand sides by name, to rebuild the one that a file or a run was made with."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from physode.errors import ConfigError
from physode.rhs import physical
from physode.rhs.base import System
from physode.rhs.neural import MLP, AugmentedNBody, Hybrid

__all__ = ["SYSTEMS", "build"]


def _physical_systems() -> Iterator[type[System]]:
    """Find the systems in the files of ``physical/``: a new one is known by being there."""
    for file in pkgutil.iter_modules(physical.__path__):
        module = importlib.import_module(f"{physical.__name__}.{file.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, System) and value.__module__ == module.__name__:
                yield value


_LEARNT: tuple[type[System], ...] = (AugmentedNBody, MLP, Hybrid)

SYSTEMS: Mapping[str, type[System]] = MappingProxyType(
    {system.name: system for system in (*_physical_systems(), *_LEARNT)}
)
"""Every system by its name."""


def build(name: str, config: Mapping[str, Any]) -> System:
    """Build a system from its name and what its ``config()`` returned, parts of a hybrid included.

    Parameters
    ----------
    name
        A key of ``SYSTEMS``.
    config
        Constructor arguments. A value ``{"rhs": name, "config": {...}}`` is itself built first.

    Raises
    ------
    ConfigError
        If the name is unknown, or the arguments are not the system's.
    """
    if name not in SYSTEMS:
        raise ConfigError(f"`name` must be a known right-hand side: {', '.join(sorted(SYSTEMS))}; got {name!r}")
    arguments: dict[str, Any] = {
        key: build(value["rhs"], value["config"]) if _is_part(value) else value for key, value in config.items()
    }
    try:
        return SYSTEMS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"`config` does not fit the right-hand side {name!r}: {error}") from error


def _is_part(value: object) -> bool:
    return isinstance(value, Mapping) and set(value) == {"rhs", "config"}
