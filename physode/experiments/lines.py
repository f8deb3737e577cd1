"""What tables of trainings are made of: outcomes of equal trainings, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physode.experiments.cells import Outcome
from physode.experiments.report import Finding

__all__ = ["Line", "completeness", "figure", "mean", "note"]


@dataclass(frozen=True)
class Line:
    """The outcomes of one model's trainings, by seed."""

    outcomes: Mapping[int, Outcome]

    @property
    def done(self) -> list[Mapping[str, Any]]:
        """What the trainings that ended have returned."""
        return [each.result for each in self.outcomes.values() if each.failure is None]

    @property
    def failures(self) -> list[str]:
        """Why the others did not end, with their seeds."""
        return [f"seed {seed}: {each.failure}" for seed, each in self.outcomes.items() if each.failure is not None]

    @property
    def runs(self) -> str | int:
        """How many there are, or how many of them ended."""
        return f"{len(self.done)} of {len(self.outcomes)}" if self.failures else len(self.outcomes)

    def values(self, name: str) -> list[float]:
        """Return a number of every training that ended."""
        return [float(each[name]) for each in self.done]

    def seconds(self) -> list[float]:
        """Return how long each training took, without its tests."""
        return [sum(line["seconds"] for line in each["history"]) for each in self.done]

    def evaluations(self) -> list[float]:
        """Return the evaluations of right-hand sides, forward and backward, a batch of the whole training."""
        return [
            float(np.mean([line["rhs_forward"] + line["rhs_backward"] for line in each["history"]]))
            for each in self.done
        ]


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return float(np.mean(values)) if len(values) else None


def figure(values: Sequence[float], *, digits: int = 2, sign: bool = False) -> str | None:
    """Return the mean with the standard deviation where there are several; None of nothing."""
    if not len(values):
        return None
    text = f"{np.mean(values):{'+' if sign else ''}.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.{digits}f}"


def note(line: Line) -> str:
    """Return why trainings did not end; empty where all did."""
    return "; ".join(f"failed: {each}" for each in line.failures)


def completeness(outcomes: Iterable[tuple[str, Outcome]]) -> Finding:
    """Return whether every training ended."""
    cells = list(outcomes)
    failed = [name for name, each in cells if each.failure is not None]
    found = f"{len(cells) - len(failed)} of {len(cells)} do" + (f"; not {', '.join(failed)}" if failed else "")
    return Finding("every training ends", found, not failed)
