"""The figures of a classifier's evaluation, and of several runs together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from physode.plotting.accuracies import plot_accuracies
from physode.plotting.calibration import plot_calibration
from physode.plotting.confusion import plot_confusion
from physode.plotting.learning import plot_learning
from physode.plotting.mistakes import plot_mistakes
from physode.plotting.receiver import compare_curves, plot_precision_recall, plot_roc
from physode.plotting.style import save_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.images.evaluation import Evaluation
    from physode.metrics import Averaged

__all__ = ["EVALUATION_FIGURES", "averaged_figures", "draw_averaged", "draw_evaluation"]

_Draw = Callable[["Evaluation"], "Figure"]


def _confusion(found: Evaluation) -> Figure:
    told = found.classification
    return plot_confusion(told.confusion, classes=told.classes, title=_title(found))


def _mistakes(found: Evaluation) -> Figure:
    told, by = found.classification, found.predicted
    return plot_mistakes(found.images.x, by.probabilities, by.labels, classes=told.classes)


def _learning(found: Evaluation) -> Figure:
    history = {found.run.config.model: [found.run.history()]}
    return plot_learning(history, quantities=("test_accuracy", "loss", "test_loss"))


EVALUATION_FIGURES: Mapping[str, _Draw] = {
    "confusion": _confusion,
    "roc": lambda found: plot_roc(found.classification.roc, classes=found.classification.classes),
    "precision_recall": lambda found: plot_precision_recall(
        found.classification.precision_recall, classes=found.classification.classes
    ),
    "calibration": lambda found: plot_calibration(found.classification.calibration),
    "mistakes": _mistakes,
    "learning": _learning,
}
"""What is drawn of one run, by name."""


_OF_A_MODEL = ("confusion", "roc")


def draw_evaluation(found: Evaluation, folder: Path, *, overwrite: bool = False) -> dict[str, Path]:
    """Draw all figures of an evaluation into a folder, which is made; return their files by name.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    drawn = [name for name in EVALUATION_FIGURES if name != "learning" or found.run.history()]
    return save_all({name: functools.partial(EVALUATION_FIGURES[name], found) for name in drawn}, folder, overwrite)


def draw_averaged(
    found: Mapping[str, tuple[Averaged, Sequence[Evaluation]]], folder: Path, *, overwrite: bool = False
) -> dict[str, Path]:
    """Draw what several runs of one or more models have in common, by model; return the files by name.

    Raises
    ------
    DataError
        If one exists, unless `overwrite` is set.
    """
    draw: dict[str, Callable[[], Figure]] = {
        "accuracies": lambda: plot_accuracies(
            {model: [each.predicted.accuracy for each in runs] for model, (_, runs) in found.items()}
        ),
        "learning": lambda: plot_learning(
            {model: [each.run.history() for each in runs] for model, (_, runs) in found.items()},
            against=("epoch", "time"),
        ),
        "precision_recall": lambda: compare_curves(
            "precision-recall", {model: mean.precision_recall.micro for model, (mean, _) in found.items()}
        ),
    }
    for model, (mean, _) in found.items():
        title = f"{model}, mean of {mean.runs} runs"
        draw[f"confusion_{model}"] = functools.partial(
            plot_confusion, mean.confusion.mean, classes=mean.classes, title=title
        )
        draw[f"roc_{model}"] = functools.partial(plot_roc, mean.roc, classes=mean.classes, title=title)
    return save_all(draw, folder, overwrite)


def averaged_figures(models: Iterable[str]) -> list[str]:
    """Return the names of what :func:`draw_averaged` draws of some models."""
    return ["accuracies", "learning", "precision_recall", *(f"{of}_{each}" for each in models for of in _OF_A_MODEL)]


def _title(found: Evaluation) -> str:
    told = found.classification
    return f"{found.run.config.model}, accuracy {100 * told.accuracy:.1f} % of {sum(told.support)}"
