"""Tables 6 and 7: by how many points the error rate rises with another solver than in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physode.experiments.cells import Cell, Outcome
from physode.experiments.images.beside import Mark, draw_beside
from physode.experiments.images.cifar.plan import MODELS, Config, line_of, lines
from physode.experiments.images.cifar.solvers import SOLVERS
from physode.experiments.images.cifar.titles import title
from physode.experiments.lines import Line, completeness, mean, note
from physode.experiments.report import Finding, Result, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Robustness"]


@dataclass(frozen=True)
class Robustness:
    """One of the two tables.

    Attributes
    ----------
    place
        Its name in the paper.
    protocol, model
        Of the trainings.
    own
        The label of their own solver.
    error
        The paper's error rate with it, in percent.
    paper
        The paper's increases.
    statement
        What the paper says of most of them.
    least, most
        Between which the median increase has to be to agree.
    """

    place: str
    protocol: str
    model: str
    own: str
    error: float
    paper: Mapping[str, float]
    statement: str
    least: float
    most: float

    def cells(self, config: Config) -> list[Cell]:
        """Return the trainings of the model."""
        return lines(config, self.protocol, [self.model])

    def gather(self, config: Config, outcomes: Mapping[str, Outcome]) -> Result:
        """Make the table: one row a solver."""
        line = line_of(config, outcomes, self.protocol, self.model)
        own = mean(line.values("error"))
        subject = f"{MODELS[self.model].label} tested by other solvers than in training"
        return Result(
            name=config.name,
            title=title(config, subject, self.place),
            config=config.settings(),
            rows=[self._row(line, label) for label in SOLVERS],
            findings=[
                Finding(
                    f"error rate with the solver of training, {self.own}: {self.error:g} %",
                    "no training ended" if own is None else f"{own:.4g} %",
                    own is not None and own <= self.error,
                ),
                self._median(line),
                completeness(outcomes.items()),
            ],
        )

    def draw(self, result: Result) -> Figure:
        """Draw the increases beside the paper's."""
        rows = result.rows
        ours = [_mark(row["increase (points)"], row["sd"]) for row in rows]
        theirs = [Mark(row["the paper (CIFAR10)"]) for row in rows]
        return draw_beside(
            [str(row["solver"]) for row in rows],
            {"": ours},
            {"": theirs},
            quantity="increase of the error rate (percentage points)",
            title=result.title.replace(": ", ":\n", 1),
        )

    def _row(self, line: Line, label: str) -> Row:
        tests = [each["tests"][label] for each in line.done]
        failures = [f"failed: {test['failure']}" for test in tests if "failure" in test]
        known = [test for test in tests if "failure" not in test]
        rises = _increases(line, label)
        return {
            "solver": f"{label} (training)" if label == self.own else label,
            "increase (points)": mean(rises),
            "sd": float(np.std(rises, ddof=1)) if len(rises) > 1 else None,
            "the paper (CIFAR10)": self.paper[label],
            "error (%)": mean([test["error"] for test in known]),
            "rhs evaluations a batch": mean([test["rhs"] for test in known]),
            "runs": line.runs,
            "note": "; ".join([*filter(None, [note(line)]), *failures]),
        }

    def _median(self, line: Line) -> Finding:
        others = [label for label in SOLVERS if label != self.own]
        theirs = float(np.median([self.paper[label] for label in others]))
        text = f"{self.statement} (median {theirs:+.2f})"
        found = [rise for label in others for rise in _increases(line, label)]
        if not found:
            return Finding(text, "no training ended", False)
        middle, worst = float(np.median(found)), max(found)
        return Finding(text, f"median {middle:+.2f}, largest {worst:+.2f}", self.least <= middle <= self.most)


def _increases(line: Line, label: str) -> list[float]:
    """Return the increase of every run that was tested."""
    pairs = [(each["tests"][label], each["error"]) for each in line.done]
    return [test["error"] - own for test, own in pairs if "failure" not in test]


def _mark(value: float | None, spread: float | None) -> Mark:
    return Mark(value) if value is None or spread is None else Mark(value, value - spread, value + spread)
