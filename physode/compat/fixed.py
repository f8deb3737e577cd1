"""Fixed-step methods: the engine's walk of a grid, or an Adams method's, over a grid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from physode.compat.adams import Adams
from physode.compat.adaptive import between
from physode.compat.errors import InvalidArgument
from physode.compat.setup import Setup
from physode.solvers.callbacks import Observer
from physode.solvers.grid import Grid, grid_of_step_size, grid_of_times
from physode.solvers.loop import walk_grid
from physode.solvers.trace import SavePolicy, Trace

__all__ = ["grid_of", "start_history", "walk_grid_over"]

_MAX_STEPS = 2**31 - 1


def grid_of(setup: Setup) -> Grid:
    """Return the steps that the options ask for: from output to output, of one size, or the caller's own grid."""
    options, t = setup.options, setup.t
    size, constructor = options.get("step_size"), options.get("grid_constructor")
    if size is not None and constructor is not None:
        raise InvalidArgument("step_size and grid_constructor are mutually exclusive arguments")
    if size is not None:
        return grid_of_step_size(t[0], t[-1], float(size), _MAX_STEPS)
    if constructor is None:
        return grid_of_times(t)
    given = constructor(setup.flow, setup.y0, setup.given_t)
    if not (bool(given[0] == setup.given_t[0]) and bool(given[-1] == setup.given_t[-1])):
        raise InvalidArgument("`grid_constructor` must return a grid that starts at t[0] and ends at t[-1]")
    inner = given[1:-1].to(t)
    return grid_of_times(torch.cat([t[:1], inner, t[-1:]]))


def start_history(setup: Setup) -> Adams | None:
    """Return an Adams method's memory before its first step; None for a Runge-Kutta method."""
    if setup.method.kind != "adams":
        return None
    options = setup.options
    # Explicit weights of order 11 add up to thousands, and multiply the rounding errors of single precision.
    order = 12 if torch.finfo(setup.y0.dtype).eps < 1e-10 else 8
    return Adams.of(
        implicit=setup.method.implicit,
        rtol=setup.rtol,
        atol=setup.atol,
        max_order=int(options.get("max_order", order)),
        max_iters=int(options.get("max_iters", 4)),
    )


def walk_grid_over(
    setup: Setup, grid: Grid, y0: Tensor, history: Adams | None, *, wanted: SavePolicy, observer: Observer
) -> Trace:
    """Take the steps of a grid; with ``perturb``, every step sees ``func`` from inside only."""
    flow = setup.flow
    if not setup.options.get("perturb", False):
        if history is not None:
            return history.walk_grid(flow, grid, y0, wanted=wanted, observer=observer)
        return walk_grid(flow, setup.method.tableau, grid, y0, None, wanted=wanted, observer=observer)
    record = Trace(nodes=[y0])
    for i in range(len(grid.starts)):
        step = Grid(*(part[i : i + 1] for part in grid))
        start, end = float(step.starts.detach()), float(step.ends.detach())
        inside = between(flow, start, end, {start, end})
        keywords: dict[str, Any] = {"wanted": wanted, "observer": observer}
        if history is not None:
            part = history.walk_grid(inside, step, record.nodes[-1], **keywords)
        else:
            part = walk_grid(inside, setup.method.tableau, step, record.nodes[-1], None, **keywords)
        record.append(part.starts[0], part.sizes[0], part.ends[0], part.nodes[1], part.dense[0])
        record.status, record.ended = part.status, part.ended
    return record
