"""Names of what is fitted: a constant ``masses``, one of its elements ``masses[2]``, an initial state ``angle(0)``."""

from __future__ import annotations

import re

from physode.errors import ConfigError

_TARGET = re.compile(r"([A-Za-z_]\w*)(?:\[(\d+)\])?")


def parse_target(text: str) -> tuple[str, int | None]:
    """Return the constant and, counted from 0, the element that a name is of; None for the whole constant.

    Raises
    ------
    ConfigError
        If it is no such name.
    """
    found = _TARGET.fullmatch(text)
    if found is None or found[2] == "0":
        raise ConfigError(f"{text!r} is not the name of a constant, or of an element such as masses[2]")
    return found[1], None if found[2] is None else int(found[2]) - 1


def element(name: str, place: tuple[int, ...]) -> str:
    """Return the name of an element: of ``masses`` at (1,), ``masses[2]``."""
    return name if not place else f"{name}[{', '.join(str(index + 1) for index in place)}]"


def initial_state_label(column: str, trajectory: int | None) -> str:
    """Return the name of an initial state; of the only trajectory where `trajectory` is None."""
    return f"{column}(0)" if trajectory is None else f"{column}(0) of trajectory {trajectory}"
