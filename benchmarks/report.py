"""Results as Markdown: the sections of a report, what they say beside claims, and the machine they come from."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.race import Heat, Placing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Claim",
    "Limit",
    "Report",
    "claims_table",
    "describe",
    "heat_section",
    "limits_table",
    "markdown_table",
    "seen_ratio",
]


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


_EQUAL = 3.0
"""The factor within which errors are as good as equal."""


def seen_ratio(claim: Claim, heat: Heat) -> float | str:
    """Return the other's cost over ours, or why there is none: a larger error of ours, for one."""
    costs = []
    for name in (claim.other, claim.ours):
        placing = heat.find(name)
        if placing is None:
            return next((note for note in heat.notes if note.startswith(f"{name}:")), f"{name}: did not run")
        cost = _cost(placing, claim.measure)
        if cost is None:
            return f"{name}: its {claim.measure} are not known"
        costs.append(cost)
    if _far_from(heat, claim.ours, claim.other):
        return "not compared: the errors of ours are larger"
    return costs[0] / costs[1]


def _far_from(heat: Heat, one: str, other: str) -> bool:
    """Whether one contestant's errors are larger than another's by more than the factor that is as good as equal."""
    first, second = heat.find(one), heat.find(other)
    if first is None or second is None or not (first.compared and second.compared):
        return False
    return any(a > _EQUAL * b for a, b in zip(first.errors, second.errors, strict=True))


def claims_table(found: Sequence[tuple[Claim, Heat]]) -> str:
    """Return a Markdown table with a row a claim; "at least" where the other's errors are far larger than ours."""
    rows = []
    for claim, heat in found:
        seen = seen_ratio(claim, heat)
        if isinstance(seen, str):
            verdict = ["-", seen]
        else:
            bound = "at least " if _far_from(heat, claim.other, claim.ours) else ""
            verdict = [f"{bound}{_times(seen)}", "yes" if seen >= claim.asked else "no"]
        errors = [_errors(heat.find(name)) for name in (claim.ours, claim.other)]
        rows.append([claim.case, claim.ours, claim.other, claim.measure, _times(claim.asked), *errors, *verdict])
    header = ["case", "ours", "against", "measure", "asked", "errors of ours", "the other's", "seen", "reached"]
    return markdown_table(header, rows)


def _errors(placing: Placing | None) -> str:
    if placing is None or not placing.compared:
        return "-"
    return ", ".join(f"{error:.0e}" if error else "0" for error in placing.errors)


@dataclass(frozen=True)
class Limit:
    """That a figure is at most so much, in a unit."""

    case: str
    what: str
    most: float
    seen: float | str
    unit: str = ""


def limits_table(limits: Sequence[Limit]) -> str:
    """Return a Markdown table with a row a limit."""
    rows = []
    for limit in limits:
        if isinstance(limit.seen, str):
            verdict = ["-", limit.seen]
        else:
            verdict = [_figure(limit.seen, limit.unit), "yes" if limit.seen <= limit.most else "no"]
        rows.append([limit.case, limit.what, _figure(limit.most, limit.unit), *verdict])
    return markdown_table(["case", "what", "at most", "seen", "reached"], rows)


def _figure(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".rstrip()


def _cost(placing: Placing, measure: str) -> float | None:
    if measure == "time":
        return placing.median
    return placing.work.rows if measure == "rows" else placing.peak


def _times(ratio: float) -> str:
    return f"{ratio:.3g}x" if ratio < 100 else f"{ratio:.0f}x"


_PACKAGES = ("physode", "torch", "torchdiffeq", "torchode", "TorchDiffEqPack", "diffrax", "gradsolve", "jax")


def describe() -> str:
    """Return one sentence: processor, cores, versions, date."""
    packages = []
    for name in _PACKAGES:
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return (
        f"One thread of {_processor()} ({os.cpu_count()} cores); {', '.join(packages)}; "
        f"Python {platform.python_version()}; {today}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
