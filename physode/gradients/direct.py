"""Differentiation by whatever is at work: torch.func's transforms, forward mode, derivatives of any order."""

from __future__ import annotations

from dataclasses import dataclass

from physode.gradients.naive import Naive
from physode.gradients.steps import Outcome, clock, fetch_recorded, read_outputs
from physode.problem import Problem
from physode.transforms import is_differentiated, is_mapped

__all__ = ["Direct"]


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
