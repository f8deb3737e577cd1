"""Timing contestants fairly: one process, one thread, interleaved rounds, medians, ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Contestant", "Placing", "race", "table"]


class Contestant(NamedTuple):
    """One way to do a case's work; ``run`` does it once."""

    name: str
    run: Callable[[], object]


class Placing(NamedTuple):
    """A contestant's times over all rounds, in seconds."""

    name: str
    median: float
    fastest: float
    slowest: float


def race(contestants: Sequence[Contestant], rounds: int) -> list[Placing]:
    """Run every contestant once to warm up, then once a round, in turn, so that all meet the same machine."""
    for contestant in contestants:
        contestant.run()
    times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            start = time.perf_counter()
            contestant.run()
            times[contestant.name].append(time.perf_counter() - start)
    return [Placing(name, statistics.median(t), min(t), max(t)) for name, t in times.items()]


def table(title: str, placings: Sequence[Placing]) -> str:
    """Return a Markdown table: milliseconds, and each contestant's median over the first one's."""
    base = placings[0].median
    lines = [f"### {title}", "", "| | median ms | from | to | times the first |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {p.name} | {p.median * 1e3:.2f} | {p.fastest * 1e3:.2f} | {p.slowest * 1e3:.2f} | {p.median / base:.2f} |"
        for p in placings
    ]
    return "\n".join(lines)
