"""Solves inside of ``torch.compile`` and ``torch.export``: fixed steps as plain operations in the caller's graph.

A program is made for a number of steps, so that this number must be known where the program is made: from times that
are numbers, from the number of times, or from values that are read then and checked whenever the program runs (which
``torch.export`` without its compiler has none of). Steps are unrolled: some hundred are compiled in a minute, thousands
are not (``solve(..., compile=True)`` has loops instead, and adaptive steps). Gradients are those of the operations,
which with fixed steps are ACA's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from physode.events.event import NO_EVENTS
from physode.gradients import MALI, Adjoint, find_gradient
from physode.problem.checks import checked_method, checked_state
from physode.problem.dynamics import Calls, Dynamics
from physode.problem.packing import Packing
from physode.problem.problem import make_dynamics
from physode.solution import KnownTimes, Solution, Stats
from physode.solvers.clock import Grid
from physode.solvers.grid import count_of_steps, grid_of_times, longest_span, steps_of_size
from physode.solvers.interpolation import interpolate, locate
from physode.solvers.method import Method, StepMethod
from physode.solvers.runge_kutta import end_derivative, interpolant, take_step
from physode.solvers.symplectic.separable import require_halves
from physode.solvers.symplectic.splitting import Splitting

__all__ = ["solve_traced"]

_INSIDE = "torch.compile or torch.export"
_UNSORTED = "`t` must be strictly increasing or decreasing; sort it first"


def solve_traced(
    f: Callable[..., Any],
    y0: Any,
    t: Tensor | Sequence[float],
    *,
    args: Sequence[Any],
    method: str | Method,
    step_size: float | None,
    grid: Tensor | None,
    step_control: str,
    gradient: Any,
    throw: bool,
    max_steps: int,
    others: Mapping[str, bool],
) -> Solution:
    """Solve with fixed steps, as operations of the graph that is being traced.

    ``others`` names the arguments that have no meaning here, and whether they were given. Where ``throw`` is set, a
    state that is not finite raises when the program runs.

    Raises
    ------
    ValueError
        If the steps would depend on values: adaptive and implicit methods; for arguments that cannot be used here.
    """
    for name, given in others.items():
        if given:
            raise ValueError(f"`{name}` cannot be used inside of {_INSIDE}; leave it out, or solve outside")
    if isinstance(find_gradient(gradient), Adjoint | MALI):
        raise ValueError(
            f"gradient={gradient!r} cannot be used inside of {_INSIDE}, which differentiates the steps: use 'aca'"
        )
    found = checked_method(method)
    _check_method(found, f, fixed=step_size is not None or grid is not None)
    per_sample = step_control == "per-sample"
    packing = Packing.of(y0, per_sample=per_sample)
    y = checked_state(y0, packing, finite=False)
    times = _times(t, y, per_sample=per_sample)
    steps = _steps(t, times, y, step_size, grid, max_steps, per_sample=per_sample)
    dynamics = make_dynamics(f, tuple(args), packing, y, times, drawing=lambda: False)
    if isinstance(found, Splitting):
        require_halves(found.name, dynamics, y)
    outputs = _outputs(dynamics, found, steps, y, times, at_ends=step_size is None and grid is None)
    if throw:
        torch._assert_async(torch.isfinite(outputs[-1]).all(), "the solve reached a state that is not finite")
    return _solution(times, packing.unpack(outputs, leading=1), steps, dynamics.calls.count)


def _check_method(method: Method, f: Any, *, fixed: bool) -> None:
    if method.adaptive and not fixed:
        raise ValueError(
            f"inside of {_INSIDE} steps must be known: give `step_size` or `grid`, or solve outside with "
            f"compile=True; method {method.name!r} adapts them"
        )
    if isinstance(method, StepMethod) and not isinstance(method, Splitting):
        raise ValueError(f"method {method.name!r} cannot be used inside of {_INSIDE}: it looks at values")
    dropouts = [part for part in f.modules() if _drops(part)] if isinstance(f, nn.Module) else []
    if dropouts:
        raise ValueError(f"dropout inside of {_INSIDE} would draw another mask in every step; use f.eval()")


def _drops(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0


def _times(t: Any, y: Tensor, *, per_sample: bool) -> Tensor:
    """Return times in float64, ``(outputs, *groups)``; their values are not looked at."""
    times = torch.as_tensor(t, dtype=torch.float64, device=y.device)
    if times.ndim != 1 and not (per_sample and times.ndim == 2 and times.shape[1] == y.shape[0]):
        raise ValueError(f"`t` must have the shape (time,) or, per sample, (time, batch), got {tuple(times.shape)}")
    if times.shape[0] < 2:
        raise ValueError(f"`t` needs at least two times, a start and an end; got {times.shape[0]}")
    if (span := _span(t)) is not None:
        if any((later - earlier) * span <= 0 for earlier, later in itertools.pairwise(t)):
            raise ValueError(_UNSORTED)
    else:
        ahead = (times.diff(dim=0) * torch.sign(times[-1] - times[0])).detach()
        torch._assert_async((ahead > 0).all(), _UNSORTED)
    return times[:, None].expand(-1, y.shape[0]) if per_sample and times.ndim == 1 else times


def _span(t: Any) -> float | None:
    """Return the time from the first to the last of times that are numbers; None of others."""
    if isinstance(t, Tensor) or not all(isinstance(time, int | float) for time in t):
        return None
    return float(t[-1] - t[0])


def _steps(
    t: Any, times: Tensor, y: Tensor, step_size: float | None, grid: Tensor | None, max_steps: int, *, per_sample: bool
) -> Grid:
    """Return the steps, of a number that does not depend on values at run time."""
    if grid is not None:
        if step_size is not None:
            raise ValueError("give `grid` or `step_size`, not both")
        nodes = _times(grid, y, per_sample=per_sample)
        torch._assert_async((nodes[[0, -1]] == times[[0, -1]]).all(), "`grid` must start at t[0] and end at t[-1]")
        return grid_of_times(torch.cat([times[:1], nodes[1:-1], times[-1:]]))
    if step_size is None:
        return grid_of_times(times)
    if (span := _span(t)) is not None:
        count = count_of_steps(abs(span), float(step_size), max_steps)
        return steps_of_size(times[0], times[-1], float(step_size), count)
    if not torch.compiler.is_dynamo_compiling():
        raise ValueError("torch.export needs `t` as numbers, which tell how many steps of `step_size` there are")
    size, count = float(step_size), _count(times, float(step_size), max_steps)
    steps = steps_of_size(times[0], times[-1], size, count)
    longest = (times[-1] - times[0]).abs().amax()
    fits = (longest <= count * size * (1 + 1e-9)) & (longest > (count - 1) * size * (1 - 1e-9))
    torch._assert_async(
        fits | (count == 1), "`t` spans another number of steps than when this was compiled: torch.compiler.reset()"
    )
    return steps


def _count(times: Tensor, step_size: float, max_steps: int) -> int:
    """Return the number of steps, from the values that are there while the program is made."""
    return count_of_steps(longest_span(times[0], times[-1]), step_size, max_steps)


# As torch.compiler.assume_constant_result has it, which imports torch's compiler: half of a short program's time.
_count._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _outputs(dynamics: Dynamics, method: Method, steps: Grid, y: Tensor, times: Tensor, *, at_ends: bool) -> Tensor:
    """Return the states at the outputs, ``(outputs, *state)``; of two alone, no step needs an interpolant."""
    ends_only = len(times) == 2 and not times.requires_grad
    at_ends = at_ends or ends_only
    nodes, dense = [y], []
    k: Tensor | None = dynamics.first(times[0], y)
    for start, size in zip(steps.starts.unbind(0), steps.sizes.unbind(0), strict=True):
        step = take_step(dynamics, method, start, y, size, k)
        k = end_derivative(dynamics, start, size, step) if method.fsal or not at_ends else step.end
        if not at_ends:
            assert k is not None
            dense.append(interpolant(dynamics, method, start, y, size, step, k))
        y = step.y
        nodes.append(y)
    states = torch.stack([nodes[0], nodes[-1]] if ends_only else nodes)
    if at_ends:
        return states
    moves = times.requires_grad
    return interpolate(locate(times, *steps), states[:-1], torch.stack(dense), states[1:], moves=moves)


def _solution(t: Tensor, y: Any, steps: Grid, calls: int) -> Solution:
    groups = t.shape[1:]
    taken = (steps.sizes != 0).sum(0)
    return Solution(
        t=t,
        y=y,
        status=torch.zeros(groups, dtype=torch.int8, device=t.device),
        ended=t[-1].detach(),
        stats=Stats(taken, torch.zeros_like(taken), calls, Calls()),
        _step_times=KnownTimes(torch.cat([t[:1].detach(), steps.ends.detach()])),
        events=NO_EVENTS,
    )
