"""Classifiers judged, in figures: confusion, calibration, accuracies of runs, and all of an evaluation's."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physode.plotting.images import plot_mistakes
from physode.plotting.learning import plot_learning
from physode.plotting.roc import compare_curves, plot_precision_recall, plot_roc
from physode.plotting.style import BOXED, COLOURS, INK, MUTED, finish, new_figure, save_all, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.images.evaluation import Evaluation
    from physode.metrics import Averaged
    from physode.metrics.classification import Calibration


Array = np.ndarray[Any, Any]

_COUNTED, _WRITTEN, _NAMED = 12, 30, 120  # classes up to which cells have counts, shares, and axes have every name
_COLUMN = 0.3  # width of a column of points, to either side

EVALUATION_FIGURES: Mapping[str, Callable[[Evaluation], Figure]] = {
    "confusion": lambda found: plot_confusion(
        found.classification.confusion, classes=found.classification.classes, title=_title(found)
    ),
    "roc": lambda found: plot_roc(found.classification.roc, classes=found.classification.classes),
    "precision_recall": lambda found: plot_precision_recall(
        found.classification.precision_recall, classes=found.classification.classes
    ),
    "calibration": lambda found: plot_calibration(found.classification.calibration),
    "mistakes": lambda found: plot_mistakes(
        found.images.x,
        found.predicted.probabilities,
        found.predicted.labels,
        classes=found.classification.classes,
        names=found.images.names,
    ),
    "learning": lambda found: plot_learning(
        {found.run.config.model: [found.run.history()]}, quantities=("test_accuracy", "loss", "test_loss")
    ),
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
    return [
        "accuracies",
        "learning",
        "precision_recall",
        *(f"{of}_{each}" for each in models for of in ("confusion", "roc")),
    ]


def _title(found: Evaluation) -> str:
    told = found.classification
    return f"{found.run.config.model}, accuracy {100 * told.accuracy:.1f} % of {sum(told.support)}"


def plot_confusion(
    confusion: ArrayLike,
    *,
    classes: Sequence[str],
    title: str = "Confusion",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw a confusion matrix: colours are shares of the true class, so that small classes show as well as large ones.

    Up to 12 classes cells hold the share in percent and the count, up to 30 the share. From 13 on colours are those of
    the shares' square roots, which keeps rare confusions visible.

    Parameters
    ----------
    confusion
        (C, C): rows are the true classes, columns the predicted ones; counts, or their means over runs.
    classes
        Their names.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If the matrix does not have a row and a column for each class, or holds what is no count.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    size = len(classes)
    if counts.shape != (size, size) or size == 0:
        raise ValueError(f"`confusion` must have shape ({size}, {size}) for {size} classes, got {counts.shape}")
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError(f"`confusion` must hold counts, at least 0; got {counts.min():g} as the smallest")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    cell = 0.85 if size <= _COUNTED else 0.36 if size <= _WRITTEN else 0.115
    side = float(np.clip(cell * size, 2.6, 14.0))
    with styled():
        figure = new_figure(side + 2.6, side + 1.5)
        figure.set_layout_engine("compressed")  # cells are square: the bar and the names stay beside them
        axes = figure.subplots()
        image = _draw_cells(axes, shares, faint=size > _COUNTED)
        bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02, format=lambda share, _: f"{100 * share:g} %")
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
        _name_axes(axes, classes)
        if size <= _WRITTEN:
            _write_cells(axes, counts if size <= _COUNTED else None, shares)
        axes.set_title(title)
        return finish(figure, path)


def _draw_cells(axes: Any, shares: Array, *, faint: bool) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm

    colours = colormaps["Blues"].with_extremes(bad="#EDEDED")
    image = axes.imshow(shares, cmap=colours, norm=PowerNorm(0.5 if faint else 1.0, vmin=0.0, vmax=1.0))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return image


def _name_axes(axes: Any, classes: Sequence[str]) -> None:
    size = len(classes)
    step = 1 if size <= _NAMED else int(np.ceil(size / _NAMED))
    places = range(0, size, step)
    names = [short(classes[place]) for place in places]
    letters = 10 if size <= _COUNTED else 8 if size <= _WRITTEN else 5.5
    upright = size <= _COUNTED and max(map(len, names)) <= 9
    axes.set_xticks(places, names, rotation=0 if upright else 45 if size <= _WRITTEN else 90, fontsize=letters)
    if not upright and size <= _WRITTEN:
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names, fontsize=letters)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted class", ylabel="true class")


def _write_cells(axes: Any, counts: Array | None, shares: Array) -> None:
    for (row, column), share in np.ndenumerate(shares):
        light = share > (0.55 if counts is not None else 0.35)
        colour = "white" if light else MUTED if not share > 0 else "#222222"
        if counts is None:
            if share >= 0.005:
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", size=7, color=colour)
            continue
        count = counts[row, column]
        axes.text(column, row - 0.14, _percent(share), ha="center", va="center", size=10, color=colour)
        text = f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}"
        axes.text(column, row + 0.2, text, ha="center", va="center", size=7.5, color=colour)


def _percent(share: float) -> str:
    if np.isnan(share):
        return "no samples"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


def plot_calibration(
    calibration: Calibration,
    *,
    title: str = "Calibration",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw accuracy against confidence, bin by bin, over the number of samples in each.

    Bars from the diagonal to the accuracy show by how much a classifier is too sure (below) or too shy (above).

    Parameters
    ----------
    calibration
        Of :func:`physode.metrics.calibrate`.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.
    """
    known = calibration.counts > 0
    confidence, accuracy = calibration.confidence[known], calibration.accuracy[known]
    widths = np.diff(calibration.edges)
    with styled():
        figure = new_figure(5.6, 6.2)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=INK, lw=1.0, ls=":", label="as often as it says")
        upper.bar(
            confidence,
            accuracy - confidence,
            0.8 * widths[known],
            confidence,
            color=COLOURS[1],
            alpha=0.35,
            label="gap",
        )
        upper.plot(confidence, accuracy, "o-", color=COLOURS[0], ms=4, label="accuracy")
        upper.set(ylabel="accuracy", ylim=(-0.02, 1.02), xlim=(0, 1), title=title)
        error = f"expected calibration error {calibration.error:.3f}"
        upper.legend(loc="upper left", title=error, alignment="left", **BOXED)
        lower.bar(
            calibration.edges[:-1], calibration.counts, widths, align="edge", color=COLOURS[0], ec="white", lw=0.5
        )
        if calibration.counts.max() > 50 * calibration.counts[known].min():
            lower.set_yscale("log")
        lower.set(xlabel="probability of the predicted class", ylabel="samples")
        return finish(figure, path)


