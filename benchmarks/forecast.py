"""Whether a larger run is worth starting: its time and memory, foretold from a smaller one's."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Cost", "refusal"]


class Cost(NamedTuple):
    """Seconds and bytes of one run."""

    seconds: float
    bytes: int

    def times(self, factor: float) -> Cost:
        """Return the cost of a run larger by a factor, were it in proportion: too much if anything."""
        return Cost(self.seconds * factor, int(self.bytes * factor))


def refusal(cost: Cost, *, longest: float, available: int, share: float = 0.75) -> str | None:
    """Return why a run of this cost is not started, or None."""
    if cost.bytes > share * available:
        return f"it would need about {cost.bytes / 1e9:.0f} GB of {available / 1e9:.0f} GB at hand"
    if cost.seconds > longest:
        return f"one run would take about {cost.seconds:.0f} s"
    return None
