"""How gradients of a solution are computed: naive, adjoint, ACA, MALI."""

from __future__ import annotations

from typing import Protocol

from physode.gradients.aca import ACA
from physode.gradients.adjoint import Adjoint
from physode.gradients.naive import Naive
from physode.gradients.outputs import Outcome
from physode.gradients.reversible import MALI
from physode.problem.problem import Problem
from physode.solvers.driver import Plan

__all__ = ["ACA", "GRADIENTS", "MALI", "Adjoint", "GradientMethod", "Naive", "find_gradient"]


class GradientMethod(Protocol):
    """A way to solve a problem with differentiable outputs."""

    def solve(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve the problem, walked as the plan says."""


GRADIENTS: dict[str, GradientMethod] = {
    "aca": ACA(),
    "adjoint": Adjoint(),
    "naive": Naive(),
    "naive-steps": Naive(step_sizes=True),
    "mali": MALI(),
}


def find_gradient(gradient: str | GradientMethod) -> GradientMethod:
    """Return the gradient method called ``gradient``; an object passes through.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if isinstance(gradient, str):
        if gradient not in GRADIENTS:
            names = ", ".join(repr(name) for name in GRADIENTS)
            raise ValueError(f"`gradient` must be one of {names}, or an object like ACA(...); got {gradient!r}")
        return GRADIENTS[gradient]
    if not callable(getattr(gradient, "solve", None)) or isinstance(gradient, type):
        raise TypeError(f"`gradient` must be a name or an object like ACA(), got {gradient!r}")
    return gradient
