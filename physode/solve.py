"""The front door: solve an initial value problem, differentiably."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from physode.autograd import collected, is_mapped, transformed
from physode.compiled.unrolled import solve_traced
from physode.errors import SolveError
from physode.events.event import NO_EVENTS, Event, Events, Found, checked_events
from physode.events.jumps import checked_jump_times
from physode.gradients import ACA, GradientMethod, find_gradient
from physode.gradients.naive import Empty, Transformed
from physode.gradients.outputs import Outcome
from physode.problem.checks import pose
from physode.problem.packing import as_state
from physode.problem.problem import Problem
from physode.sink import Sink, as_sink, solve_into, step_by_step
from physode.solution import Solution, answer, raise_failures
from physode.solvers.callbacks import Monitor, checked_seconds
from physode.solvers.driver import Plan
from physode.solvers.method import Method
from physode.solvers.online_output import Receiver
from physode.solvers.recorder import recorder_of
from physode.solvers.step_control import Controller
from physode.typing import Norm, Progress

__all__ = ["solve"]


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
    sample_args: bool | Sequence[bool] | None = None,
    controller: Controller | None = None,
    norm: Norm | None = None,
    gradient: str | GradientMethod = "aca",
    dense: bool = False,
    throw: bool = True,
    compile: bool | Literal["auto"] = "auto",  # noqa: A002 - torch.compile's word
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
        The initial state: a floating or complex tensor of any shape, or a tuple, list or dict of tensors. Numbers,
        lists of numbers and arrays become tensors in double precision, or of the array's own.
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
        unstable, rodas5p's. Between steps, a very stiff component that something drives is known only as well as the
        steps are short; keep ``max_step`` below the driving's time scale. ``"leapfrog"``, ``"yoshida4"`` and
        ``"suzuki4"`` take fixed steps that are symplectic, for separable ``f``; ``"alf"`` adapts steps that can be
        undone, for any ``f``. Or a :class:`~physode.solvers.tableaus.Tableau`.
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
        backward. It must take each sample by itself, in batches of any size: no batch norm, nothing in it with one row
        a sample but those ``args`` that ``sample_args`` tells of.
    sample_args
        With ``skip_finished``, which of the ``args`` have one row a sample: True, False, or one of these for each.
    controller
        The step-size controller, :func:`~physode.solvers.step_control.Predictive` by default.
    norm
        The norm of the error divided by its tolerance, on a state's structure; accepted up to 1. By default the root
        mean square; over a batch or several parts, the largest.
    gradient
        ``"aca"``, ``"adjoint"``, ``"naive"``, ``"naive-steps"`` (which differentiates the choice of step sizes, too, as
        the papers' naive method does), or an object with options (:class:`~physode.ACA`,
        :class:`~physode.Adjoint`, :class:`~physode.Naive`). ``"mali"`` undoes the steps of ``"alf"`` and of the
        symplectic methods: ACA's gradient with memory that does not grow with the number of steps.
    dense
        Keep every step's interpolant, so that the solution can be called at any time inside the span.
    throw
        Raise where the solve or any sample fails; else return what was solved, with the status.
    compile
        Whether the whole solve, and its pass back, run as one kernel that is compiled from ``f``: tens to hundreds of
        times faster for small systems, after a second or two of compiling for each code of ``f``, method and dtype;
        kept on disk for later. ``"auto"``: where a kernel is at hand, or once solves like this one have taken as long
        as compiling does; with ``PHYSODE_COMPILE=never`` in the environment, never. True: now, with one warning where
        it cannot be done and the solve goes on without. False: never. Kernels take the same steps and give the same
        answers to rounding (``docs/fused.md``).
    record
        Functions ``(t, y)`` by name, evaluated at every accepted step without gradients: ``sol.recorded[name]`` has
        their times and values, while states are not kept; a jump has two rows. ``"invariants"`` records what ``f``
        conserves, such as energy, momentum and angular momentum of :class:`~physode.rhs.NBody`.
    progress
        Called with the finished fraction of the span.
    jac
        For implicit methods: df/dy as ``jac(t, y, *args)``, ``(D, D)`` for a state of D components in all, or with
        per-sample steps ``(batch, D, D)``; for gradients it must be differentiable. By default automatic
        differentiation finds it, by D pull-backs in one batch.
    jac_structure
        For implicit methods, what is known of df/dy: ``"dense"``; ``"samples"``, that elements of the leading axis
        do not act on one another, although they share steps; ``"diagonal"`` or ``("banded", lower, upper)``, which
        spares most pull-backs, and takes time and memory of the band alone; it is held against ``f`` where the solve
        starts, as ``jac`` is. With shared steps and ``"dense"`` the whole state has one matrix: large batches need
        per-sample steps or ``"samples"``.
    events
        An :class:`~physode.Event` or several, found while solving: recorded in ``sol.events``, or terminal, or with a
        ``jump`` of the state behind which the solve starts anew. Their times and states have gradients. Where ``f`` is
        discontinuous at an event, each side sees its own ``f``, and gradients pass it.
    jump_t
        Times at which ``f`` is known to be discontinuous, ``(n,)``: steps end there, and ``f`` is evaluated on the
        side that a step lies on.
    monitor
        Called after each accepted step with a :class:`~physode.Moment`: fraction, time, step size, steps
        and rejected attempts so far. Where it returns True the solve ends there as ``Status.STOPPED``.
    max_seconds
        Wall-clock time after which the solve ends as ``Status.OUT_OF_TIME``, asked after each attempt.
    sink
        A file, or a :class:`~physode.Sink`, that outputs are written to as they are reached, in the layout of
        ``docs/data.md``; none is kept in memory, and ``y`` of the solution is None, without gradients, unless
        ``Sink(..., keep=True)``. With events, outputs are written round by round, and the events are in the solution,
        not in the file.

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
    if torch.compiler.is_dynamo_compiling() or torch.compiler.is_exporting():
        unused = {
            "dense": dense, "record": record is not None, "events": bool(events), "jump_t": jump_t is not None,
            "sink": sink is not None, "monitor": monitor is not None, "max_seconds": max_seconds is not None,
            "progress": progress is not None, "skip_finished": skip_finished, "jac": jac is not None,
        }  # fmt: skip
        return solve_traced(
            f, y0, t, args=args, method=method, step_size=step_size, grid=grid, step_control=step_control,
            gradient=gradient, throw=throw, max_steps=max_steps, others=unused,
        )  # fmt: skip
    y0 = as_state(y0)
    gradient_method = find_gradient(gradient)
    if not (compile is True or compile is False or compile == "auto"):
        raise ValueError(f"`compile` must be True, False or 'auto', got {compile!r}")
    if isinstance(t, Tensor) and is_mapped(t):
        raise ValueError(
            "`t` cannot be mapped by torch.func.vmap; give times of shape (time, batch) to 'per-sample' steps"
        )
    if (events or jump_t is not None) and any(isinstance(x, Tensor) and is_mapped(x) for x in (y0, *args)):
        _refuse_mapped(
            sink=sink is not None, skip_finished=skip_finished, sample_args=sample_args not in (None, False),
            dense=dense, record=record is not None, step_control=step_control != "shared",
        )  # fmt: skip
        if compile is True:
            _warn_uncompiled("the solve itself is being transformed by torch.func")
        return _mapped(f, y0, t, args, checked_events(events), options={
            "method": method, "rtol": rtol, "atol": atol, "step_size": step_size, "grid": grid, "throw": throw,
            "first_step": first_step, "min_step": min_step, "max_step": max_step, "max_steps": max_steps,
            "controller": controller, "norm": norm, "gradient": gradient, "jac": jac, "jac_structure": jac_structure,
            "jump_t": jump_t, "monitor": monitor, "progress": progress, "max_seconds": max_seconds,
        })  # fmt: skip
    problem = pose(
        f, y0, t, args=args, method=method, rtol=rtol, atol=atol, step_size=step_size, grid=grid,
        first_step=first_step, min_step=min_step, max_step=max_step, max_steps=max_steps, step_control=step_control,
        skip_finished=skip_finished, sample_args=sample_args,
        controller=controller, norm=norm, finite=throw or step_control == "shared",
        jac=jac, jac_structure=jac_structure,
    )  # fmt: skip
    if not problem.y0.numel():
        gradient_method, compile = Empty(), False  # noqa: A001
    elif transformed():
        if compile is True:
            _warn_uncompiled("the solve itself is being transformed by torch.func")
        gradient_method, compile = Transformed(), False  # noqa: A001
    for name, callback in (("monitor", monitor), ("progress", progress)):
        if callback is not None and not callable(callback):
            raise TypeError(f"`{name}` must be callable with one argument, got {type(callback).__name__}")
    recorder = None if record is None else recorder_of(record, f, problem.dynamics)
    limit = math.inf if max_seconds is None else checked_seconds(max_seconds)
    plan = Plan(dense=dense, recorder=recorder, progress=progress, monitor=monitor, max_seconds=limit)
    wanted = () if events == () else checked_events(events)
    stored = sink is not None and not as_sink(sink).keep
    in_rounds = bool(wanted) or jump_t is not None

    def solved(outcome: Outcome, found: Events) -> Solution:
        recorded = {} if recorder is None else recorder.found()
        return answer(t, problem, outcome, found, recorded, dense=dense, plans=plans, stored=stored)

    try:
        events_found = NO_EVENTS
        with collected() as plans:
            if in_rounds:
                outcome, events_found = _with_events(problem, plan, gradient_method, wanted, jump_t, compile, sink)
            elif sink is not None:
                outcome = solve_into(
                    problem,
                    plan,
                    as_sink(sink),
                    lambda problem, plan, receiver: (
                        gradient_method.solve(problem, plan)
                        if receiver is None
                        else step_by_step(problem, plan, receiver)
                    ),
                    compiled=compile,
                )
            else:
                outcome = (
                    gradient_method.solve(problem, plan)
                    if compile is False
                    else _compiled(problem, plan, gradient_method, compile)
                )
    except SolveError as error:
        if isinstance(error.solution, Outcome | Found):
            error.solution = solved(*_parts(error.solution))
        raise
    solution = solved(outcome, events_found)
    if throw:
        raise_failures(outcome.record, solution)
    return solution


def _refuse_mapped(**given: bool) -> None:
    """Raise where an argument is given that a solve with events under ``torch.func.vmap`` cannot do with."""
    refused = [f"`{name}`" for name, is_given in given.items() if is_given]
    if refused:
        raise ValueError(
            f"torch.func.vmap maps solves with events and shared steps, without {', '.join(refused)}: leave it out, or "
            "put the mapped axis into the batch of step_control='per-sample' instead"
        )


def _mapped(
    f: Callable[..., Any], y0: Any, t: Any, args: Sequence[Any], events: Sequence[Event], *, options: dict[str, Any]
) -> Solution:
    """Solve under ``torch.func.vmap`` with events: the mapped axis is a batch with a clock a sample."""
    from physode.events.mapped import Mapped

    mapped = Mapped(y0, args)
    solution = solve(
        mapped.over_samples(f), mapped.y0, t, args=mapped.args, events=mapped.events(events),
        step_control="per-sample", **mapped.options(options),
    )  # fmt: skip
    return mapped.put_back(solution)


def _parts(found: Outcome | Found) -> Found:
    return found if isinstance(found, Found) else Found(found, NO_EVENTS)


def _warn_uncompiled(reason: str) -> None:
    warnings.warn(f"solving without compilation: {reason}", RuntimeWarning, stacklevel=4)


def _with_events(
    problem: Problem,
    plan: Plan,
    gradient_method: GradientMethod,
    events: Sequence[Event],
    jump_t: Any,
    when: Any,
    sink: Sink | str | os.PathLike[str] | None,
) -> Found:
    from physode.events.rounds import solve_with_events

    times = None if jump_t is None else checked_jump_times(jump_t, problem.y0.device)
    if sink is None:
        if when is True:
            _warn_uncompiled("events and `jump_t` are not compiled")
        return solve_with_events(problem, plan, gradient_method, events, times)
    found = NO_EVENTS

    def solved(problem: Problem, plan: Plan, receiver: Receiver | None) -> Outcome:
        nonlocal found
        outcome, found = solve_with_events(problem, plan, gradient_method, events, times, receiver)
        return outcome

    return Found(solve_into(problem, plan, as_sink(sink), solved, compiled=when), found)


def _compiled(problem: Problem, plan: Plan, gradient_method: GradientMethod, when: Any) -> Outcome:
    from physode.fused import choice  # the engine takes a while to import

    aca = gradient_method if isinstance(gradient_method, ACA) else None
    try:
        return choice.solve_with(problem, plan, when, gradient_method.solve, aca=aca)
    except choice.Unsupported as error:
        reason = problem.engine.reason = str(error)
    if _has_graphs(problem):
        from physode.compiled.choice import solve_with

        return solve_with(problem, plan, when, gradient_method.solve, aca=aca)
    if choice.is_news(problem, reason):
        _warn_uncompiled(reason)
    return gradient_method.solve(problem, plan)


def _has_graphs(problem: Problem) -> bool:
    """Whether a loop that is no single kernel can still run without its host: as CUDA graphs."""
    return problem.y0.is_cuda
