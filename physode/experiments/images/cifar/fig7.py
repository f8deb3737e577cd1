"""Fig. 7: test accuracy by epoch and by time for each gradient method, and over runs of NODE18 and ResNet18."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.cells import Cell, Outcome
from physode.experiments.images.cifar.plan import COMPARED, MODELS, REPEATED, Config, line_of, lines, trainings
from physode.experiments.images.cifar.titles import hundred, title
from physode.experiments.lines import Line, completeness, mean, note
from physode.experiments.report import Finding, Result, Row
from physode.plotting import plot_accuracies, plot_learning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cells", "draw", "gather"]

_PAPER = {"node18-aca": (95.0, 9.0), "node18-adjoint": (90.0, 18.0), "node18-naive": (90.0, 30.0)}
_HALF, _TWICE, _THRICE = 0.6, 1.5, 2.5  # what counts as about half, about twice, and more than three times

_Key = tuple[str, str]


def cells(config: Config) -> list[Cell]:
    """Return the trainings of all panels; those with the adjoint method, which take longest, are first."""
    models = trainings()
    return sorted(
        lines(config, COMPARED, models[COMPARED]) + lines(config, REPEATED, models[REPEATED]),
        key=lambda cell: "adjoint" not in cell.name,
    )


def gather(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table of final accuracies, and keep the curves."""
    models = trainings()
    found = {
        (protocol, key): line_of(config, outcomes, protocol, key)
        for protocol in (COMPARED, REPEATED)
        for key in models[protocol]
    }
    return Result(
        name=config.name,
        title=title(config, "Test accuracy of NODE18 and ResNet18", "Fig. 7"),
        config=config.settings(),
        rows=[_row(config, *where, line) for where, line in found.items()],
        findings=[*_gradients(found), *_networks(found), completeness(outcomes.items())],
        series={f"{protocol} {key}": _curves(line) for (protocol, key), line in found.items() if line.done},
    )


def draw(result: Result) -> dict[str, Figure]:
    """Draw accuracy by epoch and time (a, b), and the accuracies of all runs (c; with 100 classes d)."""
    curves: dict[str, list[list[dict[str, float]]]] = {}
    accuracies: dict[str, list[float]] = {}
    for name, values in result.series.items():
        protocol, key = name.split(" ")
        if protocol == COMPARED:
            curves[MODELS[key].label] = [_history(run) for run in values]
        else:
            accuracies[MODELS[key].label] = values[:, -1, 0].tolist()
    figures = {}
    where = result.title.partition("): ")[2].replace("; ", ";\n", 1)
    if curves:
        figures["a-b"] = plot_learning(curves, quantities=("test_accuracy",), against=("epoch", "time"), title=where)
    if accuracies:
        panel = "d" if len(result.config["classes"]) == 100 else "c"
        figures[panel] = plot_accuracies(accuracies, title=f"Test accuracy over runs\n{where}".replace(", ", ",\n"))
    return figures


def _row(config: Config, protocol: str, key: str, line: Line) -> Row:
    known = protocol == COMPARED and not hundred(config)
    accuracies = [100.0 - error for error in line.values("error")]
    return {
        "panel": "a, b" if protocol == COMPARED else "d" if hundred(config) else "c",
        "model": MODELS[key].label,
        "runs": line.runs,
        "accuracy (%)": mean(accuracies),
        "sd": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        "the paper, about": _PAPER[key][0] if known else None,
        "training time (s)": mean(line.seconds()),
        "the paper's (h)": _PAPER[key][1] if known else None,
        "rhs evaluations a batch": mean(line.evaluations()),
        "note": note(line),
    }


def _gradients(found: Mapping[_Key, Line]) -> Iterator[Finding]:
    error = {key: mean(found[COMPARED, key].values("error")) for key in _PAPER}
    seconds = {key: mean(found[COMPARED, key].seconds()) for key in _PAPER}
    for key, hours, enough in (("node18-adjoint", 18, _TWICE), ("node18-naive", 30, _THRICE)):
        label = MODELS[key].label
        ours, other = error["node18-aca"], error[key]
        text = f"NODE18-ACA has about half the error rate of {label} (about 5 and 10 %)"
        both = ours is not None and other is not None
        yield Finding(text, f"{ours:.4g} and {other:.4g} %" if both else "a model has no training that ended",
                      ours is not None and other is not None and ours <= _HALF * other)  # fmt: skip
        ours, other = seconds["node18-aca"], seconds[key]
        text = f"{label} takes about {hours / 9:.2g} times NODE18-ACA's time ({hours} and 9 h)"
        ratio = other / ours if ours and other else None
        told = "a model has no training that ended" if ratio is None else f"{ratio:.3g} times"
        yield Finding(text, told, ratio is not None and ratio >= enough)


def _networks(found: Mapping[_Key, Line]) -> Iterator[Finding]:
    node, resnet = (mean(found[REPEATED, key].values("error")) for key in ("node18-aca", "resnet18"))
    text = "NODE18-ACA is more accurate than ResNet18, mean of all runs"
    if node is None or resnet is None:
        yield Finding(text, "a model has no training that ended", False)
    else:
        yield Finding(text, f"{100 - node:.4g} and {100 - resnet:.4g} %", node < resnet)


def _curves(line: Line) -> np.ndarray[Any, Any]:
    """Return test accuracy and seconds of every epoch and run, (runs, epochs, 2)."""
    return np.array([[(e["test_accuracy"], e["seconds"]) for e in each["history"]] for each in line.done])


def _history(run: np.ndarray[Any, Any]) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "test_accuracy": accuracy, "seconds": seconds}
        for epoch, (accuracy, seconds) in enumerate(run.tolist(), start=1)
    ]
