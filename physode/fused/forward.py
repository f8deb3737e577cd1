"""Solving by a kernel: launches until every sample has ended, and the record that they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.fused.kernel import LANES
from physode.fused.launch import Entries, blank, threads_for
from physode.solvers.clock import Grid
from physode.solvers.step_control import Adaptive, Controller
from physode.typing import Progress

__all__ = ["Block", "Posed", "Walked", "walk", "walk_grid"]

_SAVED = 11  # numbers that a sample is put away with, see sources/walk.h
_ACCEPTED, _REJECTED, _OUTPUT, _STATUS, _ENDED, _ACTIVE = 5, 6, 7, 8, 9, 10
_FEWEST_ROWS = 4  # of a block, however large
_FIRST_ROWS = 128  # of a record's first block
_BLOCK_BYTES = 2**28  # that a block of the record may take, if it has one row a sample or more


class Posed(NamedTuple):
    """What a kernel solves.

    Attributes
    ----------
    y0
        Initial states, ``(samples, D)``.
    t
        Output times, float64, ``(outputs,)``, or ``(outputs, samples)`` where each sample has its own.
    shared, sample
        The numbers that all samples share, ``(P,)``, and those of each, ``(samples, Q)``.
    per_sample
        Whether each sample has its own clock.
    """

    y0: Tensor
    t: Tensor
    shared: Tensor
    sample: Tensor
    per_sample: bool

    @property
    def samples(self) -> int:
        """The batch's size."""
        return len(self.y0)

    def arguments(self) -> dict[str, Any]:
        """Return what every launch is called with."""
        own = self.t.ndim == 2
        t0, t1 = (self.t[0], self.t[-1]) if own else (self.t[:1], self.t[-1:])
        return {
            "samples": self.samples,
            "threads": threads_for(self.samples),
            "p": self.shared,
            "q": self.sample,
            "t0": t0.contiguous(),
            "t1": t1.contiguous(),
            "times": self.t,
            "times_by_row": self.t.stride(0),
            "times_by_sample": self.t.stride(1) if own else 0,
            "clock_by_sample": int(own),
        }


class Block(NamedTuple):
    """Some accepted steps of some samples: ``rows`` of each at most, of which the first ``taken`` are there.

    ``order``: which samples. The clock is ``(samples of the block, rows)``, or ``(rows,)`` where all share it; states
    at the steps' starts ``(samples of the block, rows, D)``.
    """

    order: Tensor
    taken: Tensor
    starts: Tensor
    sizes: Tensor
    ends: Tensor
    nodes: Tensor | None
    dense: Tensor | None
    rows: int
    clock_by_row: int
    clock_by_step: int

    @property
    def dense_terms(self) -> int:
        """How many coefficients interpolants have that were kept."""
        return 0 if self.dense is None else self.dense.shape[2]

    @property
    def own_clocks(self) -> bool:
        """Whether each sample has its own clock."""
        return self.starts.ndim == 2

    def arguments(self) -> dict[str, Any]:
        """Return what a launch on this block is called with."""
        given = {
            "order": self.order, "taken": self.taken, "starts": self.starts, "sizes": self.sizes, "ends": self.ends,
            "rows": self.rows, "active": len(self.order), "taken_by_row": int(self.own_clocks),
            "clock_by_row": self.clock_by_row, "clock_by_step": self.clock_by_step,
        }  # fmt: skip
        optional = {"nodes": self.nodes, "dense": self.dense}
        return given | {name: value for name, value in optional.items() if value is not None}


@dataclass(frozen=True)
class Walked:
    """What a solve leaves.

    Attributes
    ----------
    outputs
        ``(outputs, samples, D)``.
    end
        The last states, ``(samples, D)``.
    blocks
        The record.
    status, ended, accepted, rejected
        One a sample, or one where all share a clock.
    written
        How many outputs of each sample were reached.
    """

    outputs: Tensor
    end: Tensor
    blocks: tuple[Block, ...]
    status: Tensor
    ended: Tensor
    accepted: Tensor
    rejected: Tensor
    written: Tensor
    per_sample: bool
    grid: Grid | None = None

    @property
    def longest(self) -> int:
        """The most steps that any sample took."""
        return int(self.accepted.max()) if self.grid is None else len(self.grid.starts)


def walk(
    kernel: Entries,
    posed: Posed,
    steps: Adaptive,
    *,
    outputs: int,
    nodes: bool,
    dense: int,
    tolerances: tuple[Tensor, Tensor],
    progress: Progress | None = None,
) -> Walked:
    """Take adaptive steps until every sample has ended.

    Parameters
    ----------
    outputs
        How many of the times are outputs: all, or 0 where the end alone is asked for.
    nodes
        Whether the states at steps' starts are kept.
    dense
        How many coefficients an interpolant has, where these are kept; 0 else.
    tolerances
        Relative and absolute, ``(D,)`` each.
    progress
        Told after each launch which share of the span is done.
    """
    y, samples = posed.y0.clone(), posed.samples
    dimension = y.shape[1]
    found = blank(outputs, samples, dimension, dtype=y.dtype, device=y.device)
    saved = torch.empty(samples if posed.per_sample else 1, _SAVED, dtype=torch.float64, device=y.device)
    counter = torch.zeros(1, dtype=torch.int64, device=y.device)
    arguments = posed.arguments() | _controls(steps) | {
        "y": y, "k": torch.empty_like(y), "outputs": found, "count": outputs, "saved": saved, "counter": counter,
        "rtol": tolerances[0], "atol": tolerances[1],
    }  # fmt: skip
    if not posed.per_sample:
        groups = (samples + LANES - 1) // LANES
        arguments["scratch"] = _aligned(groups * kernel.group_bytes)
    kernel.launch("begin", arguments)
    blocks: list[Block] = []
    rows = _FIRST_ROWS
    while len(order := _active(saved, posed)):
        block = _blank(order, _fitting(rows, order, y, nodes=nodes, dense=dense), posed, y, nodes=nodes, dense=dense)
        counter.zero_()
        kernel.launch("walk", arguments | block.arguments())
        blocks.append(block)
        rows *= 2
        if progress is not None:
            progress(_fraction(saved, arguments))
    ends = saved if posed.per_sample else saved[0]
    return Walked(
        found, y, tuple(blocks), ends[..., _STATUS].to(torch.int8), ends[..., _ENDED].clone(),
        ends[..., _ACCEPTED].long(), ends[..., _REJECTED].long(), saved[:, _OUTPUT].long().expand(samples).contiguous(),
        posed.per_sample,
    )  # fmt: skip


