"""What a classifier would find, and at which price, were other thresholds set: ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from physode.optional_imports import needs

Array = np.ndarray[Any, Any]
Kind = Literal["roc", "precision-recall"]

GRID = np.concatenate([[0.0], np.linspace(0.0, 1.0, 1001)])
"""Where curves are averaged; 0 stands twice, since ROC curves may begin with a jump."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One class against the rest, a mean over classes, or a mean over runs.

    Parameters
    ----------
    x
        False positive rate, or completeness, ascending, (M,).
    y
        True positive rate, or precision, (M,).
    area
        Under the curve: AUC, or average precision. A mean curve has the mean of the areas.
    deviation, area_deviation
        Standard deviations of `y`, (M,), and `area` over runs; None for a single run.
    """

    x: Array
    y: Array
    area: float
    deviation: Array | None = None
    area_deviation: float | None = None


@dataclass(frozen=True, eq=False)
class Curves:
    """The curves of every class and their means.

    Parameters
    ----------
    kind
        ``"roc"`` or ``"precision-recall"``.
    each
        One a class; None for a class that no sample has, or all have.
    micro
        All pairs of a sample and a class as one yes-or-no question: large classes count for more.
    macro
        The mean of `each` at equal x: every class counts the same; None where `each` has no curve.
    """

    kind: Kind
    each: tuple[Curve | None, ...]
    micro: Curve
    macro: Curve | None

    @property
    def areas(self) -> Array:
        """Areas of the classes, (C,); NaN where there is no curve."""
        return np.array([np.nan if curve is None else curve.area for curve in self.each])


def curves_of(kind: Kind, probabilities: Array, labels: Array) -> Curves:
    """Return the curves of probabilities (N, C), checked, for labels (N,)."""
    truth = labels[:, None] == np.arange(probabilities.shape[1])
    trace = _roc if kind == "roc" else _precision_recall
    each = tuple(
        trace(truth[:, index], probabilities[:, index]) if 0 < truth[:, index].sum() < len(labels) else None
        for index in range(truth.shape[1])
    )
    known = [curve for curve in each if curve is not None]
    macro = mean_curve(kind, known) if known else None
    return Curves(kind, each, trace(truth.ravel(), probabilities.ravel()), macro)


def mean_curve(kind: Kind, curves: Sequence[Curve], *, runs: bool = False) -> Curve:
    """Average curves at equal x; with `runs` they are one curve of several runs, and get standard deviations."""
    values = np.stack([_read(kind, curve) for curve in curves])
    areas = np.array([curve.area for curve in curves])
    spread = runs and len(curves) > 1
    return Curve(
        GRID,
        values.mean(axis=0),
        float(areas.mean()),
        values.std(axis=0, ddof=1) if spread else None,
        float(areas.std(ddof=1)) if spread else None,
    )


def _roc(truth: Array, score: Array) -> Curve:
    metrics = needs("sklearn.metrics", extra="images", purpose="classification metrics")
    x, y, _ = metrics.roc_curve(truth, score)
    return Curve(x, y, float(metrics.auc(x, y)))


def _precision_recall(truth: Array, score: Array) -> Curve:
    metrics = needs("sklearn.metrics", extra="images", purpose="classification metrics")
    precision, completeness, _ = metrics.precision_recall_curve(truth, score, drop_intermediate=True)
    x, y = completeness[::-1], precision[::-1]
    return Curve(x, y, float(np.sum(np.diff(x) * y[1:])))


def _read(kind: Kind, curve: Curve) -> Array:
    """Return a curve's values on the grid.

    ROC curves are straight between their points. Precision is that of the first threshold at which so much is found,
    the step that average precision sums.
    """
    if kind == "precision-recall":
        read: Array = curve.y[np.searchsorted(curve.x, GRID, side="left")]
        return read
    values: Array = np.interp(GRID, curve.x, curve.y)
    values[0] = 0.0
    return values
