r"""The adjoint method (Chen et al. 2018; Zhuang et al. 2020, Eqs. 6-8): forget the trajectory, integrate it back.

Between outputs, from the later to the earlier, one augmented problem is solved:

.. math::
    \frac{dy}{dt} = f, \qquad \frac{da}{dt} = -\Big(\frac{\partial f}{\partial y}\Big)^{\!\top} a, \qquad
    \frac{dg}{dt} = -\Big(\frac{\partial f}{\partial \theta}\Big)^{\!\top} a ,

with :math:`a = dL/dy` and :math:`g = dL/d\theta`. The state integrated back differs from the forward one by truncation
errors, and the gradient with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from physode.autograd import first_order_only, one_by_one, reference
from physode.errors import SolveError
from physode.gradients.output_times import dot
from physode.gradients.outputs import Outcome, StepTable, Table, clock, fetch_recorded, read_outputs
from physode.gradients.replay import Replay
from physode.problem.checks import checked_method, checked_tolerance
from physode.problem.dynamics import Dynamics
from physode.problem.evaluation import check_no_new_leaf
from physode.problem.packing import Packing
from physode.problem.problem import Problem, default_norm, user_norm
from physode.rhs_state import Statistics
from physode.solvers.clock import expand
from physode.solvers.driver import Plan, forward
from physode.solvers.grid import grid_of_step_size
from physode.solvers.method import Method, StepMethod
from physode.solvers.step_control import Adaptive, Controller
from physode.status import Status

__all__ = ["Adjoint"]


@dataclass(frozen=True)
class Adjoint:
    """The continuous adjoint, integrated backwards in time.

    A dense solution has its gradients, too: each reading is one more output of a backward solve of its own.

    Attributes
    ----------
    method, rtol, atol, step_size
        The backward solve's method, tolerances and (for fixed-step methods) step size; the forward solve's by default.
        An implicit method takes the Jacobian of the whole augmented state, parameters included: for problems of many
        parameters give an explicit one here, or use ACA. (Backwards, what decays fast grows as fast: an adjoint of a
        stiff problem is accurate over short spans between outputs only.)
    norm
        The error norm of the augmented state ``(y, a, *g)``: ``"full"`` counts every part, ``"seminorm"`` leaves out
        the quadratures ``g``, which do not act back on the others (Kidger et al. 2021), or a callable on that tuple.
    """

    method: str | None = None
    rtol: float | None = None
    atol: float | None = None
    step_size: float | None = None
    norm: Literal["full", "seminorm"] | Callable[[Any], Tensor] = "full"

    _second_order = "derivatives of the adjoint method's gradients need gradient='naive' or ACA(memory='graph')"
    _every_leaf = True  # whether a leaf that no gradient would reach is an error

    def __post_init__(self) -> None:
        if not callable(self.norm) and self.norm not in ("full", "seminorm"):
            raise ValueError(f"`norm` must be 'full', 'seminorm' or a callable, got {self.norm!r}")

    def solve(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve the problem, its outputs differentiable where anything asks for gradients."""
        problem, plan = problem.started(), replace(plan, nodes=plan.dense)
        with torch.no_grad():
            record = forward(problem, plan)
            outcome = read_outputs(problem, plan, record, clock(problem, record), fetch_recorded(record))
        if not problem.needs_gradient:
            return outcome
        if bool((record.status != Status.SUCCESS).any()):
            reason = Status(int(record.status.max())).reason
            raise SolveError(f"the adjoint method needs a solve that reached its end: {reason}", outcome)
        with torch.no_grad(), problem.statistics.preserved():
            end = record.times[-1].detach(), outcome.outputs[-1]
            problem = replace(problem, last=(*end, problem.dynamics(*end)))
        inputs = (outcome.outputs, problem.y0, record.times, *problem.inputs)
        outputs = Backsolve.apply(self, problem, *inputs)  # type: ignore[no-untyped-call]
        table = None if outcome.table is None else _Between(self, problem, record.times[0], outcome.table)
        return outcome._replace(outputs=outputs, table=table)

    def posed_backward(
        self,
        problem: Problem,
        f: Callable[..., Any],
        state: tuple[Tensor, ...],
        start: Tensor,
        end: Tensor,
        first_step: float | None,
    ) -> tuple[Problem, Plan]:
        """Pose the augmented problem from ``start`` to ``end``, over 0 to 1, and say how it is walked."""
        span = float((end - start).abs().max())
        packing = Packing.of(state, per_sample=False)
        y0 = packing.pack(state)
        t = torch.tensor([0.0, 1.0], dtype=torch.float64, device=y0.device)
        dynamics = Dynamics(f, (), packing, t[0], t[1], y0.real.dtype, y0.device, opaque=True)
        forward = problem.steps
        tableau = _backward(problem.tableau) if self.method is None else checked_method(self.method)
        step_size = self.step_size if self.step_size is not None else problem.step_size
        steps, grid = None, None
        if not tableau.adaptive or (step_size is not None and forward is None):
            grid = grid_of_step_size(t[0], t[1], 1.0 if step_size is None else min(1.0, step_size / span), 10**9)
        else:
            base = forward or Adaptive(tableau, Controller(), default_norm(packing), 1e-6, 1e-9)
            steps = replace(
                base,
                tableau=tableau,
                norm=_norm(self, packing),
                left=None,
                rtol=_scalar(self.rtol, base.rtol, "rtol"),
                atol=_scalar(self.atol, base.atol, "atol"),
                first_step=None if first_step is None else min(1.0, first_step / span),
                min_step=base.min_step / span,
                max_step=None if base.max_step is None else base.max_step / span,
            )
            if isinstance(tableau, StepMethod):
                tableau = tableau.prepared(rtol=steps.rtol, atol=steps.atol)
                steps = replace(steps, tableau=tableau)
        return Problem(dynamics, tableau, y0, t, steps, grid, statistics=Statistics()), Plan(nodes=False)


