"""Tables 2, 6 and 7: error rates of the models, and by how much another solver than in training raises them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physode.experiments.cifar.config import (
    COMPARED,
    LONG,
    MODELS,
    NODE_OWN,
    REPEATED,
    RESNET_OWN,
    SOLVERS,
    TRAININGS,
    Config,
    by_label,
    cells_of,
    repeats_of,
)
from physode.experiments.comparison_plot import Mark, colour_of, draw_comparison
from physode.experiments.repeats import Repeats, deviation, every_training_ends, held_against, mean
from physode.experiments.report import Finding, Result, Row
from physode.sweeps.cells import Cell, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SOLVERS = {
    NODE_OWN: (4.85, 22.66),
    "RK23, 0.01": (4.92, 24.13),
    "RK45, 0.01": (5.29, 23.56),
    "Euler, step 0.2": (5.52, 24.44),
    "RK2, step 0.2": (5.27, 24.44),
    "RK4, step 0.2": (5.24, 24.43),
}
"""Error rates of NODE18-ACA in percent on CIFAR-10 and CIFAR-100, by the solver of the test."""
_OTHERS = {
    (COMPARED, "node18-adjoint"): (9.8, 30.6),
    (COMPARED, "node18-naive"): (9.3, 29.4),
    (LONG, "anode18"): (6.8, 22.7),
    (LONG, "resnet18"): (6.98, 27.08),
    (LONG, "resnet50"): (6.38, 25.73),
    (LONG, "resnet101"): (6.25, 24.84),
}
"""Those of the others; of ResNets, from the literature."""

_WORST = 1.0  # points by which another solver may raise the error rate: the paper has about 1
_SLACK = 1.1

SPREAD = "sd of runs"
"""What the intervals of tables and figures are: standard deviations."""


def cells(config: Config) -> list[Cell]:
    """Return the trainings of all models of Table 2."""
    return cells_of(config, LONG, TRAININGS[LONG]) + cells_of(config, COMPARED, TRAININGS[COMPARED])


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make Table 2: NODE18-ACA by solver, then the other models; those that are left out are rows that say so."""
    which = int(config.hundred)
    rows = [_row(config, outcomes, LONG, "node18-aca", paper[which], label) for label, paper in _SOLVERS.items()]
    rows.append(_row(config, outcomes, COMPARED, "node18-aca", None))
    rows += [_row(config, outcomes, protocol, key, paper[which]) for (protocol, key), paper in _OTHERS.items()]
    return config.result(
        config.title("Error rates of NODE18 and ResNets", "Table 2"),
        rows,
        [_same_size(rows), *(_findings(rows, config.theirs) if config.compares else ()), every_training_ends(outcomes)],
    )


def draw(result: Result) -> Figure:
    """Draw the error rates of Table 2 beside the paper's."""
    theirs = next(name for name in result.rows[0] if name.startswith("the paper"))
    return draw_comparison(
        [_label(row) for row in result.rows],
        {"": [Mark.within(row["error (%)"], row[SPREAD]) for row in result.rows]},
        {"": [Mark(row[theirs]) for row in result.rows]},
        quantity="error rate (%), lines: ± standard deviation of runs",
        title=result.title,
        colours=[colour_of(row["model"]) for row in result.rows],
    )


def _label(row: Row) -> str:
    own = row["solver of the test"] == "that of training"
    end = f"{row['epochs']} epochs" if own else row["solver of the test"]
    return f"{row['model']}, {end}{', not run' if row['runs'] == 0 else ''}"


def _row(
    config: Config,
    outcomes: Mapping[str, Outcome],
    protocol: str,
    key: str,
    paper: float | None,
    solver: str | None = None,
) -> Row:
    """Return a model's row, tested by its own solver or another one."""
    repeats = repeats_of(config, outcomes, protocol, key)
    tests = [] if solver is None else repeats.tests(solver)
    errors = repeats.values("error") if solver is None else [test["error"] for test, _ in tests if "error" in test]
    return {
        "model": MODELS[key].label,
        "solver of the test": solver or "that of training",
        "epochs": config.epochs_of(protocol),
        "error (%)": mean(errors),
        SPREAD: deviation(errors),
        config.theirs: paper,
        "runs": repeats.runs,
        "test images": repeats.images,
        "parameters": repeats.parameters,
        "training time (s)": mean(repeats.seconds()),
        "rhs evaluations a batch": mean(repeats.evaluations()) or None,  # 0 without ODE blocks
        "in the first epoch": mean(repeats.first_evaluations()) or None,
        "note": repeats.note if solver is None else repeats.note_of(solver),
    }


def _same_size(rows: Sequence[Row]) -> Finding:
    """Compare the numbers of parameters, which no preset makes doubtful."""
    counts = [
        next((row["parameters"] for row in rows if row["model"] == model and row["parameters"]), None)
        for model in ("NODE18-ACA", "ResNet18")
    ]
    return held_against(
        "NODE18 has as many parameters as ResNet18",
        counts,
        lambda node, resnet: f"{node:,} and {resnet:,}",
        lambda node, resnet: node == resnet,
    )


def _findings(rows: Sequence[Row], theirs: str) -> Iterator[Finding]:
    tested = [row for row in rows if row["solver of the test"] in _SOLVERS]
    node = tested[0]
    for row in rows:
        if row not in tested and row[theirs] is not None and row["runs"] != 0:
            yield _compared(node, row, theirs)
    rise = max(row[theirs] for row in tested) - node[theirs]
    yield held_against(
        f"other solvers raise NODE18-ACA's error rate by {rise:.2f} points at most",
        [row["error (%)"] for row in tested],
        lambda own, *others: f"{max(own, *others) - own:.2f} points",
        lambda own, *others: max(own, *others) - own <= max(_WORST, rise),
        missing="a test failed",
    )


