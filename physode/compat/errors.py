"""Errors that are also of the type that scripts written for torchdiffeq expect."""

from __future__ import annotations

from physode.errors import SolveError

__all__ = ["InvalidArgument", "SolveAssertionError"]


class InvalidArgument(ValueError, AssertionError):  # noqa: N818 - says what it is
    """An argument that cannot be used; torchdiffeq asserts where physode raises ``ValueError``."""


class SolveAssertionError(SolveError, AssertionError):
    """A solve that did not reach its end; torchdiffeq asserts here."""