@dataclass(frozen=True)
class _Between:
    """A solution as a function of time, its gradients by a backward solve through the times that are asked for."""

    method: Adjoint
    problem: Problem
    start: Tensor
    table: Table

    def read(self, times: Tensor) -> Tensor:
        """Evaluate the solution at ``times``, ``(outputs, *groups)``."""
        asked = torch.cat([self.start[None], times])
        order = torch.argsort((asked * self.problem.direction).detach(), dim=0, stable=True)
        sorted_times = asked.gather(0, order)
        with torch.no_grad():
            values = self.table.read(sorted_times)
        inputs = (values, self.problem.y0, sorted_times, *self.problem.inputs)
        outputs: Tensor = Backsolve.apply(self.method, self.problem, *inputs)  # type: ignore[no-untyped-call]
        rows = torch.argsort(order, dim=0)[1:]
        if rows.ndim == 1:
            return outputs.index_select(0, rows)
        return outputs[rows, torch.arange(rows.shape[1], device=rows.device)]

    def kept(self) -> StepTable:
        """Return the same without gradients."""
        return self.table.kept()


class Backsolve(torch.autograd.Function):
    """From the initial state, the times and the inputs to the outputs."""

    @staticmethod
    def forward(
        ctx: Any, method: Adjoint, problem: Problem, outputs: Tensor, y0: Tensor, t: Tensor, *inputs: Tensor
    ) -> Tensor:
        ctx.method, ctx.problem = method, reference(problem)
        ctx.save_for_backward(outputs.clone(), y0, t, *inputs)
        return outputs

    @staticmethod
    @one_by_one
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        outputs, _, times = ctx.saved_tensors[:3]
        problem: Problem = ctx.problem()
        replay = Replay.of(problem)
        with problem.as_solved(), torch.no_grad():
            replay.confirm(problem)
            gradients = _back_through_outputs(
                ctx.method, problem, replay, times, outputs, cotangents[0], clock_too=ctx.needs_input_grad[4]
            )
        return (
            None,
            None,
            None,
            *first_order_only(
                gradients,
                [*ctx.saved_tensors, *cotangents],
                ctx.method._second_order,
            ),
        )


def _back_through_outputs(
    method: Adjoint,
    problem: Problem,
    replay: Replay,
    times: Tensor,
    outputs: Tensor,
    cotangents: Tensor,
    *,
    clock_too: bool,
) -> list[Tensor | None]:
    """Return dL/dy0, dL/dt and dL/d(inputs): one augmented solve between each two outputs, from the last back."""
    dynamics = replay.dynamics
    d_times = torch.zeros_like(times)
    adjoint = cotangents[-1]
    quadratures = [torch.zeros_like(tensor) for tensor in replay.inputs]
    step: float | None = None
    for i in range(len(times) - 1, 0, -1):
        if clock_too:
            d_times[i] = dot(cotangents[i], dynamics(times[i], outputs[i]), problem.per_sample)
        if torch.equal(times[i], times[i - 1]):  # an output at an event
            adjoint = adjoint + cotangents[i - 1]
            continue
        (_, adjoint, *quadratures), step = _backsolve(
            method, problem, replay, times[i], times[i - 1], outputs[i], adjoint, quadratures, first_step=step
        )
        adjoint = adjoint + cotangents[i - 1]
    if clock_too:
        before = adjoint - cotangents[0]
        d_times[0] = -dot(before, dynamics(times[0], outputs[0]), problem.per_sample)
    return [adjoint, d_times if clock_too else None, *quadratures]


