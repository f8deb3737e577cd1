"""Adaptive methods: the engine's loop, run from stop to stop where ``step_t`` or ``jump_t`` ask for steps to end."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from physode.compat.errors import InvalidArgument, SolveAssertionError
from physode.compat.setup import Flow, Setup
from physode.solvers.attempt import Adaptive
from physode.solvers.callbacks import Observer
from physode.solvers.clock import Number, Verdict, isfinite
from physode.solvers.controllers import Control, Controller, initial_step
from physode.solvers.loop import integrate
from physode.solvers.trace import SavePolicy, Trace
from physode.status import Status

__all__ = ["between", "integrate_adaptive"]


@dataclass(frozen=True)
class _Controller(Controller):
    """torchdiffeq's rule: steps of the smallest size are accepted whatever their error, and sizes are constants."""

    min_step: float = 0.0

    def accepts(self, error: Number, size: Number) -> Verdict:
        """Whether an attempt is accepted."""
        return (error <= 1.0) | ((size <= self.min_step) & isfinite(error))

    def next(self, control: Control, error: Number, size: Number, accepted: Verdict, error_order: int) -> Control:
        """Return the memory after an attempt, without a graph."""
        with torch.no_grad():
            return super().next(control, error, size, accepted, error_order)


def integrate_adaptive(setup: Setup, t1: Tensor, *, wanted: SavePolicy, observer: Observer) -> Trace:
    """Integrate from the first time to ``t1``, or to where the observer ends the solve.

    Raises
    ------
    SolveError
        If the solve ends early; it is an ``AssertionError`` too, as torchdiffeq's is.
    """
    t0 = setup.t[0]
    stops, jumps = _stops(setup, float(t0.detach()), float(t1.detach()))
    steps = _steps(setup, intervals=max(1, len(setup.t) - 1))
    record = Trace(nodes=[setup.y0])
    ends = [*(torch.tensor(stop, dtype=torch.float64, device=t0.device) for stop in stops), t1]
    for start, end in zip([t0, *ends[:-1]], ends, strict=True):
        flow = between(setup.flow, float(start.detach()), float(end.detach()), jumps)
        y = record.nodes[-1]
        k = flow(start, y)
        if steps.first_step is None:
            steps = replace(steps, first_step=_first_step(setup, flow, steps, start, y, k))
        part = integrate(flow, steps, start, end, y, k, wanted=wanted, statistics=setup.statistics, observer=observer)
        _extend(record, part)
        if part.status != Status.SUCCESS:
            raise _failure(part, steps)
        if bool(part.ended != end):  # ended by the observer
            break
        assert part.proposed is not None
        left = steps.max_steps - int(part.accepted + part.rejected)
        steps = replace(steps, first_step=float(part.proposed.detach()), max_steps=left)
    return record


def between(flow: Flow, start: float, end: float, jumps: set[float]) -> Flow:
    """Return the right-hand side on the inner side of those of a segment's ends that are jumps.

    The engine holds times between ``low`` and ``high``: at a jump, the neighbour in the state's dtype.
    """
    low, high = min(start, end), max(start, end)
    low = _neighbour(low, math.inf, flow.dtype) if low in jumps else low
    high = _neighbour(high, -math.inf, flow.dtype) if high in jumps else high
    return replace(flow, low=flow.low.new_tensor(low), high=flow.high.new_tensor(high))


def _neighbour(time: float, towards: float, dtype: torch.dtype) -> float:
    return float(torch.nextafter(torch.tensor(time, dtype=dtype), torch.tensor(towards, dtype=dtype)))


def _stops(setup: Setup, t0: float, t1: float) -> tuple[list[float], set[float]]:
    """Return the times strictly inside the span that steps must end at, in order, and those where ``func`` jumps."""
    device = setup.y0.device
    step_t, jump_t = (
        torch.as_tensor(() if setup.options.get(name) is None else setup.options[name], device=device)
        .double().reshape(-1).tolist()
        for name in ("step_t", "jump_t")
    )  # fmt: skip
    if len({*step_t, *jump_t}) < len(step_t) + len(jump_t):
        raise InvalidArgument("`step_t` and `jump_t` must not have any repeated elements between them")
    low, high = min(t0, t1), max(t0, t1)
    inside = sorted((stop for stop in (*step_t, *jump_t) if low < stop < high), reverse=t1 < t0)
    return inside, set(jump_t)


def _steps(setup: Setup, intervals: int) -> Adaptive:
    """Return the engine's form of the options.

    torchdiffeq counts ``max_num_steps`` anew from output to output; here the whole solve has their sum.
    """
    options: dict[str, Any] = {
        "safety": 0.9, "ifactor": 10.0, "dfactor": 0.2, "min_step": 0.0, "max_step": math.inf,
        "max_num_steps": 2**31 - 1, "first_step": None, **setup.options,
    }  # fmt: skip
    min_step, max_step, first = float(options["min_step"]), float(options["max_step"]), options["first_step"]
    return Adaptive(
        tableau=setup.method.tableau,
        controller=_Controller(
            safety=float(options["safety"]),
            min_factor=float(options["dfactor"]),
            max_factor=float(options["ifactor"]),
            min_step=min_step,
        ),
        norm=setup.norm,
        rtol=setup.rtol,
        atol=setup.atol,
        first_step=None if first is None else float(first),
        min_step=min_step,
        max_step=None if math.isinf(max_step) else max_step,
        max_steps=int(options["max_num_steps"]) * intervals,
    )


def _first_step(setup: Setup, flow: Flow, steps: Adaptive, start: Tensor, y: Tensor, k: Tensor) -> float:
    """Return Hairer's first step, a constant; of a solve to an event, whose span is unknown, at most 1."""
    span = setup.t[-1] - setup.t[0] if setup.event is None else torch.full_like(start, setup.direction)
    with torch.no_grad(), setup.statistics.preserved():
        size = initial_step(
            flow,
            t=start.detach(),
            y=y.detach(),
            k=k.detach(),
            span=span.detach(),
            order=steps.tableau.error_order,
            rtol=steps.rtol,
            atol=steps.atol,
            norm=steps.norm,
        )
    return float(size)


def _extend(record: Trace, part: Trace) -> None:
    record.starts += part.starts
    record.sizes += part.sizes
    record.ends += part.ends
    record.nodes += part.nodes[1:]
    record.dense += part.dense
    record.count(part.accepted, part.rejected)
    record.status, record.ended = part.status, part.ended


def _failure(part: Trace, steps: Adaptive) -> SolveAssertionError:
    status = Status(int(part.status))
    words = {
        Status.MAX_STEPS: f"max_num_steps exceeded ({steps.max_steps})",
        Status.STEP_UNDERFLOW: "underflow in dt",
        Status.NON_FINITE: "non-finite values in state `y`",
    }
    return SolveAssertionError(f"{words[status]}: the solve stopped at t = {float(part.ended):.9g}; {status.reason}")