def plot_accuracies(
    accuracies: Mapping[str, Sequence[float]],
    *,
    title: str = "Test accuracy over runs",
    colours: Mapping[str, str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw every run's accuracy as a point, and beside them the mean with one standard deviation.

    Parameters
    ----------
    accuracies
        Shares from 0 to 1, by the model's name.
    title
        Of the figure.
    colours
        By the model's name; None takes one after the other.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If a model has no runs, there are no models, or an accuracy is not from 0 to 1.
    """
    if not accuracies:
        raise ValueError("`accuracies` must hold at least one model, got none")
    for name, values in accuracies.items():
        if not len(values) or not all(0 <= value <= 1 for value in values):
            raise ValueError(f"`accuracies` of {name!r} must be shares from 0 to 1, one a run; got {list(values)}")
    with styled():
        figure = new_figure(1.6 + 1.5 * max(len(accuracies), 2), 4.2)
        axes = figure.subplots()
        for index, (name, values) in enumerate(accuracies.items()):
            colour = (colours or {}).get(name, COLOURS[index % len(COLOURS)])
            _draw(axes, index, 100.0 * np.asarray(values, dtype=np.float64), colour)
        axes.set_xticks(range(len(accuracies)), [short(name) for name in accuracies])
        axes.set(xlim=(-0.6, len(accuracies) - 0.3), ylabel="accuracy (%)", title=title)
        axes.grid(visible=False, axis="x")
        return finish(figure, path)


def _draw(axes: Any, index: int, values: np.ndarray[Any, Any], colour: str) -> None:
    order = np.argsort(values)
    places = np.empty(len(values))
    # Neighbours in value stand apart in x, so that equal runs remain countable.
    places[order] = index - 0.1 + _COLUMN * ((np.arange(len(values)) * 0.618) % 1.0 - 0.5)
    axes.plot(places, values, "o", ms=5, mew=0.6, mec="white", color=colour, alpha=0.85)
    mean = values.mean()
    spread = values.std(ddof=1) if len(values) > 1 else None
    axes.errorbar(index + 0.16, mean, yerr=spread, fmt="_", ms=12, mew=2, color=INK, capsize=4, lw=1.3)
    text = f"{mean:.2f}" if spread is None else f"{mean:.2f}\nsd {spread:.2f}"
    axes.annotate(text, (index + 0.16, mean), xytext=(9, 0), textcoords="offset points", va="center", size=8)
