"""The integration loops: adaptive steps, shared or per sample, and steps on a given grid.

A loop knows nothing of gradients: under ``torch.no_grad`` it makes the record that ACA and the adjoint method start
from; with gradients enabled the same operations are the naive method's graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from physode.rhs_state import Statistics
from physode.solvers.callbacks import EventDetector, Observer, Watch
from physode.solvers.clock import (
    N,
    Number,
    Verdict,
    anywhere,
    detached,
    expand,
    isfinite,
    logical_not,
    maximum,
    where,
)  # fmt: skip
from physode.solvers.grid import Grid
from physode.solvers.interpolation import DeferredInterpolants
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs, Step
from physode.solvers.step_control import (
    Adaptive,
    attempt,
    first_size,
    like_clock,
    next_step,
    tensor_beside,
    underflow,
)
from physode.solvers.trace import EVERY_NODE, NodeStore, SavePolicy, Trace
from physode.status import Status

__all__ = ["integrate", "walk_grid"]


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
    record = _begin(y0, t0, t1, store)
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


def walk_grid(
    rhs: Rhs,
    tableau: Method,
    grid: Grid,
    y0: Tensor,
    k0: Tensor | None,
    *,
    wanted: SavePolicy,
    watch: Watch | None = None,
    observer: Observer | None = None,
    store: NodeStore = EVERY_NODE,
    detector: EventDetector | None = None,
) -> Trace:
    """Take the steps of a grid, without error control. ``k0`` is the derivative at the start, where it is known.

    Where the ``detector`` stops a group, its step is shortened, and the rest of the grid is left; the record's ``grid``
    has the steps as they were taken.
    """
    record = _begin(y0, grid.starts[0], grid.ends[-1], store)
    count, ended = len(grid.starts), grid.ends[-1].detach()
    y, k = y0, k0 if count else None
    taken: list[Grid] = []
    moving = torch.ones_like(ended, dtype=torch.bool)
    for i, whole in enumerate(grid.rows() if detector is None else _rows_with_graph(grid)):
        part = t, h, end = whole if detector is None else _shortened(whole, moving, detector)
        if observer is not None:
            observer.before(t, y, h)
        redone: Tensor | int = 0
        while True:
            step, _ = store.take(rhs, tableau, t, y, h, k, with_end=False)
            if detector is None:
                break
            goes = moving & (h != 0)
            held = goes & ~_looked_into(detector, rhs, tableau, y, part, whole.ends, step, goes)
            if not bool(held.any()):
                break
            redone = redone + held
            part = t, h, end = _shortened(whole, moving, detector)
        more = tableau.fsal and i + 1 < count
        y, k, dense = store.finish(rhs, tableau, t, y, h, end, step, None, with_end=more, dense=wanted.inside(t, end))
        record.append(t, h, end, y, dense)
        record.thin(wanted)
        if detector is not None:
            record.count(goes.long(), torch.zeros_like(ended, dtype=torch.int64) + redone)
            taken.append(part)
            moving = moving & torch.isnan(detector.stop).reshape(ended.shape)
        if observer is not None and observer.after(record, True):
            record.end(moving, int(Status.SUCCESS), end)
            break
        if watch is not None and (reason := watch.after(record, end, h, torch.full_like(end, (i + 1) / count), True)):
            record.end((end != ended) & moving, reason, end)
            break
        if detector is not None and not bool(moving.any()):
            break
    if detector is None:
        sizes = grid.sizes[: len(record)]
        record.count((sizes != 0).sum(0), torch.zeros_like(record.rejected))
    record.grid = _cut(grid, len(record)) if detector is None else _stacked(taken, grid)
    record.close()
    return record


def _rows_with_graph(grid: Grid) -> Iterator[Grid]:
    rows = grid.rows()
    while True:
        with torch.enable_grad():  # whoever records the steps
            row = next(rows, None)
        if row is None:
            return
        yield row


def _looked_into(
    detector: EventDetector, rhs: Rhs, tableau: Method, y: Tensor, part: Grid, ends: Tensor, step: Step, goes: Tensor
) -> Tensor:
    """Return which groups keep their step."""
    as_numbers = detector.defers  # so that steps can wait
    start, size, end, last = (value.item() if as_numbers else value for value in (*part, ends.detach()))
    given = bool(goes) if as_numbers else goes
    kept, _ = detector.look(rhs, tableau, start, y, size, end, step, None, given, last)
    return torch.as_tensor(kept, device=goes.device)


def _shortened(part: Grid, moving: Tensor, detector: EventDetector) -> Grid:
    """End a step where its group is to end; a group that stands still has steps of size 0."""
    stop = detector.target.reshape(moving.shape)
    stopped = ~torch.isnan(stop)
    if not bool(stopped.any()):
        return part
    with torch.enable_grad():
        starts = torch.where(moving, part.starts, stop)
        ends = torch.where(stopped, stop, part.ends)
        return Grid(starts, torch.where(stopped, ends - starts, part.sizes), ends)


def _cut(grid: Grid, steps: int) -> Grid:
    return Grid(*(part[:steps] for part in grid)) if steps < len(grid.starts) else grid


def _stacked(taken: Sequence[Grid], grid: Grid) -> Grid:
    with torch.enable_grad():
        return Grid(*(torch.stack(parts) for parts in zip(*taken, strict=True))) if taken else grid


def _begin(y0: Tensor, t0: Number, t1: Number, store: NodeStore) -> Trace:
    """Return an empty record; groups count as successful, arriving at the end, until they fail."""
    ended = tensor_beside(t1, y0).detach().clone()
    record = store.open(y0, torch.zeros_like(ended, dtype=torch.int8), ended)
    if isinstance(t0, Tensor):
        none = torch.zeros_like(ended, dtype=torch.int64)
        record.count(none, none)
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
