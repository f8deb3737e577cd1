"""The forward solve: from what is asked and how it is to be walked to the record of the steps taken.

The loop knows nothing of gradients: under ``torch.no_grad`` it makes the record that ACA and the adjoint method start
from; with gradients enabled the same operations are the naive method's graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from physode.autograd import is_differentiated
from physode.problem.dynamics import Dynamics
from physode.problem.problem import Problem
from physode.rhs_state import Statistics
from physode.solvers.callbacks import EventDetector, Monitor, Observer, Watch
from physode.solvers.checkpoints import CheckpointedTrace
from physode.solvers.clock import (
    N,
    Number,
    Verdict,
    anywhere,
    detached,
    expand,
    isfinite,
    like_clock,
    logical_not,
    maximum,
    where,
)
from physode.solvers.grid import walk_grid
from physode.solvers.interpolation import DeferredInterpolants
from physode.solvers.runge_kutta import Rhs, Step
from physode.solvers.step_control import Adaptive, attempt, first_size, next_step, underflow
from physode.solvers.trace import EVERY_NODE, NodeStore, SavePolicy, Trace
from physode.status import Status
from physode.typing import Progress

__all__ = ["Plan", "forward", "integrate"]


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


def integrate(
    rhs: Rhs,
    steps: Adaptive,
    t0: Number,
    t1: Number,
    y0: Tensor,
    k0: Tensor,
    *,
    wanted: SavePolicy,
    statistics: Statistics,
    watch: Watch | None = None,
    observer: Observer | None = None,
    store: NodeStore = EVERY_NODE,
    skip: Callable[[Verdict], None] | None = None,
    detector: EventDetector | None = None,
    constant_sizes: bool = False,
) -> Trace:
    """Integrate from ``t0`` to ``t1`` with steps that keep the local error within the tolerance.

    Times are floats for a shared clock without a graph, else tensors, one value a group. Each attempt is a step for
    every group; a group that rejects its attempt, has arrived or has failed keeps its time and state. ``k0`` is the
    derivative at the start. The ``observer`` sees each attempt and may end the solve; so may the ``watch``, with a
    status of its own; the ``store`` takes the steps and makes the record; ``skip`` is told which groups move, before
    each attempt; the ``detector`` may hold an attempt back, to have its group end earlier. With ``constant_sizes`` no
    gradient flows through the choice of step sizes.

    Returns
    -------
    Trace
        With a status per group; never raises on a failing solution.
    """
    tableau = steps.tableau
    record = store.begin(y0, t0, t1)
    active = _finite_start(record, like_clock(t0, steps.norm(k0)), t0)
    size = first_size(rhs, steps, t0, t1, y0, k0, statistics)
    control = steps.controller.start(detached(size) if constant_sizes else size)
    steps = steps.with_tolerances(*(_tolerance(value, y0) for value in (steps.rtol, steps.atol)))
    later = DeferredInterpolants(rhs, tableau, y0)
    t, y, k, length = t0, y0, k0, t1 - t0
    for _ in range(steps.max_steps):
        if not anywhere(active):
            break
        before = statistics.snapshot()
        if skip is not None:
            skip(active)
        size, h, t_next = next_step(steps, control, t, t1, active)
        if observer is not None:
            observer.before(t, y, h)
        step, k_end, ratio = attempt(rhs, steps, t, y, h, k, store)
        error = like_clock(t, detached(ratio) if constant_sizes else ratio)
        accepted = steps.controller.accepts(error, size) & active
        rejected = active & logical_not(accepted)
        control = steps.controller.next(control, error, size, accepted, tableau.error_order)
        if detector is None:
            record.count(accepted, rejected)
        else:
            passed = accepted
            accepted, t1 = detector.look(rhs, tableau, t, y, h, t_next, step, k_end, accepted, t1)
            record.count(accepted, rejected | (passed & logical_not(accepted)))

        some = anywhere(accepted)
        if some:
            t_from, y_from = t, y
            t, y = _select(accepted, t_next, t), _select(accepted, step.y, y)
            h = _select(accepted, h, 0.0)
            active = active & (t != t1)
            inside = wanted.inside(t_from, t)
            waits = inside and later.useful and store.defers
            more = k_end is None and (waits or anywhere(active))
            y, k_end, dense = store.finish(
                rhs, tableau, t_from, y_from, h, t, step._replace(y=y), k_end, with_end=more, dense=inside and not waits
            )
            record.append(t_from, h, t, y, dense)
            if waits:
                assert k_end is not None
                later.add(record, h, Step(y, step.ks), k_end)
            record.thin(wanted)
            k = k if k_end is None else _select(accepted, k_end, k)
        else:
            statistics.restore(before)
        del step, k_end, ratio  # a rejected attempt's graph goes before the next one's is made
        lost, floor = underflow(steps, size, rejected, active, t, t0, t1)
        if anywhere(lost):
            record.end(lost, where(isfinite(error), int(Status.STEP_UNDERFLOW), int(Status.NON_FINITE)), t)
            active = active & logical_not(lost)
        if anywhere(rejected):
            control = control._replace(size=maximum(control.size, floor))
        if steps.left is not None and bool((spent := active & (record.accepted + record.rejected >= steps.left)).any()):
            record.end(spent, int(Status.MAX_STEPS), t)
            active = active & logical_not(spent)
        if observer is not None and observer.after(record, some):
            record.end(active, int(Status.SUCCESS), t)
            active = active & False
        if watch is not None and (reason := watch.after(record, t, h, (t - t0) / length, some)):
            record.end(active, reason, t)
            active = active & False
    later.fill(record)
    record.end(active, int(Status.MAX_STEPS), t)
    record.finish(control.size)
    record.close()
    return record


def _tolerance(value: Tensor | float, y: Tensor) -> Tensor:
    """Return a tolerance as a tensor in the state's precision, which multiplies faster than a number does."""
    return value if isinstance(value, Tensor) else y.real.new_full((), value)


def _finite_start(record: Trace, derivative_size: Number, t0: Number) -> Verdict:
    """End the groups whose derivative is not finite at the start; return those that go on."""
    good = isfinite(detached(derivative_size))
    record.end(logical_not(good), int(Status.NON_FINITE), t0)
    return good


def _select(accepted: Verdict, new: N, old: N) -> N:
    """Take ``new`` where accepted. A shared verdict is positive here: no graph of a rejected state is kept."""
    if isinstance(accepted, Tensor) and accepted.ndim and isinstance(new, Tensor):
        return torch.where(expand(accepted, new.ndim), new, old)
    return new
