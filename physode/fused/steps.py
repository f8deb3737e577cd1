"""The steps of a solve by a kernel as the rest of the engine sees them: a clock, and a table to read outputs from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from physode.fused.forward import Walked
from physode.gradients.outputs import StepTable
from physode.solvers.clock import Grid

__all__ = ["StepsTaken", "by_step", "step_table"]


@dataclass
class StepsTaken:
    """What a solve tells of its steps (:class:`~physode.gradients.outputs.StepRecord`).

    Attributes
    ----------
    walked
        What the kernel left.
    per_sample
        Whether samples have clocks of their own.
    """

    walked: Walked
    per_sample: bool

    @property
    def status(self) -> Tensor:
        """Why each group ended."""
        return self._of_groups(self.walked.status)

    @property
    def ended(self) -> Tensor:
        """When each group ended."""
        return self._of_groups(self.walked.ended)

    @property
    def accepted(self) -> Tensor:
        """Steps, counted per group."""
        return self._of_groups(self.walked.accepted)

    @property
    def rejected(self) -> Tensor:
        """Rejected attempts, counted per group."""
        return self._of_groups(self.walked.rejected)

    def _of_groups(self, values: Tensor) -> Tensor:
        return values.reshape(()) if not self.per_sample and values.ndim else values

    def __len__(self) -> int:
        return self.walked.longest

    def clock(self) -> Grid:
        """Return the steps' starts, signed sizes and ends, ``(steps, *groups)``."""
        return self._clock

    @cached_property
    def _clock(self) -> Grid:
        walked = self.walked
        if walked.grid is not None:
            return Grid(*(part.detach() for part in walked.grid))
        blocks = walked.blocks
        clock = [
            by_step(walked, [getattr(block, name) for block in blocks], per_sample=self.per_sample)
            for name in ("starts", "sizes", "ends")
        ]
        if not self.per_sample or not len(self):
            return Grid(*clock)
        starts, sizes, ends = clock
        there = torch.arange(len(ends), device=ends.device)[:, None] < walked.accepted
        last = torch.where(there, ends, -torch.inf if bool((sizes >= 0).all()) else torch.inf)
        last = last.amax(0) if bool((sizes >= 0).all()) else last.amin(0)
        last = torch.where(walked.accepted > 0, last, walked.ended)
        return Grid(torch.where(there, starts, last), sizes, torch.where(there, ends, last))


def by_step(walked: Walked, parts: Sequence[Tensor], *, per_sample: bool) -> Tensor:
    """Join what blocks have of each step, ``(samples of the block, rows, ...)``, as ``(steps, *groups, ...)``.

    Where a sample took fewer steps than others, 0 follows. With one clock for all, parts without samples are its own,
    and of others the sum is taken.
    """
    count = walked.longest
    own = per_sample or walked.per_sample
    if not own:
        shared = [part.sum(0) if part.ndim == 2 else part for part in parts]
        return torch.cat([*shared, torch.zeros(0, dtype=torch.float64, device=walked.end.device)])[:count]
    samples, first, device = len(walked.accepted), 0, walked.end.device
    behind = parts[0].shape[2:] if parts else ()
    whole = torch.zeros(count, samples, *behind, dtype=parts[0].dtype if parts else torch.float64, device=device)
    for part, block in zip(parts, walked.blocks, strict=True):
        there = torch.arange(block.rows, device=device) < block.taken[:, None]
        width = min(block.rows, count - first)
        kept = torch.where(there.reshape(*there.shape, *[1] * len(behind)), part, 0.0)[:, :width]
        whole[first : first + width, block.order] = kept.transpose(0, 1)
        first += block.rows
    return whole if per_sample else whole[:, 0]


def step_table(steps: StepsTaken, shape: Sequence[int], direction: Tensor) -> StepTable | None:
    """Return the steps with their interpolants, for states of this shape; None where no step was taken."""
    walked = steps.walked
    count = len(steps)
    if not count:
        return None
    (samples, dimension), device = walked.end.shape, walked.end.device
    grid_rows = walked.grid is not None
    nodes = walked.end.new_zeros(count + 1, samples, dimension)
    dense = walked.end.new_zeros(count, samples, walked.blocks[0].dense_terms, dimension)
    first = 0
    for block in walked.blocks:
        assert block.nodes is not None
        assert block.dense is not None
        width = min(block.rows, count - first)
        there = torch.arange(width, device=device) < (width if grid_rows else block.taken.reshape(-1, 1))
        there = there.reshape(-1, width)
        kept = there[..., None].expand(len(block.order), width, 1)
        nodes[first : first + width, block.order] = torch.where(kept, block.nodes[:, :width], 0.0).transpose(0, 1)
        dense[first : first + width, block.order] = torch.where(kept[..., None], block.dense[:, :width], 0.0).transpose(
            0, 1
        )
        first += width
    taken = walked.accepted.expand(samples) if not grid_rows else torch.full((samples,), count, device=device)
    behind = torch.arange(count + 1, device=device)[:, None] >= taken
    nodes = torch.where(behind[..., None], walked.end, nodes)
    return StepTable(
        direction,
        steps.clock(),
        nodes[:-1].reshape(count, *shape),
        dense.transpose(1, 2).reshape(count, -1, *shape),
        nodes[1:].reshape(count, *shape),
    )