def _fraction(saved: Tensor, arguments: dict[str, Any]) -> float:
    """Return the share of its span that the sample has done which is last."""
    done = (saved[:, 0] - arguments["t0"]) / (arguments["t1"] - arguments["t0"])
    return float(torch.where(saved[:, _ACTIVE] != 0, done, 1.0).min())


def _active(saved: Tensor, posed: Posed) -> Tensor:
    """Return the samples that have not ended."""
    if posed.per_sample:
        return saved[:, _ACTIVE].nonzero().flatten()
    return torch.arange(posed.samples if saved[0, _ACTIVE] else 0, device=saved.device)


def _aligned(size: int) -> Tensor:
    """Return memory that begins at a multiple of 64 bytes."""
    memory = torch.empty(size + 64, dtype=torch.uint8)
    return memory[-memory.data_ptr() % 64 :]


def _fitting(rows: int, order: Tensor, y: Tensor, *, nodes: bool, dense: int) -> int:
    """Return how many rows of a record a block has: so many, or as many as fit."""
    row = 24 + y.shape[1] * y.element_size() * (int(nodes) + dense)
    return max(_FEWEST_ROWS, min(rows, _BLOCK_BYTES // (len(order) * row)))


def _blank(order: Tensor, rows: int, posed: Posed, y: Tensor, *, nodes: bool, dense: int) -> Block:
    dimension = y.shape[1]
    count, clocks = len(order), (len(order),) if posed.per_sample else ()
    starts, sizes, ends = blank(*clocks, rows, 3, dtype=torch.float64, device=y.device).unbind(-1)
    return Block(
        order,
        torch.zeros(clocks or (1,), dtype=torch.int64, device=y.device),
        starts,
        sizes,
        ends,
        blank(count, rows, dimension, dtype=y.dtype, device=y.device) if nodes else None,
        blank(count, rows, dense, dimension, dtype=y.dtype, device=y.device) if dense else None,
        rows,
        3 * rows if posed.per_sample else 0,
        3,
    )


def _controls(steps: Adaptive) -> dict[str, Any]:
    controller: Controller = steps.controller
    integral = controller.proportional == 0.0 and controller.derivative == 0.0 and controller.integral == 1.0
    return {
        "first_step": steps.first_step or 0.0, "min_step": steps.min_step, "max_step": steps.max_step or 0.0,
        "max_steps": steps.max_steps, "safety": controller.safety, "min_factor": controller.min_factor,
        "max_factor": controller.max_factor, "proportional": controller.proportional, "integral": controller.integral,
        "derivative": controller.derivative, "predictive": int(controller.predictive), "integral_only": int(integral),
    }  # fmt: skip


def walk_grid(kernel: Entries, posed: Posed, grid: Grid, *, outputs: int, nodes: bool, dense: int) -> Walked:
    """Take the steps of a grid, ``(steps,)`` or ``(steps, samples)``."""
    y, samples, rows = posed.y0.clone(), posed.samples, len(grid.starts)
    starts, sizes, ends = (part.detach().contiguous() for part in grid)
    device = y.device
    found = blank(outputs, samples, y.shape[1], dtype=y.dtype, device=device)
    saved = torch.empty(samples, _SAVED, dtype=torch.float64, device=device)
    own = starts.ndim == 2
    taken = torch.full((samples if own else 1,), rows, dtype=torch.int64, device=device)
    block = Block(
        torch.arange(samples, device=device), taken, starts, sizes, ends,
        blank(samples, rows, y.shape[1], dtype=y.dtype, device=device) if nodes else None,
        blank(samples, rows, dense, y.shape[1], dtype=y.dtype, device=device) if dense else None, rows,
        int(own), samples if own else 1,
    )  # fmt: skip
    counter = torch.zeros(1, dtype=torch.int64, device=device)
    kernel.launch("walk", posed.arguments() | block.arguments() | {
        "y": y, "outputs": found, "count": outputs, "saved": saved, "counter": counter,
        "grid_by_row": samples if own else 1,
    })  # fmt: skip
    status, ended, written = saved[:, _STATUS].to(torch.int8), saved[:, _ENDED], saved[:, _OUTPUT].long()
    moved = (sizes != 0).sum(0)
    if posed.per_sample:
        moved = moved.expand(samples)
    if not posed.per_sample:
        worst = status.argmax()
        status, ended = status[worst], ended[status == status[worst]].min()
    return Walked(found, y, (block,), status, ended, moved, torch.zeros_like(moved), written, posed.per_sample, grid)
