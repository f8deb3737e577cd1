"""ACA's pass back over a solve by a kernel, and the outputs with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.autograd import one_by_one, reference, severed
from physode.fused.forward import Posed
from physode.fused.graph import Program
from physode.fused.kernel import LANES
from physode.fused.launch import Entries
from physode.fused.replay import Inputs, replayed_outputs
from physode.fused.steps import StepsTaken, by_step
from physode.gradients.outputs import adaptive_clock
from physode.problem.problem import Problem
from physode.solvers.interpolation import locate

__all__ = ["PassBack", "Pulled", "differentiable", "pull_back"]


_MOST_CHUNKS = 256  # of samples that share gradients
_FEWEST_LANES = 4  # groups of lanes in each


@dataclass(eq=False)
class PassBack:
    """One solve, for its pass back.

    Attributes
    ----------
    problem
        What was asked.
    kernel
        The pass back, compiled.
    posed, steps
        What was solved, and the record.
    program
        The right-hand side.
    inputs
        The tensors that the right-hand side reads, whose counts of changes in place must be those of the solve.
    shared, sample
        Which of the shared numbers, and of each sample's, ask for gradients.
    evaluations
        Of the right-hand side, by the replay of one step.
    by_chunks
        Whether there are gradients of matrices, which chunks of samples share where the kernel lets them.
    """

    problem: Problem
    kernel: Entries
    posed: Posed
    steps: StepsTaken
    program: Program
    inputs: tuple[Tensor, ...]
    shared: Tensor
    sample: Tensor
    evaluations: int
    by_chunks: bool = False


class Pulled(NamedTuple):
    """Gradients in the initial states, the numbers that are shared and each sample's, and in the clock."""

    y0: Tensor
    shared: Tensor
    sample: Tensor
    starts: Tensor | None
    sizes: Tensor | None
    theta: Tensor | None


