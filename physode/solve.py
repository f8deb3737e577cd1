"""The front door: solve an initial value problem, differentiably."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from physode.dynamics import Dynamics
from physode.errors import SolveError
from physode.events.event import Event, checked_events
from physode.events.found import Events
from physode.events.stops import checked_jump_times
from physode.gradients import ACA, GradientMethod, find_gradient
from physode.gradients.direct import Direct
from physode.gradients.steps import Outcome, StepTable
from physode.gradients.steps import Recorded as StepsTaken
from physode.modules import Statistics
from physode.packing import Packing
from physode.problem import (
    Problem,
    checked_state,
    checked_times,
    checked_tolerance,
    default_norm,
    make_dynamics,
    user_norm,
)
from physode.recording import Recorded, recorder_of
from physode.sink import Sink, solve_into
from physode.solution import Solution, Stats
from physode.solvers.controllers import Controller, Predictive
from physode.solvers.grid import Grid, grid_of_step_size, grid_of_times
from physode.solvers.implicit.structure import structure_of
from physode.solvers.loop import Adaptive
from physode.solvers.method import Method, StepMethod
from physode.solvers.methods import find_method
from physode.solvers.watch import Monitor, checked_seconds
from physode.status import Status, failed
from physode.transforms import is_mapped, transformed
from physode.typing import Norm, Progress

__all__ = ["pose", "raise_failures", "solve"]

_TOLERANCES = {torch.float64: (1e-6, 1e-9), torch.float32: (1e-5, 1e-7)}
_COARSE = (1e-2, 1e-3)  # half precision


def solve(
    f: Callable[..., Any],
    y0: Any,
    t: Tensor | Sequence[float],
    *,
    args: Sequence[Any] = (),
    method: str | Method = "dopri5",
    rtol: float | Tensor | None = None,
    atol: float | Tensor | None = None,
    step_size: float | None = None,
    grid: Tensor | None = None,
    first_step: float | None = None,
    min_step: float = 0.0,
    max_step: float | None = None,
    max_steps: int = 100_000,
    step_control: Literal["shared", "per-sample"] = "shared",
    skip_finished: bool = False,
    controller: Controller | None = None,
    norm: Norm | None = None,
    gradient: str | GradientMethod = "aca",
    dense: bool = False,
    throw: bool = True,
    compile: bool | Literal["auto"] = False,  # noqa: A002 - torch.compile's word
    record: Mapping[str, Callable[..., Any]] | Literal["invariants"] | None = None,
    progress: Progress | None = None,
    jac: Callable[..., Any] | None = None,
    jac_structure: Any = "dense",
    events: Event | Sequence[Event] = (),
    jump_t: Tensor | Sequence[float] | None = None,
    monitor: Monitor | None = None,
    max_seconds: float | None = None,
    sink: Sink | str | os.PathLike[str] | None = None,
) -> Solution:
    r"""Solve :math:`dy/dt = f(t, y)`, :math:`y(t_0) = y_0`, with gradients.

    Parameters
    ----------
    f
        The right-hand side, ``f(t, y, *args)``: a module or any callable in PyTorch. With shared steps ``t`` is
        0-dimensional; with per-sample steps it is shaped ``(batch, 1, ..., 1)`` to broadcast against ``y``.
    y0
        The initial state: a floating or complex tensor of any shape, or a tuple, list or dict of tensors.
    t
        Output times, at least two, strictly rising or falling; the first is the initial time. ``(time,)``, or with
        per-sample steps also ``(time, batch)``.
    args
        Further inputs of ``f``; gradients reach those tensors that require them.
    method
        ``"euler"``, ``"midpoint"``, ``"heun"``, ``"rk4"`` take fixed steps; ``"heun_euler"``, ``"bosh3"``,
        ``"dopri5"``, ``"tsit5"``, ``"dopri8"`` adapt them. For stiff problems: ``"rodas5p"``
        (Rosenbrock, the first to try), ``"radau5"`` (Hairer & Wanner's RADAU5, for small tolerances), ``"kencarp5"``,
        ``"kvaerno3"`` (diagonally implicit) adapt their steps,
        ``"implicit_euler"``, ``"implicit_midpoint"``, ``"trapezoid"``, ``"sdirk2"``, ``"trbdf2"``, ``"radauIIA3"``,
        ``"radauIIA5"``, ``"gl4"``, ``"gl6"`` take fixed ones. ``"auto"`` takes tsit5's steps and, where these would be
        unstable, rodas5p's. ``"leapfrog"`` and ``"yoshida4"`` take fixed steps that are symplectic, for separable
        ``f``; ``"alf"`` adapts steps that can be undone, for any ``f``. Or a
        :class:`~physode.solvers.tableaus.Tableau`.
    rtol, atol
        Relative and absolute tolerance of the local error, each a number or one a component. By default 1e-6 and 1e-9
        for double precision, 1e-5 and 1e-7 for single.
    step_size
        Fixed steps of this size, with any method. Fixed-step methods without it step from output to output.
    grid
        The steps' ends themselves, from ``t[0]`` to ``t[-1]``, ``(steps + 1,)``; no error control.
    first_step, min_step, max_step, max_steps
        Bounds of adaptive steps: the first size (by default Hairer's choice), the smallest and largest size, and the
        number of attempts.
    step_control
        ``"shared"``: one step size for the whole state, as in the papers. ``"per-sample"``: the leading axis of
        ``y0`` is a batch whose samples have their own clocks, step sizes and status, independent of one another.
    skip_finished
        With per-sample steps, leave samples that have arrived or failed out of evaluations of ``f``, forward and
        backward. It must take each sample by itself, in batches of any size: no batch norm, no ``args``, nothing in it
        with one row a sample.
    controller
        The step-size controller, :func:`~physode.solvers.controllers.Predictive` by default;
        :func:`~physode.solvers.controllers.Predictive` rejects fewer steps.
    norm
        The norm of the error divided by its tolerance, on a state's structure; accepted up to 1. By default the root
        mean square; over a batch or several parts, the largest.
    gradient
        ``"aca"``, ``"adjoint"``, ``"naive"``, or an object with options (:class:`~physode.ACA`,
        :class:`~physode.Adjoint`, :class:`~physode.Naive`). ``"mali"`` undoes the steps of ``"alf"``, ``"leapfrog"``
        and ``"yoshida4"``: ACA's gradient with memory that does not grow with the number of steps.
    dense
        Keep every step's interpolant, so that the solution can be called at any time inside the span.
    throw
        Raise where the solve or any sample fails; else return what was solved, with the status.
    compile
        Solve by programs that are compiled once for a right-hand side, method and shape, and used again by every such
        solve: many times faster for small systems, after seconds to a minute of compiling. ``"auto"`` compiles once
        solves of a kind have taken longer than that, as in fits. Where it cannot be done (control flow on values, batch
        norm in training, complex states, gradients other than ACA's) the solve goes on without, with one warning.
    record
        Functions ``(t, y)`` by name, evaluated at every accepted step without gradients: ``sol.recorded[name]`` has
        their times and values, while states are not kept. ``"invariants"`` records what ``f`` conserves, such as
        energy, momentum and angular momentum of :class:`~physode.rhs.NBody`.
    progress
        Called with the finished fraction of the span.
    jac
        For implicit methods: df/dy as ``jac(t, y, *args)``, ``(D, D)`` for a state of D components in all, or with
        per-sample steps ``(batch, D, D)``; for gradients it must be differentiable. By default automatic
        differentiation finds it, by D pull-backs in one batch.
    jac_structure
        For implicit methods, what is known of df/dy: ``"dense"``; ``"samples"``, that elements of the leading axis
        do not act on one another, although they share steps; ``"diagonal"`` or ``("banded", lower, upper)``, which
        spares most pull-backs. With shared steps and ``"dense"`` the whole state has one matrix: large batches need
        per-sample steps or ``"samples"``.
    events
        An :class:`~physode.Event` or several, found while solving: recorded in ``sol.events``, or terminal, or with a
        ``jump`` of the state behind which the solve starts anew. Their times and states have gradients.
    jump_t
        Times at which ``f`` is known to be discontinuous, ``(n,)``: steps end there, and ``f`` is evaluated on the
        side that a step lies on.
    monitor
        Called after each accepted step with a :class:`~physode.solvers.watch.Moment`: fraction, time, step size, steps
        and rejected attempts so far. Where it returns True the solve ends there as ``Status.STOPPED``.
    max_seconds
        Wall-clock time after which the solve ends as ``Status.OUT_OF_TIME``, asked after each attempt.
    sink
        A file, or a :class:`~physode.Sink`, that outputs are written to as they are reached, in the layout of
        ``docs/data.md``; none is kept in memory, and ``y`` of the solution is None. Without gradients only.

    Returns
    -------
    Solution
        With ``y`` of shape ``(time, *y0.shape)``. Gradients reach ``y0``, ``t``, ``args`` and every parameter that
        ``f`` uses, registered or not.

    Raises
    ------
    SolveError
        If the solve, or a sample, ended early and ``throw`` is set: reason, time and sample, and as its attribute
        ``solution`` what was solved.
    ValueError, TypeError
        For arguments that cannot be used, before any long work.

    Examples
    --------
    >>> import torch, physode as po
    >>> sol = po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0])
    >>> round(float(sol.y[-1]), 4)
    0.3679
    """
    way = find_gradient(gradient)
    if isinstance(t, Tensor) and is_mapped(t):
        raise ValueError(
            "`t` cannot be mapped by torch.func.vmap; give times of shape (time, batch) to 'per-sample' steps"
        )
    problem = pose(
        f, y0, t, args=args, method=method, rtol=rtol, atol=atol, step_size=step_size, grid=grid,
        first_step=first_step, min_step=min_step, max_step=max_step, max_steps=max_steps, step_control=step_control,
        skip_finished=skip_finished, controller=controller, norm=norm, dense=dense,
        finite=throw or step_control == "shared", progress=progress,
        jac=jac, jac_structure=jac_structure,
    )  # fmt: skip
    problem.monitor, problem.max_seconds = monitor, checked_seconds(max_seconds)
    recorder = problem.observer = recorder_of(record, f, problem.dynamics)
    wanted = checked_events(events)
    in_pieces = bool(wanted) or jump_t is not None
    bounded = isinstance(way, ACA) and way.checkpoints is not None
    _check_together(
        in_pieces,
        {
            "skip_finished": skip_finished,
            "record": record is not None,
            "sink": sink is not None,
            "monitor": monitor is not None,
            "max_seconds": max_seconds is not None,
            "ACA(checkpoints)": bounded,
        },
    )

    def solved(outcome: Outcome, found: Events) -> Solution:
        recorded = {} if recorder is None else recorder.found()
        return _solution(t, problem, outcome, found, recorded, stored=sink is not None)

    try:
        found = Events()
        if sink is not None:
            outcome = _into(problem, _as_sink(sink), compile, t)
        elif in_pieces:
            outcome, found = _solve_with_events(problem, way, wanted, jump_t, compile)
        elif transformed():
            if compile is True:
                _warn_uncompiled("the solve itself is being transformed by torch.func")
            outcome = Direct().solve(problem)
        else:
            outcome = way.solve(problem) if compile is False else _compiled(problem, way, compile)
    except SolveError as error:
        if isinstance(error.solution, Outcome):
            error.solution = solved(error.solution, Events())
        raise
    solution = solved(outcome, found)
    if throw:
        raise_failures(outcome.record, solution)
    return solution


def _check_together(in_pieces: bool, others: Mapping[str, bool]) -> None:
    """Refuse what events and known discontinuities do not go together with."""
    if not in_pieces:
        return
    if transformed():
        raise ValueError("`events` and `jump_t` cannot be used under torch.func or in forward mode; use backward()")
    for name, given in others.items():
        if given:
            raise ValueError(f"`{name}` and `events` or `jump_t` do not go together; leave one out")


def _into(problem: Problem, sink: Sink, when: Any, t: Any) -> Outcome:
    if when is True:
        raise ValueError("`sink` takes outputs step by step, which compiled programs do not give: leave out `compile`")
    steps = problem.steps
    about: dict[str, Any] = {"method": problem.tableau.name}
    if steps is not None:
        about.update(rtol=_plain(steps.rtol), atol=_plain(steps.atol))
    shared = not (isinstance(t, Tensor) and t.ndim == 2)
    return solve_into(problem, sink, about=about, shared_times=shared)


def _warn_uncompiled(reason: str) -> None:
    warnings.warn(f"solving without compilation: {reason}", RuntimeWarning, stacklevel=4)


def _solve_with_events(
    problem: Problem, way: GradientMethod, events: Sequence[Event], jump_t: Any, when: Any
) -> tuple[Outcome, Events]:
    from physode.events.solving import solve_with_events

    if when is True:
        _warn_uncompiled("events and `jump_t` are not compiled")
    times = None if jump_t is None else checked_jump_times(jump_t, problem.y0.device)
    return solve_with_events(problem, way, events, times)


def _as_sink(sink: Any) -> Sink:
    if isinstance(sink, Sink):
        return sink
    if isinstance(sink, str | os.PathLike):
        return Sink(sink)
    raise TypeError(f"`sink` must be the name of a file or a Sink, got {type(sink).__name__}")


def _plain(tolerance: Tensor | float) -> Any:
    return tolerance.detach().tolist() if isinstance(tolerance, Tensor) else tolerance


def _compiled(problem: Problem, way: GradientMethod, when: Any) -> Outcome:
    if not (when is True or when == "auto"):
        raise ValueError(f"`compile` must be True, False or 'auto', got {when!r}")
    from physode.compiled.choice import solve_with  # the compiler takes a while to import

    return solve_with(problem, when, lambda: way.solve(problem), aca=way if isinstance(way, ACA) else None)


def pose(
    f: Callable[..., Any],
    y0: Any,
    t: Tensor | Sequence[float],
    *,
    args: Any = (),
    method: str | Method = "dopri5",
    rtol: float | Tensor | None = None,
    atol: float | Tensor | None = None,
    step_size: float | None = None,
    grid: Tensor | None = None,
    first_step: float | None = None,
    min_step: float = 0.0,
    max_step: float | None = None,
    max_steps: int = 100_000,
    step_control: str = "shared",
    skip_finished: bool = False,
    controller: Controller | None = None,
    norm: Norm | None = None,
    dense: bool = False,
    finite: bool = True,
    progress: Progress | None = None,
    jac: Callable[..., Any] | None = None,
    jac_structure: Any = "dense",
) -> Problem:
    """Check the arguments of :func:`solve` and make the problem that a gradient method works on."""
    tableau = find_method(method)
    if step_control not in ("shared", "per-sample"):
        raise ValueError(f"`step_control` must be 'shared' or 'per-sample', got {step_control!r}")
    if not callable(f):
        raise TypeError(f"`f` must be callable as f(t, y, *args), got {type(f).__name__}")
    if isinstance(args, Tensor):
        raise TypeError("`args` must be a tuple of further inputs, got a tensor; write args=(tensor,)")
    per_sample = step_control == "per-sample"
    if per_sample and isinstance(y0, Tensor) and y0.ndim == 0:
        raise ValueError("`y0` needs a leading batch axis with step_control='per-sample', got a 0-dimensional tensor")
    if skip_finished and (args or not per_sample):
        raise ValueError(
            "`skip_finished` needs step_control='per-sample' and no `args`, whose rows would belong to samples; "
            f"got {step_control!r} and {len(args)} args"
        )
    packing = Packing.of(y0, per_sample=per_sample)
    state = checked_state(y0, packing, finite=finite)
    times = checked_times(t, batch=len(state) if per_sample else None, device=state.device)
    steps, given = _steps(
        tableau, packing, state, times, rtol, atol, step_size, grid, first_step, min_step, max_step, max_steps,
        controller, norm,
    )  # fmt: skip
    dynamics = make_dynamics(f, tuple(args), packing, state, times, skipping=skip_finished)
    if isinstance(tableau, StepMethod):
        if skip_finished:
            raise ValueError(f"`skip_finished` is for explicit methods; `method` is {tableau.name!r}")
        if steps is not None:
            tableau = tableau.prepared(rtol=steps.rtol, atol=steps.atol)
            steps = replace(steps, tableau=tableau)
        dynamics = _with_jacobian(dynamics, jac, jac_structure)
    elif jac is not None or jac_structure != "dense":
        raise ValueError(f"`jac` and `jac_structure` are for implicit methods; `method` is {tableau.name!r}")
    problem = Problem(
        dynamics=dynamics,
        tableau=tableau,
        y0=state,
        t=times,
        steps=steps,
        grid=given,
        keep_dense=dense,
        statistics=Statistics(f),
        progress=progress,
        step_size=step_size,
    )
    return tableau.posed(problem) if isinstance(tableau, StepMethod) else problem


def _with_jacobian(dynamics: Dynamics, jac: Any, hint: Any) -> Dynamics:
    """Return the right-hand side with what is known of its Jacobian."""
    if jac is not None and not callable(jac):
        raise TypeError(f"`jac` must be callable as jac(t, y, *args), got {type(jac).__name__}")
    if jac is not None and dynamics.packing.keys is not None:
        raise ValueError("`jac` needs a state `y0` of one tensor; leave it out, and it is found automatically")
    return replace(dynamics, jac=jac, structure=structure_of(hint))


def _steps(
    tableau: Method,
    packing: Packing,
    y0: Tensor,
    t: Tensor,
    rtol: float | Tensor | None,
    atol: float | Tensor | None,
    step_size: float | None,
    grid: Tensor | None,
    first_step: float | None,
    min_step: float,
    max_step: float | None,
    max_steps: int,
    controller: Controller | None,
    norm: Norm | None,
) -> tuple[Adaptive | None, Grid | None]:
    """Decide between adaptive steps and a grid, and check what belongs to each."""
    default_rtol, default_atol = _TOLERANCES.get(_real(y0.dtype), _COARSE)
    relative, absolute = checked_tolerance("rtol", rtol, default_rtol), checked_tolerance("atol", atol, default_atol)
    for name, value in (("first_step", first_step), ("max_step", max_step)):
        if value is not None and not (value > 0.0 and math.isfinite(value)):
            raise ValueError(f"`{name}` must be positive and finite, got {value}")
    if not (min_step >= 0.0 and math.isfinite(min_step)):
        raise ValueError(f"`min_step` must be at least 0 and finite, got {min_step}")
    if max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1, got {max_steps}")
    if grid is not None:
        if step_size is not None:
            raise ValueError("give `grid` or `step_size`, not both")
        ends = checked_times(grid, batch=len(y0) if packing.per_sample else None, device=y0.device)
        if not torch.equal(ends.detach()[[0, -1]], t.detach()[[0, -1]]):
            raise ValueError("`grid` must start at t[0] and end at t[-1]")
        return None, grid_of_times(torch.cat([t[:1], ends[1:-1], t[-1:]]))
    if step_size is not None:
        return None, grid_of_step_size(t[0], t[-1], float(step_size), max_steps)
    if not tableau.adaptive:
        return None, grid_of_times(t)
    return Adaptive(
        tableau=tableau,
        controller=Predictive() if controller is None else controller,
        norm=default_norm(packing) if norm is None else user_norm(norm, packing),
        rtol=relative,
        atol=absolute,
        first_step=first_step,
        min_step=min_step,
        max_step=max_step,
        max_steps=max_steps,
    ), None


def _real(dtype: torch.dtype) -> torch.dtype:
    return {torch.complex128: torch.float64, torch.complex64: torch.float32}.get(dtype, dtype)


def raise_failures(record: StepsTaken, solution: Solution | None = None) -> None:
    """Raise :class:`SolveError` if any group of the record failed; it carries the ``solution``."""
    status, ended = record.status.reshape(-1), record.ended.reshape(-1)
    bad = failed(status).nonzero().flatten().tolist()
    if not bad:
        return
    first = bad[0]
    reason = Status(int(status[first])).reason
    if record.status.ndim == 0:
        raise SolveError(f"the solve stopped at t = {float(ended[first]):.9g}: {reason}", solution)
    others = f" ({len(bad)} of {len(status)} samples failed)" if len(bad) > 1 else ""
    raise SolveError(
        f"sample {first} stopped at t = {float(ended[first]):.9g}: {reason}{others}; "
        "throw=False returns the other samples and a status for each",
        solution,
    )


def _solution(
    t: Any,
    problem: Problem,
    outcome: Outcome,
    events: Events,
    recorded: dict[str, Recorded],
    *,
    stored: bool = False,
) -> Solution:
    record, packing = outcome.record, problem.dynamics.packing
    ends = torch.cat([problem.t[:1].detach(), record.clock().ends.detach()])
    by_method = problem.tableau.attempts() if isinstance(problem.tableau, StepMethod) else {}
    forward_calls, backward = problem.dynamics.calls, problem.backward  # not the problem, which holds the state
    return Solution(
        t=t if isinstance(t, Tensor) else problem.t,
        y=None if stored else packing.unpack(outcome.outputs, leading=1),
        status=record.status,
        ended=record.ended,
        stats=Stats(record.accepted, record.rejected, forward_calls, lambda: backward.calls, by_method),
        step_times=ends,
        recorded=recorded,
        _dense=None if outcome.table is None else _Reader(problem, outcome.table),
        events=events,
    )


class _Reader:
    """Evaluates a table of steps at any time."""

    def __init__(self, problem: Problem, table: StepTable) -> None:
        self._packing, self._table, self._per_sample = problem.dynamics.packing, table, problem.per_sample
        self._ends = problem.t.detach()[[0, -1]]

    def __call__(self, t: Tensor) -> Any:
        times = t.reshape(1) if t.ndim == 0 else t
        if self._per_sample and times.ndim == 1:
            times = times[:, None].expand(-1, self._ends.shape[1])
        low, high = self._ends.amin(0), self._ends.amax(0)
        outside = (times.detach() < low) | (times.detach() > high) | torch.isnan(times.detach())
        if bool(outside.any()):
            raise ValueError(
                f"`t` must lie inside the solved span from {float(low.min()):g} to {float(high.max()):g}, "
                f"got {float(times.detach()[outside][0]):g}"
            )
        values = self._packing.unpack(self._table.read(times), leading=1)
        if t.ndim:
            return values
        return self._packing.like([part[0] for part in self._packing_parts(values)])

    def _packing_parts(self, values: Any) -> list[Tensor]:
        return [values] if self._packing.keys is None else [values[key] for key in self._packing.keys]
