"""The naive method: back-propagation through the solver's own operations."""

from __future__ import annotations

from dataclasses import dataclass

from physode.gradients.steps import Outcome, clock, fetch_recorded, read_outputs
from physode.problem import Problem

__all__ = ["Naive"]


@dataclass(frozen=True)
class Naive:
    """Differentiate the solver's own operations: memory and depth of the graph grow with every step.

    Derivatives of any order.

    Attributes
    ----------
    step_sizes
        Whether the search for step sizes is differentiated, too, rejected attempts included, as Zhuang et al. 2020
        (Sect. 3.3) have the naive method (``gradient="naive-steps"``). By default step sizes are constants, and the
        gradient is that of the accepted steps. The derivative of the search is none of the solution's: it is as small
        as the tolerance where the right-hand side is smooth, and without bounds where it has kinks or jumps.
    """

    step_sizes: bool = False

    def solve(self, problem: Problem) -> Outcome:
        """Solve the problem, its outputs differentiable."""
        problem.start(keep_graph=True)
        problem.constant_sizes = not self.step_sizes
        record = problem.integrate()
        return read_outputs(problem, record, clock(problem, record), fetch_recorded(record))
