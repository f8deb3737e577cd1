"""Grids of steps that are given beforehand, and the walk along one, without error control."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from physode.solvers.callbacks import EventDetector, Observer, Watch
from physode.solvers.clock import Grid
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs, Step
from physode.solvers.trace import EVERY_NODE, NodeStore, SavePolicy, Trace
from physode.status import Status

__all__ = ["count_of_steps", "grid_of_step_size", "grid_of_times", "longest_span", "steps_of_size", "walk_grid"]


def grid_of_times(times: Tensor) -> Grid:
    """Return the steps from each time to the next."""
    return Grid(times[:-1], times.diff(dim=0), times[1:])


def grid_of_step_size(t0: Tensor, t1: Tensor, step_size: float, max_steps: int) -> Grid:
    """Return steps of one size from ``t0`` to ``t1``; the last may be shorter. Raises as :func:`count_of_steps`."""
    return steps_of_size(t0, t1, step_size, count_of_steps(longest_span(t0, t1), step_size, max_steps))


def longest_span(t0: Tensor, t1: Tensor) -> float:
    """Return the longest time of all groups from ``t0`` to ``t1``."""
    span = (t1 - t0).detach().abs()
    return float(span.max()) if span.numel() else 0.0


def count_of_steps(span: float, step_size: float, max_steps: int) -> int:
    """Return how many steps of one size a span of time takes.

    Raises
    ------
    ValueError
        If the step size is not positive, or makes more than ``max_steps`` steps.
    """
    if not (step_size > 0.0 and math.isfinite(step_size)):
        raise ValueError(f"`step_size` must be positive and finite, got {step_size}")
    longest = span / step_size
    if longest > max_steps:
        raise ValueError(
            f"`step_size` {step_size} makes {longest:.3g} steps, more than `max_steps` {max_steps}; raise one of them"
        )
    return max(1, math.ceil(longest * (1 - 1e-12)))


def steps_of_size(t0: Tensor, t1: Tensor, step_size: float, count: int) -> Grid:
    """Return so many steps of one size from ``t0``, those that would pass ``t1`` shortened to end there."""
    span = (t1 - t0).detach()
    counts = torch.arange(count + 1, dtype=torch.float64, device=t0.device)
    offsets = counts.reshape(-1, *[1] * t0.ndim) * step_size
    inner = torch.minimum(offsets, span.abs()) * torch.sign(span)
    arrived = offsets * (1 + 1e-12) >= span.abs()
    return grid_of_times(torch.where(arrived, t1, t0 + inner))


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
    record = store.begin(y0, grid.starts[0], grid.ends[-1])
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
