"""The errors physode raises on purpose; everything else is a bug or a plain ``ValueError``/``TypeError``."""

from __future__ import annotations

from typing import Any

__all__ = ["ConfigError", "DataError", "PhysodeError", "SolveError"]


class PhysodeError(Exception):
    """Base of every error that physode raises about its users' data, settings or equations."""


class ConfigError(PhysodeError, ValueError):
    """A run's settings, or a file that holds them, cannot be used."""


class DataError(PhysodeError, ValueError):
    """A data file is missing, damaged, or not of a layout that physode reads."""


class SolveError(PhysodeError, RuntimeError):
    """A solve ended before its end time; the message names the reason, the time and the sample.

    Attributes
    ----------
    solution
        What was solved up to there, a :class:`physode.Solution` as ``throw=False`` returns it; None if there is none.
    """

    def __init__(self, message: str, solution: Any = None) -> None:
        super().__init__(message)
        self.solution = solution
