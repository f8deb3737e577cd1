"""Ratios asked for, and those seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.race import Heat, Placing
from benchmarks.report import markdown_table

__all__ = ["Claim", "claims_table", "seen_ratio"]


@dataclass(frozen=True)
class Claim:
    """That one contestant is so many times cheaper than another, in one measure of a heat.

    Attributes
    ----------
    case, measure
        What is done, and what is compared: ``"time"``, ``"rows"`` or ``"memory"``.
    ours, other
        The contestants' names.
    asked
        The ratio of the other's cost to ours that is asked for.
    """

    case: str
    ours: str
    other: str
    asked: float
    measure: str = "time"


def seen_ratio(claim: Claim, heat: Heat) -> float | str:
    """Return the other's cost over ours, or why there is none."""
    costs = []
    for name in (claim.other, claim.ours):
        placing = heat.find(name)
        if placing is None:
            return next((note for note in heat.notes if note.startswith(f"{name}:")), f"{name}: did not run")
        cost = _cost(placing, claim.measure)
        if cost is None:
            return f"{name}: its {claim.measure} are not known"
        costs.append(cost)
    return costs[0] / costs[1]


def claims_table(found: Sequence[tuple[Claim, Heat]]) -> str:
    """Return a Markdown table with a row a claim."""
    rows = []
    for claim, heat in found:
        seen = seen_ratio(claim, heat)
        verdict = ["-", seen] if isinstance(seen, str) else [_times(seen), "yes" if seen >= claim.asked else "no"]
        rows.append([claim.case, claim.ours, claim.other, claim.measure, _times(claim.asked), *verdict])
    return markdown_table(["case", "ours", "against", "measure", "asked", "seen", "reached"], rows)


def _cost(placing: Placing, measure: str) -> float | None:
    if measure == "time":
        return placing.median
    return placing.work.rows if measure == "rows" else placing.peak


def _times(ratio: float) -> str:
    return f"{ratio:.3g}x" if ratio < 100 else f"{ratio:.0f}x"