def _compared(node: Row, other: Row, theirs: str) -> Finding:
    """Compare NODE18-ACA with another model by the ratio of error rates."""
    paper, rival = node[theirs], other[theirs]
    return held_against(
        f"NODE18-ACA has {paper / rival:.2f} of {other['model']}'s error rate ({paper} and {rival} %)",
        [node["error (%)"], other["error (%)"] or None],
        lambda ours, error: f"{ours / error:.2f} of it ({ours:.4g} and {error:.4g} %)",
        lambda ours, error: ours / error <= min(1.0, _SLACK * (paper / rival)),
    )


@dataclass(frozen=True)
class Robustness:
    """Table 6 or 7: by how many points the error rate rises with another solver than in training.

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
        The paper's increases by the solver's name, at the steps or tolerances from large to small.
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
    paper: Mapping[str, Sequence[float]]
    statement: str
    least: float
    most: float

    def cells(self, config: Config) -> list[Cell]:
        """Return the trainings of the model."""
        return cells_of(config, self.protocol, [self.model])

    def aggregate(self, config: Config, outcomes: Mapping[str, Outcome]) -> Result:
        """Make the table: one row a solver."""
        repeats = repeats_of(config, outcomes, self.protocol, self.model)
        compared = [self._own(repeats), self._median(repeats)] if config.compares and not config.hundred else []
        return config.result(
            config.title(f"{MODELS[self.model].label} tested by other solvers than in training", self.place),
            [self._row(repeats, label) for label in SOLVERS],
            [*compared, every_training_ends(outcomes)],
        )

    def draw(self, result: Result) -> Figure:
        """Draw the increases beside the paper's."""
        return draw_comparison(
            [str(row["solver"]) for row in result.rows],
            {"": [Mark.within(row["increase (points)"], row[SPREAD]) for row in result.rows]},
            {"": [Mark(row["the paper (CIFAR10)"]) for row in result.rows]},
            quantity="increase of the error rate (percentage points), lines: ± standard deviation of runs",
            title=result.title,
            colours=[colour_of(self.model)] * len(result.rows),
        )

    @property
    def increases(self) -> dict[str, float]:
        """The paper's increases by the solver's label."""
        return by_label(self.paper)

    def _row(self, repeats: Repeats, label: str) -> Row:
        known = [test for test, _ in repeats.tests(label) if "failure" not in test]
        rises = _rises(repeats, label)
        return {
            "solver": f"{label} (training)" if label == self.own else label,
            "increase (points)": mean(rises),
            SPREAD: deviation(rises),
            "the paper (CIFAR10)": self.increases[label],
            "error (%)": mean([test["error"] for test in known]),
            "rhs evaluations a batch": mean([test["rhs"] for test in known]),
            "runs": repeats.runs,
            "test images": repeats.images,
            "note": repeats.note_of(label),
        }

    def _own(self, repeats: Repeats) -> Finding:
        return held_against(
            f"error rate with the solver of training, {self.own}: {self.error:g} %",
            [mean(repeats.values("error"))],
            lambda error: f"{error:.4g} %",
            lambda error: error <= self.error,
            missing="no training ended",
        )

    def _median(self, repeats: Repeats) -> Finding:
        others = [label for label in SOLVERS if label != self.own]
        theirs = float(np.median([self.increases[label] for label in others]))
        text = f"{self.statement} (median {theirs:+.2f})"
        found = [rise for label in others for rise in _rises(repeats, label)]
        if not found:
            return Finding(text, "no training ended", False)
        middle = float(np.median(found))
        return Finding(text, f"median {middle:+.2f}, largest {max(found):+.2f}", self.least <= middle <= self.most)


def _rises(repeats: Repeats, label: str) -> list[float]:
    """Return the increase of every run that was tested."""
    return [test["error"] - own for test, own in repeats.tests(label) if "failure" not in test]


RESNET = Robustness(
    place="Table 6",
    protocol=REPEATED,
    model="resnet18",
    own=RESNET_OWN,
    error=8.47,
    paper={
        "Euler": (0.0, 1.14, 3.62, 4.84),
        "RK2": (7.69, 6.43, 6.38, 6.43),
        "RK4": (5.69, 6.31, 6.30, 6.47),
        "HeunEuler": (5.32, 6.33, 6.42),
        "RK23": (6.03, 6.31, 6.44),
        "RK45": (6.30, 6.47, 6.46),
    },
    statement="most other solvers raise ResNet18's error rate by about 7 points",
    least=3.0,
    most=100.0,
)
NODE = Robustness(
    place="Table 7",
    protocol=LONG,
    model="node18-aca",
    own=NODE_OWN,
    error=4.85,
    paper={
        "Euler": (8.31, 1.57, 0.67, 0.57),
        "RK2": (6.61, 0.57, 0.42, 0.39),
        "RK4": (1.09, 0.48, 0.39, 0.37),
        "HeunEuler": (1.29, 0.0, 0.18),
        "RK23": (0.46, 0.07, 0.40),
        "RK45": (1.75, 0.44, 0.16),
    },
    statement="most other solvers raise NODE18's error rate by about 1 point or less",
    least=-100.0,
    most=1.0,
)
