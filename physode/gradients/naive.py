"""The naive method: back-propagation through the solver's own operations."""

from __future__ import annotations

from dataclasses import dataclass, replace

from physode.autograd import is_differentiated, is_mapped
from physode.gradients.outputs import Outcome, clock, fetch_recorded, read_outputs
from physode.problem.problem import Problem
from physode.solvers.driver import Plan, forward

__all__ = ["Empty", "Naive", "Transformed"]


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

    @property
    def any_order(self) -> bool:
        """Whether gradients can be differentiated in turn, also where an implicit function theorem stands between."""
        return True

    def solve(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve the problem, its outputs differentiable."""
        return _by_operations(problem.started(keep_graph=True), replace(plan, constant_sizes=not self.step_sizes))


@dataclass(frozen=True)
class Transformed:
    """Differentiate by whatever is at work: torch.func's transforms, forward mode, derivatives of any order.

    The loop's own operations run under the transform, with steps that are constants, as ACA has it. Under ``vmap`` all
    mapped solves share their steps: the largest of their errors decides.
    """

    def solve(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve the problem.

        Raises
        ------
        ValueError
            If mapped solves would need clocks of their own.
        """
        problem = problem.started(keep_graph=True)
        assert problem.k0 is not None
        own_clocks = problem.steps is not None and (problem.per_sample or is_differentiated(problem.t))
        if own_clocks and (is_mapped(problem.y0) or is_mapped(problem.k0)):
            raise ValueError(
                "torch.func.vmap cannot map adaptive solves with step_control='per-sample' or with differentiated "
                "times: map one with shared steps or with `step_size`, or put the mapped axis into the batch of "
                "'per-sample'"
            )
        return _by_operations(problem, replace(plan, constant_sizes=True))


@dataclass(frozen=True)
class Empty:
    """Stands in for every gradient method where a state has no components, or a batch no samples.

    Nothing is kept, replayed or solved backwards; gradients of what ``f`` depends on are 0.
    """

    def solve(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve the problem; without samples there is no step, and the first evaluation alone leads to parameters."""
        problem = problem.started(keep_graph=True)
        assert problem.k0 is not None
        outcome = _by_operations(problem, replace(plan, constant_sizes=True))
        return outcome._replace(outputs=outcome.outputs + 0.0 * problem.k0)


def _by_operations(problem: Problem, plan: Plan) -> Outcome:
    """Run the loop with the graph of all that it does."""
    problem = replace(problem, dynamics=replace(problem.dynamics, any_order=True))
    trace = forward(problem, plan)
    return read_outputs(problem, plan, trace, clock(problem, trace), fetch_recorded(trace))
