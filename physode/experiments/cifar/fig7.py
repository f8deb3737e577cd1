"""Fig. 7: test accuracy by epoch and by time for each gradient method, and over runs of NODE18 and ResNet18."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.cifar.config import COMPARED, MODELS, REPEATED, TRAININGS, Config, cells_of, repeats_of
from physode.experiments.cifar.error_rates import SPREAD
from physode.experiments.comparison_plot import colour_of
from physode.experiments.repeats import Repeats, deviation, every_training_ends, held_against, mean
from physode.experiments.report import Finding, Result, Row
from physode.plotting import plot_accuracies, plot_learning
from physode.sweeps.cells import Cell, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAPER = {"node18-aca": (95.0, 9.0), "node18-adjoint": (90.0, 18.0), "node18-naive": (90.0, 30.0)}
_HALF, _TWICE, _THRICE = 0.6, 1.5, 2.5  # what counts as about half, about twice, and more than three times


def cells(config: Config) -> list[Cell]:
    """Return the trainings of all panels; those with the adjoint method, which take longest, are first."""
    of_both = [cell for protocol in (COMPARED, REPEATED) for cell in cells_of(config, protocol, TRAININGS[protocol])]
    return sorted(of_both, key=lambda cell: "adjoint" not in cell.name)


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table of final accuracies, and keep the curves."""
    repeats = {
        (protocol, key): repeats_of(config, outcomes, protocol, key)
        for protocol in (COMPARED, REPEATED)
        for key in TRAININGS[protocol]
    }
    return config.result(
        config.title("Test accuracy of NODE18 and ResNet18", "Fig. 7"),
        [_row(config, protocol, key, each) for (protocol, key), each in repeats.items()],
        [*(_judged(repeats) if config.compares else ()), every_training_ends(outcomes)],
        series={f"{protocol} {key}": _curves(each) for (protocol, key), each in repeats.items() if each.done},
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
    where = result.title.partition("): ")[2].replace("; ", ";\n")
    if curves:
        colours = {label: colour_of(label) for label in curves}
        figures["a-b"] = plot_learning(
            curves, quantities=("test_accuracy",), against=("epoch", "time"), title=where, colours=colours
        )
    if accuracies:
        panel = "d" if len(result.config["classes"]) == 100 else "c"
        figures[panel] = plot_accuracies(
            accuracies,
            title=f"Test accuracy over runs\n{where}".replace(", ", ",\n"),
            colours={label: colour_of(label) for label in accuracies},
        )
    return figures


def _row(config: Config, protocol: str, key: str, repeats: Repeats) -> Row:
    known = protocol == COMPARED and not config.hundred
    accuracies = [100.0 - error for error in repeats.values("error")]
    return {
        "panel": "a, b" if protocol == COMPARED else "d" if config.hundred else "c",
        "model": MODELS[key].label,
        "runs": repeats.runs,
        "accuracy (%)": mean(accuracies),
        SPREAD: deviation(accuracies),
        "the paper, about": _PAPER[key][0] if known else None,
        "test images": repeats.images,
        "training time (s)": mean(repeats.seconds()),
        "the paper's (h)": _PAPER[key][1] if known else None,
        "rhs evaluations a batch": mean(repeats.evaluations()),
        "in the first epoch": mean(repeats.first_evaluations()),
        "note": repeats.note,
    }


def _judged(repeats: Mapping[tuple[str, str], Repeats]) -> Iterator[Finding]:
    """Hold accuracies and times against the paper's: those of narrow networks are none to compare."""
    yield from _accuracies(repeats)
    yield from _times(repeats)


def _accuracies(repeats: Mapping[tuple[str, str], Repeats]) -> Iterator[Finding]:
    error = {key: mean(repeats[COMPARED, key].values("error")) for key in _PAPER}
    for key in ("node18-adjoint", "node18-naive"):
        yield held_against(
            f"NODE18-ACA has about half the error rate of {MODELS[key].label} (about 5 and 10 %)",
            [error["node18-aca"], error[key]],
            "{:.4g} and {:.4g} %".format,
            lambda ours, other: ours <= _HALF * other,
        )
    yield held_against(
        "NODE18-ACA is more accurate than ResNet18, mean of all runs",
        [mean(repeats[REPEATED, key].values("error")) for key in ("node18-aca", "resnet18")],
        lambda node, resnet: f"{100 - node:.4g} and {100 - resnet:.4g} %",
        lambda node, resnet: node < resnet,
    )


def _times(repeats: Mapping[tuple[str, str], Repeats]) -> Iterator[Finding]:
    seconds = {key: mean(repeats[COMPARED, key].seconds()) for key in _PAPER}
    for key, hours, enough in (("node18-adjoint", 18, _TWICE), ("node18-naive", 30, _THRICE)):
        ours, other = seconds["node18-aca"], seconds[key]
        yield held_against(
            f"{MODELS[key].label} takes about {hours / 9:.2g} times NODE18-ACA's time ({hours} and 9 h)",
            [other / ours if ours and other else None],
            "{:.3g} times".format,
            lambda ratio, enough=enough: ratio >= enough,
        )


def _curves(repeats: Repeats) -> np.ndarray[Any, Any]:
    """Return test accuracy and seconds of every epoch and run, (runs, epochs, 2)."""
    return np.array([[(e["test_accuracy"], e["seconds"]) for e in each["history"]] for each in repeats.done])


def _history(run: np.ndarray[Any, Any]) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "test_accuracy": accuracy, "seconds": seconds}
        for epoch, (accuracy, seconds) in enumerate(run.tolist(), start=1)
    ]
