"""Weighted sums over stages, as the stepper takes them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Sum", "Sums"]

Row = tuple[float, ...]


class Sum(NamedTuple):
    """A row of weights as ``lead * (k[first] + sum_j ratios[j] k[others[j]])``, without weights of 0.

    Of these only ``lead`` is multiplied by the step size: the rest is the same for every step.
    """

    lead: float
    first: int
    others: tuple[int, ...]
    ratios: Row

    @classmethod
    def of(cls, row: Row) -> Sum:
        """Sort a row of weights out."""
        first, *others = (j for j, weight in enumerate(row) if weight != 0.0)
        return cls(row[first], first, tuple(others), tuple(row[j] / row[first] for j in others))


class Sums:
    """Rows of weights, sorted out once for a method; compared by identity, so that looking something up is quick."""

    def __init__(self, *rows: Row) -> None:
        self.each = tuple(Sum.of(row) for row in rows)
        self.leads = tuple(one.lead for one in self.each)
