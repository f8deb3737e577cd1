"""Methods that run backwards as they ran forwards: symplectic compositions, and asynchronous leapfrog."""

from __future__ import annotations

from physode.solvers.symplectic.alf import ALF
from physode.solvers.symplectic.splitting import LEAPFROG, SUZUKI4, YOSHIDA4, Splitting

__all__ = ["METHODS", "Splitting"]

METHODS = {method.name: method for method in (LEAPFROG, YOSHIDA4, SUZUKI4, ALF())}
"""These methods by name."""