def _backsolve(
    method: Adjoint,
    problem: Problem,
    replay: Replay,
    start: Tensor,
    end: Tensor,
    y: Tensor,
    adjoint: Tensor,
    quadratures: Sequence[Tensor],
    *,
    first_step: float | None,
) -> tuple[tuple[Tensor, ...], float | None]:
    """Integrate ``(y, a, *g)`` from ``start`` to ``end``, for all groups over one variable that runs from 0 to 1.

    The first step is tried as large as ``first_step``, in time, which the controller would have tried next in the span
    before. What it would try next after this one is returned too.
    """
    span = end - start
    outer = (y, adjoint, *quadratures)
    common = functools.reduce(torch.promote_types, [part.dtype for part in outer])
    size = expand(span.to(problem.dynamics.dtype), y.ndim)

    def augmented(s: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tracked = state[0].requires_grad or s.requires_grad  # an implicit method differentiates the augmented problem
        with torch.enable_grad():
            y = _typed(state[0], like=outer[0])
            y = y if y.requires_grad else y.detach().requires_grad_()
            value = replay.dynamics(start + s.double() * span, y)
            if method._every_leaf and not tracked:
                check_no_new_leaf([value], [y, *replay.inputs])
            pulled: Sequence[Tensor | None] = (None,) * (1 + len(replay.inputs))
            if value.requires_grad:
                ahead = -_typed(state[1], like=outer[1]) * size
                wanted = [y, *replay.inputs]
                keep = replay.outside or tracked
                pulled = torch.autograd.grad(
                    value, wanted, ahead, allow_unused=True, retain_graph=keep, create_graph=tracked
                )
        parts = [torch.zeros_like(part) if g is None else g for g, part in zip(pulled, outer[1:], strict=True)]
        return tuple(part.to(common) for part in ((value if tracked else value.detach()) * size, *parts))

    joined = tuple(part.to(common) for part in outer)
    longest = float(span.abs().max())
    inner, plan = method.posed_backward(problem, augmented, joined, start, end, first_step)
    inner = inner.started()
    record = forward(inner, plan)
    status = Status(int(record.status))
    if status is not Status.SUCCESS:
        raise SolveError(
            f"the adjoint method's backward solve stopped between t = {float(start.max()):g} and "
            f"{float(end.min()):g}: {status.reason}; gradient='aca' needs no backward solve"
        )
    ended = inner.dynamics.packing.components(record.nodes[-1])
    states = tuple(_typed(part, like=before) for part, before in zip(ended, outer, strict=True))
    return states, None if record.proposed is None else longest * float(record.proposed)


def _typed(value: Tensor, *, like: Tensor) -> Tensor:
    """Undo the promotion to the dtype that the joined state has."""
    return (value.real if value.is_complex() and not like.is_complex() else value).to(like.dtype)


def _backward(tableau: Method) -> Method:
    """Return the method of the backward solve: the forward one, or one for states of any kind."""
    if isinstance(tableau, StepMethod) and tableau.backward is not None:
        return checked_method(tableau.backward)
    return tableau


def _scalar(own: float | None, forward: Tensor | float, name: str) -> Tensor | float:
    """Return the backward tolerance: its own, or the forward one, the smallest where that is one a component."""
    if own is not None:
        return checked_tolerance(name, own, own)
    return float(forward.min()) if isinstance(forward, Tensor) else forward


def _norm(method: Adjoint, packing: Packing) -> Callable[[Tensor], Tensor]:
    if callable(method.norm):
        return user_norm(method.norm, packing)
    if method.norm == "full":
        return default_norm(packing)
    first = Packing(packing.keys and packing.keys[:2], packing.kind, packing.shapes[:2], False)
    inner, length = default_norm(first), sum(first.sizes)
    return lambda x: inner(x[:length])
