"""One solve in torchdiffeq's form: to its output times, to an event, or kept as a function of time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from physode.compat.adaptive import integrate_adaptive
from physode.compat.errors import InvalidArgument
from physode.compat.fixed import grid_of, start_history, walk_grid_over
from physode.compat.scipy_solver import solve_with_scipy
from physode.compat.setup import Setup
from physode.gradients.outputs import StepTable, fetch_recorded, read_outputs
from physode.problem.problem import Problem
from physode.solvers.driver import Plan
from physode.solvers.grid import Grid
from physode.solvers.trace import SavePolicy, Trace

__all__ = ["grid_taken", "interpolation", "solve", "solve_dense"]


def solve(setup: Setup) -> Tensor:
    """Return the packed outputs, ``(time, *state)``, with the graph of every accepted step."""
    if setup.method.kind == "scipy":
        return solve_with_scipy(setup)
    if len(setup.t) == 1:
        return setup.y0[None]
    linear = interpolation(setup) == "linear"
    direction = setup.direction
    wanted = SavePolicy([] if linear else (setup.t.detach() * direction).tolist(), direction)
    record = _record(setup, wanted)
    record.times, grid = setup.t, grid_taken(record)
    if linear:
        starts, ends = torch.stack(record.nodes[:-1]), torch.stack(record.nodes[1:])
        return StepTable(_direction(grid), grid, starts, (ends - starts)[:, None], ends).read(setup.t)
    return read_outputs(_problem(setup), Plan(), record, grid, fetch_recorded(record)).outputs


def solve_dense(setup: Setup) -> Callable[[Tensor], Tensor]:
    """Return the solution as a function of ``(time,)`` times."""
    if setup.method.kind == "scipy":
        raise InvalidArgument("odeint_dense needs a Runge-Kutta or Adams method, got method='scipy_solver'")
    record = _record(setup, SavePolicy(None))
    dense = torch.stack([coefficients for coefficients in record.dense if coefficients is not None])
    grid, nodes = grid_taken(record), torch.stack(record.nodes)
    return StepTable(_direction(grid), grid, nodes[:-1], dense, nodes[1:]).read


def interpolation(setup: Setup) -> str:
    """Return how outputs between steps are found: ``"linear"`` or ``"cubic"`` on a grid, else the method's own way."""
    if setup.method.kind == "adaptive":
        return "own"
    name = str(setup.options.get("interp", "linear"))
    if name not in ("linear", "cubic"):
        raise InvalidArgument(f"Unknown interpolation method {name!r}; `interp` is 'linear' or 'cubic'")
    return name


def grid_taken(record: Trace) -> Grid:
    """Return a record's steps as tensors."""
    return record.clock()


def _direction(grid: Grid) -> Tensor:
    return torch.sign(grid.ends[-1] - grid.starts[0]).detach()


def _record(setup: Setup, wanted: SavePolicy) -> Trace:
    if setup.method.kind == "adaptive":
        return integrate_adaptive(setup, setup.t[-1], wanted=wanted, observer=setup.callbacks)
    return walk_grid_over(
        setup, grid_of(setup), setup.y0, start_history(setup), wanted=wanted, observer=setup.callbacks
    )


def _problem(setup: Setup) -> Problem:
    return Problem(
        dynamics=setup.flow,
        tableau=setup.method.tableau,
        y0=setup.y0,
        t=setup.t,
        steps=None,
        grid=None,
        statistics=setup.statistics,
    )
