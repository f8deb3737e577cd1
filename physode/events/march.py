"""Steps on a grid under watch: where a group is stopped, its step is shortened and the rest of the grid is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from physode.events.detection import Detector
from physode.solvers.attempt import Taker
from physode.solvers.callbacks import Observer, Watch
from physode.solvers.clock import Number
from physode.solvers.grid import Grid
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs
from physode.solvers.trace import SavePolicy, Trace
from physode.status import Status

__all__ = ["march_watched"]


def march_watched(
    rhs: Rhs,
    tableau: Method,
    grid: Grid,
    y0: Tensor,
    k0: Tensor,
    search: Detector,
    *,
    wanted: SavePolicy,
    taker: Taker,
    observer: Observer | None = None,
    watch: Watch | None = None,
    keep: Callable[..., Trace] = Trace,
) -> tuple[Trace, Grid]:
    """Take the steps of a grid; return the record and the grid as it was taken, with its graph."""
    ended = grid.ends[-1].detach().clone()
    record = keep(nodes=[y0], status=torch.zeros_like(ended, dtype=torch.int8), ended=ended)
    record.accepted = record.rejected = torch.zeros_like(ended, dtype=torch.int64)
    moving, y = torch.ones_like(ended, dtype=torch.bool), y0
    k: Tensor | None = k0
    taken: list[Grid] = []
    with torch.enable_grad():  # rows of the clock keep its graph, whoever records the steps
        planned = [Grid(*part) for part in zip(*grid, strict=True)]
    for i, whole in enumerate(planned):
        part = _cut(whole, moving, search, ended)
        if observer is not None:
            observer.before(part.starts, y, part.sizes)
        redone = torch.zeros_like(ended, dtype=torch.int64)
        while True:
            step, _ = taker.take(rhs, tableau, part.starts, y, part.sizes, k, with_end=False)
            goes, ends = moving & (part.sizes != 0), whole.ends.detach()
            clock: Sequence[Number] = (*part, goes, ends)
            if search.defers:  # as numbers, so that steps can wait
                clock = [value.item() for value in clock]
            start, size, end, taken_too, last = clock
            kept, _ = search.look(rhs, tableau, start, y, size, end, step, None, taken_too, last)
            held = goes & ~torch.as_tensor(kept, device=goes.device)
            if not bool(held.any()):
                break
            redone += held
            part = _cut(whole, moving, search, ended)
        dense = wanted.inside(part.starts, part.ends)
        more = tableau.fsal and i + 1 < len(grid.starts)
        y, k, coefficients = taker.finish(
            rhs, tableau, part.starts, y, part.sizes, part.ends, step, None, with_end=more, dense=dense
        )
        record.append(part.starts, part.sizes, part.ends, y, coefficients)
        record.thin(wanted)
        record.count(goes.long(), redone)
        taken.append(part)
        moving = moving & torch.isnan(search.stop).reshape(ended.shape)
        if observer is not None and observer.after(record, True):
            record.end(moving, int(Status.SUCCESS), part.ends)
            break
        done = torch.full_like(ended, (i + 1) / len(grid.starts))
        if watch is not None and (reason := watch.after(record, part.ends, part.sizes, done, True)):
            record.end(moving & (part.ends != ended), reason, part.ends)
            break
        if not bool(moving.any()):
            break
    record.close()
    return record, _joined(taken, grid)


def _cut(part: Grid, moving: Tensor, search: Detector, ended: Tensor) -> Grid:
    """End a step where its group is to end; a group that stands still has steps of size 0."""
    stop = search.target.reshape(ended.shape)
    stopped = ~torch.isnan(stop)
    if not bool(stopped.any()):
        return part
    with torch.enable_grad():
        starts = torch.where(moving, part.starts, stop)
        ends = torch.where(stopped, stop, part.ends)
        return Grid(starts, torch.where(stopped, ends - starts, part.sizes), ends)


def _joined(taken: list[Grid], grid: Grid) -> Grid:
    with torch.enable_grad():
        return Grid(*(torch.stack(parts) for parts in zip(*taken, strict=True))) if taken else grid
