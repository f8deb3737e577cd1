"""ACA's pass back over a compiled solve, block of steps after block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.autograd import FIRST_ORDER, first_order_only, one_by_one, reference
from physode.compiled.blocks import Block, Reading
from physode.compiled.capture import Captured
from physode.compiled.engine import Engine
from physode.compiled.forward import Clock
from physode.compiled.reading import place_of, weights_of
from physode.problem.problem import Problem
from physode.solvers.clock import Grid
from physode.solvers.interpolation import Location, locate
from physode.status import Status

__all__ = ["BackwardPass", "differentiable"]


@dataclass(eq=False)
class BackwardPass:
    """One solve, for its pass back. ``wanted``: which of the program's tensors ask for gradients."""

    problem: Problem
    engine: Engine
    captured: Captured
    clock: Clock
    wanted: tuple[int, ...]
    reading: Reading
    blocks: list[Block]
    status: Tensor | None
    clock_too: bool

    def pull(self, block: Block, cotangents: Tensor, ahead: Tensor) -> tuple[Tensor, ...]:
        """Pull cotangents of the block's rows and of the state behind it back."""
        nodes = self._safe(block.steps[:, 0]).contiguous()  # one layout, however many columns the block has
        tensors = tuple(tensor.detach() for tensor in self.captured.tensors)
        return self.engine.pull(
            self.wanted,
            self.clock_too,
            block.taken,
            block.starts,
            block.sizes,
            nodes,
            self.clock.pack(),
            tensors,
            cotangents,
            ahead,
        )

    def _safe(self, nodes: Tensor) -> Tensor:
        """Replace failed samples' states by a good sample's: where they stand, NaN may arise and spoil sums."""
        status = self.status
        if status is None or status.ndim == 0:
            return nodes
        failed = status != Status.SUCCESS
        if not bool(failed.any()) or bool(failed.all()):
            return nodes
        axis = nodes.ndim - 1 if self.engine.layout.batch_last else 1
        good = nodes.index_select(axis, (~failed).nonzero()[:1, 0])
        shape = [1] * nodes.ndim
        shape[axis] = -1
        return torch.where(failed.reshape(shape), good, nodes)

    def blank(self, like: Tensor) -> Tensor:
        """Return room for the cotangents of a block."""
        rows, columns = self.engine.rows + 1, self.engine.columns
        return torch.empty(rows, columns, *like.shape, dtype=like.dtype, device=like.device)

    def compile(self, y: Tensor) -> None:
        """Compile the backward pass: run it over no step."""
        if self.engine.has(("pull", self.wanted, self.clock_too)):
            return
        blank, t0 = self.blank(y), self.clock.t0
        # Each with memory of its own: loops refuse inputs that share it.
        starts, sizes, ends = (torch.zeros(len(blank), *t0.shape, dtype=t0.dtype, device=t0.device) for _ in range(3))
        steps = torch.zeros_like(blank) if self.keeps_steps else blank[:, :1].clone()
        with torch.no_grad():
            self.pull(Block(starts, sizes, ends, steps, 0), blank, torch.zeros_like(y))

    @property
    def keeps_steps(self) -> bool:
        """Whether interpolants are kept beside the states: gradients in output times need them."""
        return self.clock_too and self.engine.dense


def differentiable(plan: BackwardPass, outputs: Tensor, grid: Grid) -> Tensor:
    """Return the outputs with their gradients in the clock, the output times, the initial state and the tensors."""
    problem = plan.problem
    theta = None
    if plan.clock_too and plan.engine.dense and len(grid.starts):
        theta = locate(problem.t, *grid).theta
    chosen = [plan.captured.tensors[i] for i in plan.wanted]
    return _Solved.apply(plan, outputs, theta, grid.starts, grid.sizes, problem.y0, *chosen)  # type: ignore[no-any-return, no-untyped-call]


class _Solved(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: BackwardPass, outputs: Tensor, theta: Tensor | None, starts: Tensor, sizes: Tensor, y0: Tensor,
        *chosen: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.plan = reference(plan)
        # Saved for their version counters: what changed in place before the backward pass must raise there.
        ctx.save_for_backward(theta, y0, *plan.captured.tensors)
        return outputs.view_as(outputs)

    @staticmethod
    @one_by_one
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        plan: BackwardPass = ctx.plan()
        theta = ctx.saved_tensors[0]
        with torch.no_grad():
            found = _pull_back(plan, cotangents[0].detach(), theta)
        return None, None, *first_order_only(found, [*ctx.saved_tensors, *cotangents], FIRST_ORDER)


def _pull_back(plan: BackwardPass, cotangents: Tensor, theta: Tensor | None) -> list[Tensor | None]:
    layout, tableau = plan.engine.layout, plan.engine.tableau
    given = layout.rows(cotangents, 1)
    blank = plan.blank(given[0])
    ahead = blank.new_zeros(blank.shape[2:])
    totals: list[Tensor] | None = None
    d_theta = None if theta is None else torch.zeros_like(theta)
    d_starts: list[Tensor] = []
    d_sizes: list[Tensor] = []
    for block in reversed(plan.blocks):
        rows = plan.reading.cotangents(given, block, blank, is_last=totals is None)
        ahead, *parts = plan.pull(block, rows, ahead + rows[block.taken, 0])
        if plan.clock_too:
            in_start, in_size, *parts = parts
            d_starts.insert(0, in_start[: block.taken])
            d_sizes.insert(0, in_size[: block.taken])
        if d_theta is not None and theta is not None:
            _in_theta(d_theta, theta, block, given, layout.batch_last)
        totals = parts if totals is None else [a + b for a, b in zip(totals, parts, strict=True)]
        plan.problem.backward.count += block.taken * (
            tableau.stages + (1 + len(tableau.c_extra) if plan.engine.dense else 0)
        )
    assert totals is not None
    in_clock = [torch.cat(d_starts), torch.cat(d_sizes)] if plan.clock_too else [None, None]
    return [d_theta, *in_clock, layout.view(ahead), *totals]


def _in_theta(d_theta: Tensor, theta: Tensor, block: Block, given: Tensor, batch_last: bool) -> None:
    """Add the gradients in how far each output lies into its step, by the interpolants' derivatives."""
    first, behind = block.outputs
    steps = block.steps
    assert block.place is not None
    row, inside = block.place.row, block.place.inside
    with torch.enable_grad():
        along = theta[first:behind].detach().requires_grad_()
        weights = weights_of(place_of(Location(row, along), steps.dtype), steps.shape[1])
    part = given[first:behind]
    each = theta.ndim == 2
    found = torch.zeros_like(weights)
    for p in range(steps.shape[1]):
        if each:
            axis = steps.ndim - 2 if batch_last else 1
            column = steps[:, p].movedim(axis, 1)
            values = column[row, torch.arange(row.shape[1], device=row.device)]
            cotangent = part.movedim(axis, 1)
            found[:, p] = torch.where(inside, _sum(values * cotangent, 2), 0.0)
        else:
            found[:, p] = _sum(steps[:, p].index_select(0, row) * part, 1)
    (d_along,) = torch.autograd.grad(weights, along, found)
    d_theta[first:behind] += d_along


def _sum(x: Tensor, leading: int) -> Tensor:
    """Sum over all but the leading axes."""
    return x.sum(tuple(range(leading, x.ndim))) if x.ndim > leading else x
