"""Tables 1 to 3: mean confusion matrices of the three networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physode.experiments.cells import Cell, Outcome
from physode.experiments.images.galaxy.judging import judged
from physode.experiments.images.galaxy.paper import CONFUSION
from physode.experiments.images.galaxy.plan import MODELS, Config, cells_of, line_of, title
from physode.experiments.lines import completeness, note
from physode.experiments.report import Finding, Result
from physode.metrics import Averaged
from physode.plotting import plot_confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Confusion"]

_CLOSE = 0.01  # of the accuracy, below the paper's


@dataclass(frozen=True)
class Confusion:
    """One of the three tables.

    Attributes
    ----------
    place
        Its name in the paper.
    model
        A key of :data:`~physode.experiments.images.galaxy.plan.MODELS`.
    """

    place: str
    model: str

    def cells(self, config: Config) -> list[Cell]:
        """Return the trainings of the model."""
        return cells_of(config, [self.model])

    def gather(self, config: Config, outcomes: Mapping[str, Outcome]) -> Result:
        """Make the table: a row a true class."""
        found, line = judged(config, outcomes, self.model), line_of(config, outcomes, self.model)
        paper = CONFUSION[self.model] if config.comparable else None
        rows = [
            {
                "true class": name,
                **{each: _cell(found, row, column) for column, each in enumerate(config.classes)},
                "the paper": None if paper is None else paper[row],
                "runs": line.runs,
                "note": note(line),
            }
            for row, name in enumerate(config.classes)
        ]
        return Result(
            name=config.name,
            title=title(config, f"Mean confusion of {MODELS[self.model].label}", self.place),
            config=config.settings(),
            rows=rows,
            findings=[*self._findings(config, found), completeness(outcomes.items())],
            series={} if found is None else {"confusion": found.confusion.mean},
        )

    def draw(self, result: Result) -> Figure:
        """Draw the matrix; of no training, an empty one."""
        classes = result.config["classes"]
        empty = np.zeros((len(classes), len(classes)))
        heading = result.title.replace(" (", "\n(", 1).replace(": ", ":\n", 1).replace("; ", ";\n", 1)
        return plot_confusion(result.series.get("confusion", empty), classes=classes, title=heading)

    def _findings(self, config: Config, found: Averaged | None) -> Iterator[Finding]:
        if not config.comparable:
            return
        theirs = np.array(CONFUSION[self.model], dtype=float)
        share = float(np.trace(theirs) / theirs.sum())
        text = f"{100 * share:.1f} % of all images are right"
        hardest = "the cigar-shaped, class 2, are the least complete"
        if found is None:
            yield Finding(text, "no training ended", False)
            yield Finding(hardest, "no training ended", False)
            return
        accuracy, each = float(found.numbers["accuracy"].mean), found.numbers["completeness"].mean
        yield Finding(text, f"{100 * accuracy:.1f} %", accuracy >= share - _CLOSE)
        least = int(np.nanargmin(each))
        yield Finding(hardest, f"class {least}: {each[least]:.3f}", least == 2)


def _cell(found: Averaged | None, row: int, column: int) -> str | None:
    if found is None:
        return None
    error = found.confusion.error[row, column]
    return f"{found.confusion.mean[row, column]:.1f}" + (f" ± {error:.1f}" if np.isfinite(error) else "")
