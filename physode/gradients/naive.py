"""The naive method: back-propagation through everything the solver did."""

from __future__ import annotations

from dataclasses import dataclass

from physode.gradients.steps import Outcome, clock, fetch_recorded, read_outputs
from physode.problem import Problem

__all__ = ["Naive"]


@dataclass(frozen=True)
class Naive:
    """Differentiate the solver's own operations: accepted steps, rejected attempts and the search for step sizes.

    Memory and depth of the graph grow with every attempt (Zhuang et al. 2020, Sect. 3.3). Derivatives of any order.
    """

    def solve(self, problem: Problem) -> Outcome:
        """Solve the problem, its outputs differentiable."""
        problem.start(keep_graph=True)
        record = problem.integrate()
        return read_outputs(problem, record, clock(problem, record), fetch_recorded(record))
