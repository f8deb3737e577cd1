"""The forward solve: from what is asked and how it is to be walked to the record of the steps taken."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from physode.autograd import is_differentiated
from physode.problem.dynamics import Dynamics
from physode.problem.problem import Problem
from physode.solvers.callbacks import EventDetector, Monitor, Observer, Watch
from physode.solvers.checkpoints import CheckpointedTrace
from physode.solvers.clock import Number
from physode.solvers.loop import integrate, walk_grid
from physode.solvers.trace import EVERY_NODE, NodeStore, SavePolicy, Trace
from physode.typing import Progress

__all__ = ["Plan", "forward"]


@dataclass(frozen=True)
class Plan:
    """How a problem is walked.

    Attributes
    ----------
    dense
        Whether every step's interpolant is kept.
    nodes
        Whether every step's state is kept, to be replayed; else, with shared steps, only those that outputs need.
    constant_sizes
        Whether step sizes are constants to the gradient, also where the loop runs with gradients.
    recorder
        Told of every attempt.
    detector
        Looks into accepted attempts for events, and may end groups earlier.
    progress, monitor, max_seconds
        Who watches the solve, and how long it may take.
    round_watch
        Watches one round of a solve with events in their stead.
    traces
        The records of bounded memory of the rounds so far, which share it.
    """

    dense: bool = False
    nodes: bool = True
    constant_sizes: bool = False
    recorder: Observer | None = None
    detector: EventDetector | None = None
    progress: Progress | None = None
    monitor: Monitor | None = None
    max_seconds: float = math.inf
    round_watch: Watch | None = None
    traces: list[CheckpointedTrace] = field(default_factory=list)

    @property
    def watched(self) -> bool:
        """Whether anyone watches the solve, or it may not take as long as it likes."""
        return self.progress is not None or self.monitor is not None or self.max_seconds < math.inf

    def watch(self) -> Watch | None:
        """Return what a loop asks after each attempt."""
        if self.round_watch is not None:
            return self.round_watch
        return Watch(self.progress, self.monitor, self.max_seconds) if self.watched else None


def forward(problem: Problem, plan: Plan, *, dynamics: Dynamics | None = None, store: NodeStore = EVERY_NODE) -> Trace:
    """Take the steps of a problem that has been started; gradients flow as the caller's grad mode says.

    Parameters
    ----------
    dynamics
        The right-hand side, by default the problem's own.
    store
        Takes the steps, and keeps of them what the pass back needs.

    Returns
    -------
    Trace
        The steps, with the times at which outputs are to be read.
    """
    rhs, detector = problem.dynamics if dynamics is None else dynamics, plan.detector
    assert problem.k0 is not None
    wanted = _save_policy(problem, plan)
    if detector is not None:
        detector.begin(problem, defers=store.defers and not (problem.per_sample or torch.is_grad_enabled()))
        wanted = detector.policy(wanted, problem, plan.dense)
    if problem.grid is not None:
        trace = walk_grid(
            rhs, problem.tableau, problem.grid, problem.y0, problem.k0,
            wanted=wanted, observer=plan.recorder, watch=plan.watch(), store=store, detector=detector,
        )  # fmt: skip
    else:
        assert problem.steps is not None
        trace = integrate(
            rhs, problem.steps, *_span(problem, plan), problem.y0, problem.k0,
            wanted=wanted, statistics=problem.statistics, observer=plan.recorder, watch=plan.watch(), store=store,
            skip=rhs.skip if rhs.skipping else None, detector=detector, constant_sizes=plan.constant_sizes,
        )  # fmt: skip
        rhs.moving = None
    trace.times = problem.t if detector is None else detector.end(rhs, problem.tableau, trace, problem.t)
    return trace


def _span(problem: Problem, plan: Plan) -> tuple[Number, Number]:
    """Return the first and the last time, floats where one clock runs without a graph."""
    t0, t1 = problem.t[0], problem.t[-1]
    differentiated = torch.is_grad_enabled() and (not plan.constant_sizes or is_differentiated(problem.t))
    if problem.per_sample or differentiated:
        return t0, t1
    return t0.item(), t1.item()


def _save_policy(problem: Problem, plan: Plan) -> SavePolicy:
    """Say which interpolants and states outputs need."""
    if plan.dense:
        return SavePolicy(None)
    if not problem.per_sample:
        direction = 1.0 if problem.t[-1] >= problem.t[0] else -1.0
        return SavePolicy((problem.t.detach() * direction).tolist(), direction, plan.nodes)
    at_ends = len(problem.t) == 2 or (problem.grid is not None and torch.equal(problem.grid.ends, problem.t[1:]))
    return SavePolicy([] if at_ends else None)
