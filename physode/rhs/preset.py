"""A published or well-known set-up of a system, kept beside the system that it sets up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Preset"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Constants, initial state and output grid of a named problem.

    Attributes
    ----------
    config
        Constructor arguments of the system.
    y0
        Initial state, in the order of the system's columns.
    t_end
        End of the time span, which begins at 0.
    points
        Number of equally spaced output times, both ends included.
    description
        One line for users, with the source.
    """

    config: Mapping[str, Any]
    y0: tuple[float, ...]
    t_end: float
    points: int
    description: str
