"""The figures of a classifier's evaluation, and of several runs together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from physode.datasets.atomic import check_free
from physode.plotting.accuracies import plot_accuracies
from physode.plotting.calibration import plot_calibration
from physode.plotting.confusion import plot_confusion
from physode.plotting.learning import plot_learning
from physode.plotting.mistakes import plot_mistakes
from physode.plotting.receiver import compare_curves, plot_precision_recall, plot_roc

if TYPE_CHECKING:
    from physode.classification.evaluation import Evaluation
    from physode.metrics import Averaged

__all__ = ["EVALUATION_FIGURES", "draw_averaged", "draw_evaluation"]

_Draw = Callable[["Evaluation", Path], object]


def _confusion(found: Evaluation, path: Path) -> object:
    told = found.classification
    return plot_confusion(told.confusion, classes=told.classes, title=_title(found), path=path)


def _mistakes(found: Evaluation, path: Path) -> object:
    told, by = found.classification, found.predicted
    return plot_mistakes(found.images.x, by.probabilities, by.labels, classes=told.classes, path=path)


def _learning(found: Evaluation, path: Path) -> object:
    history = {found.run.config.model: [found.run.history()]}
    return plot_learning(history, quantities=("test_accuracy", "loss", "test_loss"), path=path)


EVALUATION_FIGURES: Mapping[str, _Draw] = {
    "confusion": _confusion,
    "roc": lambda found, path: plot_roc(found.classification.roc, classes=found.classification.classes, path=path),
    "precision_recall": lambda found, path: plot_precision_recall(
        found.classification.precision_recall, classes=found.classification.classes, path=path
    ),
    "calibration": lambda found, path: plot_calibration(found.classification.calibration, path=path),
    "mistakes": _mistakes,
    "learning": _learning,
}
"""What is drawn of one run, by name."""


def draw_evaluation(found: Evaluation, folder: Path, *, overwrite: bool = False) -> dict[str, Path]:
    """Draw all figures of an evaluation into a folder, which is made; return their files by name.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    drawn = [name for name in EVALUATION_FIGURES if name != "learning" or found.run.history()]
    paths = {name: folder / f"{name}.png" for name in drawn}
    if not overwrite:
        check_free(paths.values())
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        EVALUATION_FIGURES[name](found, path)
    return paths


def draw_averaged(
    found: Mapping[str, tuple[Averaged, Sequence[Evaluation]]], folder: Path, *, overwrite: bool = False
) -> dict[str, Path]:
    """Draw what several runs of one or more models have in common, by model; return the files by name.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    draw: dict[str, Callable[[Path], object]] = {
        "accuracies": lambda path: plot_accuracies(
            {model: [each.predicted.accuracy for each in runs] for model, (_, runs) in found.items()}, path=path
        ),
        "learning": lambda path: plot_learning(
            {model: [each.run.history() for each in runs] for model, (_, runs) in found.items()},
            against=("epoch", "time"),
            path=path,
        ),
        "precision_recall": lambda path: compare_curves(
            "precision-recall", {model: mean.precision_recall.micro for model, (mean, _) in found.items()}, path=path
        ),
    }
    for model, (mean, _) in found.items():
        told = {"classes": mean.classes, "title": f"{model}, mean of {mean.runs} runs"}
        draw[f"confusion_{model}"] = functools.partial(_plot, plot_confusion, mean.confusion.mean, told)
        draw[f"roc_{model}"] = functools.partial(_plot, plot_roc, mean.roc, told)
    paths = {name: folder / f"{name}.png" for name in draw}
    if not overwrite:
        check_free(paths.values())
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        draw[name](path)
    return paths


def _plot(plot: Callable[..., object], what: object, told: Mapping[str, object], path: Path) -> object:
    return plot(what, **told, path=path)


def _title(found: Evaluation) -> str:
    told = found.classification
    return f"{found.run.config.model}, accuracy {100 * told.accuracy:.1f} % of {sum(told.support)}"