def pull_back(plan: PassBack, cotangents: Tensor, *, clock_too: bool = False) -> Pulled:
    """Pull back what outputs are asked for, ``(outputs, samples, D)``.

    Sums over samples are taken in their order, whatever the number of threads.
    """
    posed, walked = plan.posed, plan.steps.walked
    samples = posed.samples
    y = posed.y0
    d_y = torch.zeros_like(y)
    chunk = _chunk(samples)
    parts = -(-samples // chunk) if plan.by_chunks and plan.kernel.shares_gradients else samples
    d_p = y.new_zeros(parts, len(plan.shared))
    d_q = y.new_zeros(samples, len(plan.sample))
    cotangents = cotangents.contiguous()
    counter = torch.zeros(1, dtype=torch.int64, device=y.device)
    d_theta = torch.zeros(cotangents.shape[:2], dtype=torch.float64, device=y.device) if clock_too else None
    arguments = posed.arguments() | {
        "count": len(cotangents), "cotangents": cotangents, "d_y": d_y, "d_p": d_p, "d_q": d_q,
        "last_output": walked.written - 1, "counter": counter, "chunk": chunk, "parts": parts,
    }  # fmt: skip
    if d_theta is not None:
        arguments["d_theta"] = d_theta
    d_starts: list[Tensor] = []
    d_sizes: list[Tensor] = []
    for block in reversed(walked.blocks):
        assert block.nodes is not None
        given = block.arguments()
        if clock_too:
            pair = torch.zeros(2, len(block.order), block.rows, dtype=torch.float64, device=y.device)
            given |= {"d_starts": pair[0], "d_sizes": pair[1]}
            d_starts.insert(0, pair[0])
            d_sizes.insert(0, pair[1])
        plan.kernel.launch("pull", arguments | given)
        counter.zero_()
    d_shared = posed.shared.new_zeros(len(posed.shared))
    if len(plan.shared):
        totals = y.new_empty(len(plan.shared))
        plan.kernel.launch("total", arguments | {"totals": totals})
        d_shared.index_add_(0, plan.shared, totals)
    d_sample = torch.zeros_like(posed.sample)
    if len(plan.sample):
        d_sample[:, plan.sample] = d_q
    if len(cotangents):
        d_y += cotangents[0]
    plan.problem.backward.count += plan.evaluations * walked.longest
    own = plan.steps.per_sample
    starts, sizes = (by_step(walked, parts, per_sample=own) if clock_too else None for parts in (d_starts, d_sizes))
    return Pulled(d_y, d_shared, d_sample, starts, sizes, d_theta)


def _chunk(samples: int) -> int:
    """Return how many samples share the gradients of whole matrices: so many that chunks are some hundreds at most."""
    lanes = -(-samples // (LANES * _MOST_CHUNKS))
    return LANES * max(lanes, _FEWEST_LANES)


def differentiable(plan: PassBack, y0: Tensor, shared: Tensor, sample: Tensor, outputs: Tensor) -> Tensor:
    """Return the outputs, ``(outputs, samples, D)``, with their gradients.

    ``y0``, ``shared``, ``sample``: those of the posed problem, with their graphs.
    """
    problem = plan.problem
    theta = starts = sizes = None
    if problem.clock_requires_grad and len(plan.steps):
        grid = adaptive_clock(problem.t, plan.steps.clock()) if problem.grid is None else problem.grid
        starts, sizes, theta = grid.starts, grid.sizes, locate(problem.t, *grid).theta
    elif problem.t.requires_grad:  # no step was accepted: a part of the graph all the same, with derivative 0
        y0 = y0 + 0.0 * problem.t.sum().to(y0)
    return _Solved.apply(plan, outputs, theta, starts, sizes, y0, shared, sample)  # type: ignore[no-any-return, no-untyped-call]


class _Solved(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: PassBack, outputs: Tensor, theta: Tensor | None, starts: Tensor | None, sizes: Tensor | None,
        y0: Tensor, shared: Tensor, sample: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.plan = reference(plan)
        # Saved for their version counters: what changed in place before the backward pass must raise there.
        ctx.save_for_backward(theta, starts, sizes, y0, shared, sample, *plan.inputs)
        return outputs.view_as(outputs)

    @staticmethod
    @one_by_one
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        plan: PassBack = ctx.plan()
        given: list[Tensor | None] = list(ctx.saved_tensors[:6])
        if torch.is_grad_enabled():
            gradients = _differentiable(plan, given, cotangents[0])
        else:
            gradients = _pulled(plan, cotangents[0], clock_too=given[0] is not None)
        needed = ctx.needs_input_grad[2:]
        return None, None, *(part if need else None for part, need in zip(gradients, needed, strict=True))


def _pulled(plan: PassBack, cotangents: Tensor, *, clock_too: bool) -> list[Tensor | None]:
    pulled = pull_back(plan, cotangents.detach(), clock_too=clock_too)
    theta = pulled.theta
    if theta is not None and not plan.problem.per_sample:
        theta = theta.sum(1)
    return [theta, pulled.starts, pulled.sizes, pulled.y0, pulled.shared, pulled.sample]


def _differentiable(plan: PassBack, given: Sequence[Tensor | None], cotangents: Tensor) -> list[Tensor | None]:
    """Return the gradients with a graph of their own, by plain autograd through all steps."""
    if not len(plan.steps):
        return [None, None, None, cotangents.sum(0), None, None]
    known = Inputs.of(plan.problem, plan.posed, plan.steps)
    with severed([own if own is not None else other for own, other in zip(given, known, strict=True)]) as inputs:
        outputs = replayed_outputs(plan.problem, plan.program, plan.steps, Inputs(*inputs))
        wanted = [x for x in inputs if x.requires_grad]
        pulled = iter(torch.autograd.grad(outputs, wanted, cotangents, create_graph=True, allow_unused=True))
        return [next(pulled) if x.requires_grad else None for x in inputs]
