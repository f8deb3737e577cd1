"""Table 2: error rates of NODE18-ACA by several solvers without training again, and of the other models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.cells import Cell, Outcome
from physode.experiments.images.beside import Mark, draw_beside
from physode.experiments.images.cifar.plan import COMPARED, LONG, MODELS, Config, line_of, lines, trainings
from physode.experiments.images.cifar.solvers import NODE_OWN
from physode.experiments.images.cifar.titles import hundred, theirs, title
from physode.experiments.lines import Line, completeness, mean, note
from physode.experiments.report import Finding, Result, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cells", "draw", "gather"]

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
    (LONG, "resnet18"): (6.98, 27.08),
    (LONG, "resnet50"): (6.38, 25.73),
    (LONG, "resnet101"): (6.25, 24.84),
}
"""Those of the others; of ResNets, from the literature."""

_WORST = 1.0  # points by which another solver may raise the error rate: the paper has about 1
_SLACK = 1.1


def cells(config: Config) -> list[Cell]:
    """Return the trainings of all models."""
    models = trainings()
    return lines(config, LONG, models[LONG]) + lines(config, COMPARED, models[COMPARED])


def gather(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table: NODE18-ACA by solver, then the other models."""
    models, which = trainings(), int(hundred(config))
    node = line_of(config, outcomes, LONG, "node18-aca")
    rows = [_tested(config, node, label, paper[which]) for label, paper in _SOLVERS.items()]
    others = {where: paper[which] for where, paper in _OTHERS.items() if where[1] in models[where[0]]}
    for where, paper in {(COMPARED, "node18-aca"): None, **others}.items():
        rows.append(_trained(config, line_of(config, outcomes, *where), where, paper))
    return Result(
        name=config.name,
        title=title(config, "Error rates of NODE18 and ResNets", "Table 2"),
        config=config.settings(),
        rows=rows,
        findings=[*_findings(rows, theirs(config)), completeness(outcomes.items())],
    )


def draw(result: Result) -> Figure:
    """Draw the error rates beside the paper's."""
    heading = next(name for name in result.rows[0] if name.startswith("the paper"))
    rows = [(row, row["error (%)"], row["sd"] or 0.0) for row in result.rows]
    ours = [Mark(e) if e is None else Mark(e, e - sd, e + sd) for _, e, sd in rows]
    return draw_beside(
        [_label(row) for row, _, _ in rows],
        {"": ours},
        {"": [Mark(row[heading]) for row, _, _ in rows]},
        quantity="error rate (%)",
        title=result.title.replace(": ", ":\n", 1),
    )


def _tested(config: Config, line: Line, label: str, paper: float) -> Row:
    tests = [each["tests"][label] for each in line.done]
    failures = [f"failed: {test['failure']}" for test in tests if "failure" in test]
    errors = [test["error"] for test in tests if "failure" not in test]
    return _row(config, line, "NODE18-ACA", label, config.long_epochs, errors, paper, failures)


def _trained(config: Config, line: Line, where: tuple[str, str], paper: float | None) -> Row:
    protocol, key = where
    epochs, errors = config.epochs_of(protocol), line.values("error")
    return _row(config, line, MODELS[key].label, "that of training", epochs, errors, paper, [])


def _row(
    config: Config, line: Line, model: str, solver: str, epochs: int, errors: list[float], paper: float | None,
    failures: list[str],
) -> Row:  # fmt: skip
    return {
        "model": model,
        "solver of the test": solver,
        "epochs": epochs,
        "error (%)": mean(errors),
        "sd": float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        theirs(config): paper,
        "runs": line.runs,
        "parameters": next((each["parameters"] for each in line.done), None),
        "training time (s)": mean(line.seconds()),
        "rhs evaluations a batch": mean(line.evaluations()),
        "note": "; ".join([*filter(None, [note(line)]), *failures]),
    }


def _findings(rows: list[Row], heading: str) -> Iterator[Finding]:
    by_solver = {row["solver of the test"]: row for row in rows if row["solver of the test"] in _SOLVERS}
    node, others = by_solver[NODE_OWN], [row for row in rows if row not in by_solver.values()]
    for row in others:
        if row[heading] is not None:
            yield _compared(node, row, heading)
    pairs = [(row["error (%)"], row[heading]) for row in by_solver.values()]
    theirs_rise = max(paper for _, paper in pairs) - node[heading]
    text = f"other solvers raise NODE18-ACA's error rate by {theirs_rise:.2f} points at most"
    known = [error for error, _ in pairs if error is not None]
    if len(known) < len(pairs):
        yield Finding(text, "a test failed", False)
    else:
        rise = max(known) - node["error (%)"]
        yield Finding(text, f"{rise:.2f} points", rise <= max(_WORST, theirs_rise))


def _compared(node: Row, other: Row, heading: str) -> Finding:
    """Compare NODE18-ACA with another model by the ratio of error rates."""
    theirs_ratio = node[heading] / other[heading]
    text = (
        f"NODE18-ACA has {theirs_ratio:.2f} of {other['model']}'s error rate ({node[heading]} and {other[heading]} %)"
    )
    ours, error = node["error (%)"], other["error (%)"]
    if ours is None or not error:
        return Finding(text, "a model has no training that ended", False)
    return Finding(text, f"{ours / error:.2f} of it ({ours:.4g} and {error:.4g} %)",
                   ours / error <= min(1.0, _SLACK * theirs_ratio))  # fmt: skip


def _label(row: Mapping[str, Any]) -> str:
    own = row["solver of the test"] == "that of training"
    return f"{row['model']}, {row['epochs']} epochs" if own else f"{row['model']}, {row['solver of the test']}"
