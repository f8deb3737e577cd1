"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.race import Heat, Placing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report", "heat_section", "markdown_table"]


@dataclass(frozen=True)
class Report:
    """What a case found: Markdown, and how to draw it."""

    text: str
    draw: Callable[[], Figure] | None = None


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns after the first are flush right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def heat_section(heat: Heat) -> str:
    """Return a heat's table, each median over the first contestant's, and the notes below it."""
    parts = [f"### {heat.title}"]
    if heat.placings:
        base = heat.placings[0].median
        with_peak = any(placing.peak is not None for placing in heat.placings)
        rows = [_row(placing, base, with_peak) for placing in heat.placings]
        parts.append(markdown_table([*_HEADER, *(["peak MB"] if with_peak else [])], rows))
    if heat.notes:
        parts.append("\n".join(f"- {note}" for note in heat.notes))
    return "\n\n".join(parts)


_HEADER = (
    "", "median ms", "from", "to", "rounds", "times the first", "first run s", "error", "of gradient",
    "rhs calls", "backward", "rows", "of use", "accepted", "rejected",
)  # fmt: skip


def _row(placing: Placing, base: float, with_peak: bool) -> list[str]:
    work = placing.work
    row = [
        placing.name,
        *(_milliseconds(time) for time in (placing.median, min(placing.times), max(placing.times))),
        str(len(placing.times)),
        f"{placing.median / base:.2f}",
        f"{placing.first:.2f}",
        *(f"{error:.0e}" if error else "0" for error in placing.errors),
        *(_count(count) for count in (work.calls, work.backward_calls, work.rows)),
        "-" if work.useful is None else f"{work.useful:.0%}",
        *(_count(count) for count in (work.accepted, work.rejected)),
    ]
    if with_peak:
        row.append("" if placing.peak is None else f"{placing.peak / 1e6:.1f}")
    return row


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def _count(count: float | None) -> str:
    if count is None:
        return "-"
    return f"{count:.0f}" if float(count).is_integer() or count >= 100 else f"{count:.1f}"
