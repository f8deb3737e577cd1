"""Right-hand sides named on a command line: ``module:attribute``, ``file.py:attribute``, or a system of physode."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from physode.errors import ConfigError


class Target(NamedTuple):
    """A right-hand side ``f(t, y)``; of a system of physode also a state to start at, and a time to end at."""

    f: Callable[..., Any]
    y0: tuple[float, ...] | None = None
    t_end: float | None = None


def find_target(name: str) -> Target:
    """Find a right-hand side by name.

    Parameters
    ----------
    name
        ``module:attribute`` or ``file.py:attribute``; the module is imported, and so run, with the working directory on
        the path. The attribute is ``f(t, y)``, a module of torch, a class that needs no arguments, or a function
        without arguments that returns one of them. Or a system's name, such as ``van_der_pol``, whose first preset is
        taken, its constants learnable.

    Raises
    ------
    ConfigError
        If there is no such module or attribute, or it is nothing of these.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon:
        return _system(name)
    if not place or not attribute:
        raise ConfigError(f"`{name}` must be MODULE:RHS, such as mymodels:Swing or mymodels.py:Swing")
    module = _module(place)
    try:
        found = reduce(getattr, attribute.split("."), module)
    except AttributeError:
        public = ", ".join(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise ConfigError(f"{place} has no attribute {attribute!r}; it has {public or 'nothing callable'}") from None
    return Target(_right_hand_side(found, name))


def check_place(name: str) -> None:
    """Raise ``ConfigError`` if the file of ``file.py:attribute`` is not there: asked before torch is imported."""
    place = name.rpartition(":")[0]
    if place.endswith(".py") and not Path(place).is_file():
        raise ConfigError(f"there is no file {place}")


def _system(name: str) -> Target:
    from physode.rhs import SYSTEMS

    system = SYSTEMS.get(name)
    known = [each for each in SYSTEMS if SYSTEMS[each].presets]
    if system is None or not system.presets:
        raise ConfigError(f"{name!r} must be MODULE:RHS, or one of {', '.join(sorted(known))}")
    preset = next(iter(system.presets.values()))
    constants = {"learnable": True} if system.declared else {}
    return Target(system(**{**preset.config, **constants}), tuple(preset.y0), preset.t_end)


def _module(place: str) -> ModuleType:
    if place.endswith(".py"):
        return _file(Path(place))
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not (place == error.name or place.startswith(f"{error.name}.")):
            raise ConfigError(f"{place} cannot be imported: {error}") from error
        raise ConfigError(
            f"there is no module {place!r} here or among the installed; a file is named with .py, {place}.py:..."
        ) from None
    except Exception as error:
        raise ConfigError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)


def _file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return module


def _right_hand_side(found: Any, name: str) -> Callable[..., Any]:
    """Return the right-hand side that an attribute is, or makes."""
    if not callable(found):
        raise ConfigError(f"{name} must be a right-hand side f(t, y), got a {type(found).__name__}")
    if isinstance(found, type) or _needed(found) == 0:
        try:
            found = found()
        except Exception as error:
            raise ConfigError(
                f"{name} cannot be made without arguments: {error}; name a function without arguments that makes it"
            ) from error
        if not callable(found):
            raise ConfigError(f"{name} must make a right-hand side f(t, y), it made a {type(found).__name__}")
    needed = _needed(found)
    if needed is not None and needed != 2:
        raise ConfigError(f"{name} must take two arguments, f(t, y), it needs {needed}")
    return found  # type: ignore[no-any-return]


def _needed(f: Callable[..., Any]) -> int | None:
    """Return how many arguments a callable needs; None if it does not say, or takes any."""
    forward = getattr(f, "forward", f)
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes = [p for p in parameters if p.kind in plain]
    needed = sum(p.default is p.empty for p in takes)
    return 2 if needed < 2 <= len(takes) and needed else needed
