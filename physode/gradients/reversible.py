r"""MALI (Zhuang et al. 2021): exact gradients without the trajectory, which is run backwards from its end.

A symmetric method's step of size :math:`-h` undoes its step of size :math:`h`,

.. math:: y_i = \psi(t_i + h_i, y_{i+1}, -h_i; \theta) ,

so that the backward pass needs of the forward pass no more than step sizes and the last state: each :math:`y_i` is
found again, and its step replayed and pulled back. That is ACA's gradient up to rounding. Rounding grows backwards as
the motion contracts forwards; the outputs' states, kept anyway, are taken as they are where the way back meets them,
and tell how far it has strayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.gradients.aca import pull_back_sequentially
from physode.gradients.outputs import Fetch, Outcome, clock, differentiable_fetch, fetch_recorded, read_outputs
from physode.gradients.replay import Cotangents, Gradients, Replay, Steps
from physode.problem.problem import Problem
from physode.solvers.clock import Grid
from physode.solvers.driver import Plan, forward
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import take_step
from physode.solvers.trace import Trace
from physode.status import Status

__all__ = ["MALI"]

_STRAYED = 1e-3
_FIRST_ORDER = "derivatives of MALI's gradients need gradient=ACA(memory='graph') or 'naive'"


@dataclass(frozen=True)
class MALI:
    """The memory-efficient ALF integrator's gradient, for methods that are symmetric in time.

    These are ``"alf"``, ``"leapfrog"``, ``"yoshida4"`` and ``"suzuki4"``. With shared steps memory does
    not grow with the number of steps but for two numbers a step; per-sample records keep their states.
    """

    def solve(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve the problem, its outputs differentiable where anything asks for gradients."""
        tableau = problem.tableau
        if not (isinstance(tableau, StepMethod) and tableau.symmetric):
            raise ValueError(
                f"`gradient` 'mali' needs `method` 'alf', 'leapfrog', 'yoshida4' or 'suzuki4', got {tableau.name!r}"
            )
        problem, plan = problem.started(), replace(plan, nodes=plan.dense)
        with torch.no_grad():
            record = forward(problem, plan)
        grid, fetch = clock(problem, record), fetch_recorded(record)
        if problem.needs_gradient:
            if bool((record.status != Status.SUCCESS).any()):
                with torch.no_grad():
                    raise SolveError(_unfinished(record), read_outputs(problem, plan, record, grid, fetch))
            fetch = _fetch(problem, record, grid)
        return read_outputs(problem, plan, record, grid, fetch)


def _unfinished(record: Trace) -> str:
    first = int((record.status.reshape(-1) != Status.SUCCESS).nonzero()[0])
    status, ended = Status(int(record.status.reshape(-1)[first])), float(record.ended.reshape(-1)[first])
    return (
        f"gradient='mali' needs a solve that reaches its end, this one stopped at t = {ended:.9g}: {status.reason}; "
        "gradient='aca' differentiates what was solved"
    )


def _fetch(problem: Problem, record: Trace, grid: Grid) -> Fetch:
    def back(starts: Tensor, sizes: Tensor, given: Cotangents, clock_too: bool) -> Gradients:
        replay = Replay.of(problem)
        with torch.no_grad():
            replay.confirm(problem)
        steps = Steps(_Undone(replay, record.nodes, starts, sizes), starts, sizes)
        return pull_back_sequentially(replay, steps, given, [None] * len(replay.inputs), clock_too=clock_too)

    return differentiable_fetch(back, problem, record, grid, message=_FIRST_ORDER)


class _Undone(Sequence[Tensor]):
    """The states between steps, asked for from the last to the first: kept, or found again by steps backwards."""

    def __init__(self, replay: Replay, nodes: Sequence[Tensor], starts: Tensor, sizes: Tensor) -> None:
        self._replay, self._nodes, self._starts, self._sizes = replay, nodes, starts, sizes
        self._at, self._state = len(nodes) - 1, nodes[-1]

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, node: Any) -> Any:
        while self._at > node:
            self._at -= 1
            self._state = self._before(self._at, self._state)
        return self._state

    def _before(self, i: int, after: Tensor) -> Tensor:
        """Return the state at the start of step ``i``, which ends in the state ``after``."""
        kept = self._nodes[i] if self._nodes[i].numel() else None
        if kept is not None and self._nodes[i + 1].numel():
            return kept
        t, h = self._starts[i], self._sizes[i]
        dynamics = self._replay.dynamics
        if dynamics.skipping:
            dynamics.skip(h != 0)
        with torch.no_grad():
            before = take_step(dynamics, self._replay.tableau, t + h, after, -h).y
        if kept is None:
            return before
        strayed = float((before - kept).abs().max() / kept.abs().max().clamp(min=1e-300))
        if not strayed <= _STRAYED:
            raise RuntimeError(
                f"the trajectory run backwards has strayed by {strayed:.2g} of the state at t = {float(t.max()):.6g}, "
                "as it does where motion contracts: use gradient='aca', or ask for outputs between, which are kept"
            )
        return kept
