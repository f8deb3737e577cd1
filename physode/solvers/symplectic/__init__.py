"""Methods that keep the structure of motion: symplectic compositions, and asynchronous leapfrog, which can be undone."""

from __future__ import annotations

from physode.solvers.symplectic.alf import ALF
from physode.solvers.symplectic.splitting import LEAPFROG, YOSHIDA4, Splitting

__all__ = ["METHODS", "Splitting"]

METHODS = {method.name: method for method in (LEAPFROG, YOSHIDA4, ALF())}
"""These methods by name."""
