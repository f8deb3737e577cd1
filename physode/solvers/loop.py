"""The integration loops: adaptive steps, shared or per sample, and steps on a given grid.

A loop knows nothing of gradients: under ``torch.no_grad`` it makes the record that ACA and the adjoint method start
from; with gradients enabled the same operations are the naive method's graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from physode.modules import Statistics
from physode.solvers.controllers import Control, Controller
from physode.solvers.grid import Grid
from physode.solvers.groups import expand
from physode.solvers.initial_step import initial_step
from physode.solvers.later import Later
from physode.solvers.method import Method
from physode.solvers.norms import error_ratio, scale_of
from physode.solvers.numbers import (
    Number,
    anywhere,
    clamp,
    detached,
    is_shared,
    isfinite,
    logical_not,
    maximum,
    sign,
    where,
)  # fmt: skip
from physode.solvers.observer import Lookout, Observer
from physode.solvers.stepper import Rhs, Step, local_errors
from physode.solvers.taker import PLAIN, Taker
from physode.solvers.trajectory import Trajectory, Wanted
from physode.solvers.watch import Watch
from physode.status import Status
from physode.transforms import plain
from physode.typing import Norm

__all__ = ["Adaptive", "attempt", "integrate", "march", "propose", "stuck"]

_STRETCH = 0.999  # a last step may be this much shorter than what remains: no sliver is left behind it
_RESOLUTION = 4 * torch.finfo(torch.float64).eps
_SMALLEST_SHARE = 1e-30  # of the span: ends a failing start at t = 0, where the clock resolves anything


@dataclass(frozen=True)
class Adaptive:
    """What decides the steps of an adaptive solve."""

    tableau: Method
    controller: Controller
    norm: Norm
    rtol: Tensor | float
    atol: Tensor | float
    first_step: float | None = None
    min_step: float = 0.0
    max_step: float | None = None
    max_steps: int = 100_000

    def with_tolerances(self, rtol: Tensor | float, atol: Tensor | float) -> Adaptive:
        """Return the same choices with other tolerances."""
        return replace(self, rtol=rtol, atol=atol)


def integrate(
    rhs: Rhs,
    steps: Adaptive,
    t0: Number,
    t1: Number,
    y0: Tensor,
    k0: Tensor,
    *,
    wanted: Wanted,
    statistics: Statistics,
    watch: Watch | None = None,
    observer: Observer | None = None,
    taker: Taker = PLAIN,
    skip: Callable[[Number], None] | None = None,
    lookout: Lookout | None = None,
    keep: Callable[..., Trajectory] = Trajectory,
) -> Trajectory:
    """Integrate from ``t0`` to ``t1`` with steps that keep the local error within the tolerance.

    Times are floats for a shared clock without a graph, else tensors, one value a group. Each attempt is a step for
    every group; a group that rejects its attempt, has arrived or has failed keeps its time and state. ``k0`` is the
    derivative at the start. The ``observer`` sees each attempt and may end the solve; so may the ``watch``, with a
    status of its own; the ``taker`` takes the steps; ``skip`` is told which groups move, before each attempt; the
    ``lookout`` may hold an attempt back, to have its group end earlier; ``keep`` makes the record.

    Returns
    -------
    Trajectory
        With a status per group; never raises on a failing solution.
    """
    tableau = steps.tableau
    record = _begin(y0, t0, t1, keep)
    active = _finite_start(record, _like(t0, steps.norm(k0)), t0)
    control = steps.controller.start(_first_size(rhs, steps, t0, t1, y0, k0, statistics))
    steps = steps.with_tolerances(*(_tolerance(value, y0) for value in (steps.rtol, steps.atol)))
    later = Later(rhs, tableau, y0)
    t, y, k, length = t0, y0, k0, t1 - t0
    for _ in range(steps.max_steps):
        if not anywhere(active):
            break
        before = statistics.snapshot()
        if skip is not None:
            skip(active)
        size, h, t_next = propose(steps, control, t, t1, active)
        if observer is not None:
            observer.before(t, y, h)
        step, k_end, error = attempt(rhs, steps, t, y, h, k, taker)
        error = _like(t, error)
        accepted = steps.controller.accepts(error, size) & active
        rejected = active & logical_not(accepted)
        control = steps.controller.next(control, error, size, accepted, tableau.error_order)
        if lookout is None:
            record.count(accepted, rejected)
        else:
            passed = accepted
            accepted, t1 = lookout.look(rhs, tableau, t, y, h, t_next, step, k_end, accepted, t1)
            record.count(accepted, rejected | (passed & logical_not(accepted)))

        some = anywhere(accepted)
        if some:
            t_from, y_from = t, y
            t, y = _select(accepted, t_next, t), _select(accepted, step.y, y)
            h = _select(accepted, h, 0.0)
            active = active & (t != t1)
            inside = wanted.inside(t_from, t)
            waits = inside and later.useful and record.defers and taker is PLAIN
            more = k_end is None and (waits or anywhere(active))
            y, k_end, dense = taker.finish(
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
        del step, k_end  # a rejected attempt's graph goes before the next one's is made
        lost, floor = stuck(steps, size, rejected, active, t, t0, t1)
        if anywhere(lost):
            record.end(lost, where(isfinite(error), int(Status.STEP_UNDERFLOW), int(Status.NON_FINITE)), t)
            active = active & logical_not(lost)
        if anywhere(rejected):
            control = control._replace(size=maximum(control.size, floor))
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


def march(
    rhs: Rhs,
    tableau: Method,
    grid: Grid,
    y0: Tensor,
    k0: Tensor | None,
    *,
    wanted: Wanted,
    watch: Watch | None = None,
    observer: Observer | None = None,
    taker: Taker = PLAIN,
    keep: Callable[..., Trajectory] = Trajectory,
) -> Trajectory:
    """Take the steps of a grid, without error control. ``k0`` is the derivative at the start, where it is known."""
    record = _begin(y0, grid.starts[0], grid.ends[-1], keep)
    count = len(grid.starts)
    y, k = y0, k0 if count else None
    for i, (t, h, end) in enumerate(grid.rows()):
        if observer is not None:
            observer.before(t, y, h)
        step, _ = taker.take(rhs, tableau, t, y, h, k, with_end=False)
        more = tableau.fsal and i + 1 < count
        y, k, dense = taker.finish(rhs, tableau, t, y, h, end, step, None, with_end=more, dense=wanted.inside(t, end))
        record.append(t, h, end, y, dense)
        record.thin(wanted)
        if observer is not None and observer.after(record, True):
            record.ended = end.detach().clone()
            break
        if watch is not None and (reason := watch.after(record, end, h, torch.full_like(end, (i + 1) / count), True)):
            record.end(end != grid.ends[-1], reason, end)
            break
    taken = grid.sizes[: len(record)] != 0
    record.count(taken.sum(0), torch.zeros_like(record.rejected))
    record.close()
    return record


def _begin(y0: Tensor, t0: Number, t1: Number, keep: Callable[..., Trajectory]) -> Trajectory:
    """Return an empty record; groups count as successful, arriving at the end, until they fail."""
    ended = _tensor(t1, y0).detach().clone()
    record = keep(nodes=[y0], status=torch.zeros_like(ended, dtype=torch.int8), ended=ended)
    if isinstance(t0, Tensor):
        record.accepted = record.rejected = torch.zeros_like(ended, dtype=torch.int64)
    return record


def _like(t: Number, value: Tensor) -> Number:
    """Return one value a group as the clock's kind of number; for floats, the one look at the device in an attempt."""
    return value if isinstance(t, Tensor) else float(plain(value).max())


