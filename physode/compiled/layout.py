"""How the loops store states: with the batch innermost where samples are small."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Layout"]

_SMALL_SAMPLE = 64  # components; wider samples fill vector registers by themselves
_SMALL_BATCH = 8


class Layout(NamedTuple):
    """From states ``(batch, *rest)`` to rows as stored and back.

    With ``batch_last`` a row is ``(*rest, batch)``: the loops over a batch of small samples then run along memory, in
    vector registers (three bodies, B = 1000: 115 microseconds an attempt in place of 247).
    """

    batch_last: bool

    @classmethod
    def of(cls, y: Tensor) -> Layout:
        """Choose the layout of states shaped like ``y``."""
        return cls(y.ndim >= 2 and len(y) >= _SMALL_BATCH and y[0].numel() <= _SMALL_SAMPLE)

    def rows(self, states: Tensor, leading: int = 0) -> Tensor:
        """Return states in the order of rows, a view; ``leading`` further axes stand in front."""
        return states.movedim(leading, -1) if self.batch_last else states

    def store(self, states: Tensor, leading: int = 0) -> Tensor:
        """Return states as rows, contiguous."""
        return self.rows(states, leading).contiguous()

    def view(self, rows: Tensor, leading: int = 0) -> Tensor:
        """Return rows as states, a view."""
        return rows.movedim(-1, leading) if self.batch_last else rows
