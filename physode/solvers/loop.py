"""The integration loops: adaptive steps, shared or per sample, and steps on a given grid.

A loop knows nothing of gradients: under ``torch.no_grad`` it makes the record that ACA and the adjoint method start
from; with gradients enabled the same operations are the naive method's graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from physode.modules import Statistics
from physode.solvers.controllers import Controller
from physode.solvers.groups import expand
from physode.solvers.initial_step import initial_step
from physode.solvers.norms import error_ratio, scale_of
from physode.solvers.stepper import Rhs, Step, end_derivative, interpolant, local_errors, take_step
from physode.solvers.tableaus import Tableau
from physode.solvers.trajectory import Trajectory, Wanted
from physode.status import Status
from physode.typing import Norm, Progress

__all__ = ["Adaptive", "march", "integrate"]

_STRETCH = 0.999  # a last step may be this much shorter than what remains: no sliver is left behind it
_RESOLUTION = 4 * torch.finfo(torch.float64).eps
_SMALLEST_SHARE = 1e-30  # of the span: ends a failing start at t = 0, where the clock resolves anything


@dataclass(frozen=True)
class Adaptive:
    """What decides the steps of an adaptive solve."""

    tableau: Tableau
    controller: Controller
    norm: Norm
    rtol: Tensor | float
    atol: Tensor | float
    first_step: float | None = None
    min_step: float = 0.0
    max_step: float | None = None
    max_steps: int = 100_000


def integrate(
    rhs: Rhs,
    steps: Adaptive,
    t0: Tensor,
    t1: Tensor,
    y0: Tensor,
    k0: Tensor,
    *,
    wanted: Wanted,
    statistics: Statistics,
    progress: Progress | None = None,
) -> Trajectory:
    """Integrate from ``t0`` to ``t1`` with steps that keep the local error within the tolerance.

    Times are one value a group. Each attempt is a step for every group; a group that rejects its attempt, has arrived
    or has failed keeps its time and state. ``k0`` is the derivative at the start.

    Returns
    -------
    Trajectory
        With a status per group; never raises on a failing solution.
    """
    tableau, controller = steps.tableau, steps.controller
    direction = torch.sign(t1 - t0).detach()
    t, y, k = t0, y0, k0
    control = controller.start(_first_size(rhs, steps, t0, t1, y0, k0, statistics))
    record = Trajectory(nodes=[y0], status=torch.zeros_like(direction, dtype=torch.int8), ended=t1.detach().clone())
    record.accepted = record.rejected = torch.zeros_like(direction, dtype=torch.int64)
    active = _name_bad_start(record, steps.norm(k0), t0)

    attempts = 0
    while bool(active.any()):
        if attempts == steps.max_steps:
            _end(record, active, torch.full_like(record.status, int(Status.MAX_STEPS)), t)
            break
        attempts += 1
        remaining = direction * (t1 - t)
        proposed = _bounded(control.size, steps)
        is_last = proposed >= _STRETCH * remaining
        size = torch.where(is_last, remaining, proposed)
        if active.ndim:
            size = torch.where(active, size, 0.0)
        h = direction * size
        t_next = torch.where(is_last, t1, t + h)

        before = statistics.snapshot()
        step = take_step(rhs, tableau, t, y, h, k)
        k_end = end_derivative(rhs, t, h, step) if tableau.fsal else None
        ks = step.ks if k_end is None else (*step.ks, k_end)
        scale = scale_of(y, step.y, steps.rtol, steps.atol)
        error = error_ratio(local_errors(tableau, h, ks), scale, steps.norm)
        accepted = controller.accepts(error, size) & active
        control = controller.next(control, error, size, accepted, tableau.error_order)
        rejected = active & ~accepted
        record.accepted = record.accepted + accepted
        record.rejected = record.rejected + rejected

        if bool(accepted.any()):
            y_next, t_from = _select(accepted, step.y, y), t
            t = t_next if not accepted.ndim else torch.where(accepted, t_next, t)
            if accepted.ndim:
                h = torch.where(accepted, h, 0.0)
            active = active & (t != t1)
            inside = wanted.inside(float(t_from.detach()), float(t.detach())) if not accepted.ndim else wanted.times is None
            if k_end is None and (inside or bool(active.any())):
                k_end = rhs(t, y_next)
            dense = None
            if inside:
                assert k_end is not None
                dense = interpolant(rhs, tableau, t_from, y, h, Step(y_next, step.ks), k_end)
            record.append(t_from, h, t, y_next, dense)
            y, k = y_next, k if k_end is None else _select(accepted, k_end, k)
            if progress is not None:
                progress(float(((t - t0) / (t1 - t0)).detach().min()))
        else:
            statistics.restore(before)
        if bool(rejected.any()):
            floor = (_RESOLUTION * t.detach().abs()).clamp(min=steps.min_step)
            floor = torch.maximum(floor, _SMALLEST_SHARE * (t1 - t0).detach().abs())
            stuck = rejected & (size <= floor)
            reason = torch.where(torch.isfinite(error), int(Status.STEP_UNDERFLOW), int(Status.NON_FINITE))
            _end(record, stuck, reason.to(torch.int8), t)
            active = active & ~stuck
            control = control._replace(size=torch.maximum(control.size, floor))
    record.close()
    return record


def march(
    rhs: Rhs,
    tableau: Tableau,
    starts: Tensor,
    sizes: Tensor,
    ends: Tensor,
    y0: Tensor,
    k0: Tensor,
    *,
    wanted: Wanted,
    progress: Progress | None = None,
) -> Trajectory:
    """Take the given steps, ``(steps, *groups)``, without error control."""
    groups = starts.shape[1:]
    record = Trajectory(nodes=[y0], ended=ends[-1].detach().clone())
    record.status = torch.zeros(groups, dtype=torch.int8, device=y0.device)
    record.accepted = (sizes != 0).sum(0)
    record.rejected = torch.zeros_like(record.accepted)
    edges = [] if groups else list(zip(starts.tolist(), ends.tolist(), strict=True))
    y, k = y0, k0 if len(starts) else None
    for i, (t, h, end) in enumerate(zip(starts, sizes, ends, strict=True)):
        step = take_step(rhs, tableau, t, y, h, k)
        inside = wanted.inside(*edges[i]) if not groups else wanted.times is None
        more = tableau.fsal and i + 1 < len(starts)
        k = rhs(end, step.y) if inside or more else None
        dense = None
        if inside:
            assert k is not None
            dense = interpolant(rhs, tableau, t, y, h, step, k)
        record.append(t, h, end, step.y, dense)
        y = step.y
        if progress is not None:
            progress((i + 1) / len(starts))
    record.close()
    return record


def _select(accepted: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Take ``new`` where accepted. A shared verdict is known to be one here: no gradient flows through a rejection."""
    if accepted.ndim == 0:
        return new
    return torch.where(expand(accepted, new.ndim), new, old)