def _tensor(value: Number, y: Tensor) -> Tensor:
    """Return a clock's number as a tensor beside ``y``."""
    return value if isinstance(value, Tensor) else torch.full((), value, dtype=torch.float64, device=y.device)


def _tolerance(value: Tensor | float, y: Tensor) -> Tensor:
    """Return a tolerance as a tensor in the state's precision, which multiplies faster than a number does."""
    return value if isinstance(value, Tensor) else y.real.new_full((), value)


def _finite_start(record: Trajectory, derivative_size: Number, t0: Number) -> Number:
    """End the groups whose derivative is not finite at the start; return those that go on."""
    good = isfinite(detached(derivative_size))
    record.end(logical_not(good), int(Status.NON_FINITE), t0)
    return good


def _first_size(
    rhs: Rhs, steps: Adaptive, t0: Number, t1: Number, y0: Tensor, k0: Tensor, statistics: Statistics
) -> Number:
    start, span = _tensor(t0, y0), _tensor(t1 - t0, y0)
    if steps.first_step is not None:
        return _like(t0, torch.full_like(span, steps.first_step).minimum(span.abs()))
    with statistics.preserved():
        size = initial_step(
            rhs,
            t=start,
            y=y0,
            k=k0,
            span=span,
            order=steps.tableau.error_order,
            rtol=steps.rtol,
            atol=steps.atol,
            norm=steps.norm,
        )
    return _like(t0, size)


def propose(steps: Adaptive, control: Control, t: Number, t1: Number, active: Number) -> tuple[Number, Number, Number]:
    """Return the attempt's size, signed size and end; the last step lands on the end time exactly."""
    direction = detached(sign(t1 - t))
    remaining = direction * (t1 - t)
    proposed = control.size
    if steps.min_step > 0.0 or steps.max_step is not None:
        proposed = clamp(proposed, steps.min_step, steps.max_step)
    is_last = proposed >= _STRETCH * remaining
    size = where(is_last, remaining, proposed)
    if not is_shared(active):
        size = where(active, size, 0.0)
    h = direction * size
    return size, h, where(is_last, t1, t + h)


def attempt(
    rhs: Rhs, steps: Adaptive, t: Number, y: Tensor, h: Number, k: Tensor, taker: Taker = PLAIN
) -> tuple[Step, Tensor | None, Tensor]:
    """Return a step, the derivative at its end if the error estimate needs it, and the error ratio."""
    step, k_end = taker.take(rhs, steps.tableau, t, y, h, k, with_end=steps.tableau.fsal)
    ks = step.ks if k_end is None else (*step.ks, k_end)
    scale = scale_of(y, step.y, steps.rtol, steps.atol)
    return step, k_end, error_ratio(local_errors(steps.tableau, h, ks), scale, steps.norm)


def stuck(
    steps: Adaptive, size: Number, rejected: Number, active: Number, t: Number, t0: Number, t1: Number
) -> tuple[Number, Number]:
    """Return which groups can go no further, and the smallest step size worth a try.

    That is ``min_step`` or the clock's resolution. A step as small is the last of a group if it was rejected; one
    within the resolution is, accepted or not: an approach to a pole by ever smaller steps ends.
    """
    finest = maximum(_RESOLUTION * abs(detached(t)), _SMALLEST_SHARE * abs(detached(t1 - t0)))
    floor = clamp(finest, low=steps.min_step)
    return active & (size <= where(rejected, floor, finest)), floor


def _select(accepted: Number, new: Number, old: Number) -> Number:
    """Take ``new`` where accepted. A shared verdict is positive here: no graph of a rejected state is kept."""
    return new if is_shared(accepted) else torch.where(expand(accepted, new.ndim), new, old)
