"""The naive method: back-propagation through the solver's own operations."""

from __future__ import annotations

from dataclasses import dataclass

from physode.gradients.outputs import Outcome, clock, fetch_recorded, read_outputs
from physode.problem.problem import Problem
from physode.transforms import is_differentiated, is_mapped

__all__ = ["Direct", "Empty", "Naive"]


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


@dataclass(frozen=True)
class Direct:
    """Run the loop's own operations under the transform, with steps that are constants, as ACA has it.

    Under ``vmap`` all mapped solves share their steps: the largest of their errors decides.
    """

    def solve(self, problem: Problem) -> Outcome:
        """Solve the problem.

        Raises
        ------
        ValueError
            If mapped solves would need clocks of their own.
        """
        times = [problem.t] if problem.grid is None else [problem.t, *problem.grid]
        differentiated = any(is_differentiated(time) for time in times)
        if problem.steps is not None and (problem.per_sample or differentiated):
            return _own_clocks(problem)
        if differentiated:
            return Naive().solve(problem)
        problem.start(keep_graph=True)
        problem.constant_sizes = True
        record = problem.integrate()
        return read_outputs(problem, record, clock(problem, record), fetch_recorded(record))


def _own_clocks(problem: Problem) -> Outcome:
    """Solve with steps that carry derivatives or are chosen for each sample, which cannot be mapped."""
    problem.start(keep_graph=True)
    assert problem.k0 is not None
    if is_mapped(problem.y0) or is_mapped(problem.k0):
        raise ValueError(
            "torch.func.vmap cannot map adaptive solves with step_control='per-sample' or with differentiated times: "
            "map one with shared steps or with `step_size`, or put the mapped axis into the batch of 'per-sample'"
        )
    return Naive().solve(problem)


@dataclass(frozen=True)
class Empty:
    """Stands in for every gradient method where a state is empty; gradients of what ``f`` depends on are 0."""

    def solve(self, problem: Problem) -> Outcome:
        """Solve the problem; without samples there is no step, and the first evaluation alone leads to parameters."""
        outcome = Naive().solve(problem)
        assert problem.k0 is not None
        return outcome._replace(outputs=outcome.outputs + 0.0 * problem.k0)