def _bounded(size: Tensor, steps: Adaptive) -> Tensor:
    if steps.min_step == 0.0 and steps.max_step is None:
        return size
    return size.clamp(min=steps.min_step, max=steps.max_step)


def _first_size(
    rhs: Rhs, steps: Adaptive, t0: Tensor, t1: Tensor, y0: Tensor, k0: Tensor, statistics: Statistics
) -> Tensor:
    if steps.first_step is not None:
        return torch.full_like(t0, steps.first_step).minimum((t1 - t0).abs())
    with statistics.preserved():
        return initial_step(
            rhs,
            t=t0,
            y=y0,
            k=k0,
            span=t1 - t0,
            order=steps.tableau.error_order,
            rtol=steps.rtol,
            atol=steps.atol,
            norm=steps.norm,
        )


def _name_bad_start(record: Trajectory, derivative_size: Tensor, t0: Tensor) -> Tensor:
    """End the groups whose derivative is not finite at the start; return those that go on."""
    good = torch.isfinite(derivative_size.detach())
    _end(record, ~good, torch.full_like(record.status, int(Status.NON_FINITE)), t0)
    return good


def _end(record: Trajectory, groups: Tensor, reason: Tensor, t: Tensor) -> None:
    record.status = torch.where(groups, reason, record.status)
    record.ended = torch.where(groups, t.detach(), record.ended)
