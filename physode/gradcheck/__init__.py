"""Gradient methods on a right-hand side of one's own, held against finite differences, with advice."""

from __future__ import annotations

from physode.gradcheck.advice import Facts, Row
from physode.gradcheck.check import GradientCheck, check_gradients

__all__ = ["Facts", "GradientCheck", "Row", "check_gradients"]
