"""Classifiers of several runs: means and their spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from physode.json_values import plain
from physode.metrics.classification import Classification
from physode.metrics.curves import Curve, Curves, Kind, mean_curve

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Spread:
    r"""A quantity over R runs: a number, or one a class.

    Parameters
    ----------
    mean
        Over the runs that have it; NaN where none has.
    deviation
        Standard deviation s with R - 1 in its denominator; NaN for one run.
    error
        Standard error of the mean, :math:`s / \sqrt{R}`. Runs on random splits of the same samples are not
        independent: the error then describes the splits, not other samples.
    """

    mean: Array
    deviation: Array
    error: Array


@dataclass(frozen=True, eq=False)
class Averaged:
    """R classifications of the same classes as one.

    Parameters
    ----------
    classes
        Their names.
    runs
        How many there are, R.
    numbers
        Each of :meth:`Classification.numbers` with its spread.
    confusion
        The mean of the matrices, (C, C), and its spread.
    roc, precision_recall
        Means of the curves at equal x, with standard deviations where there is more than one run.
    """

    classes: tuple[str, ...]
    runs: int
    numbers: dict[str, Spread]
    confusion: Spread
    roc: Curves
    precision_recall: Curves

    def as_dict(self) -> dict[str, Any]:
        """Return names and numbers for JSON, None for NaN; the curves are left out."""
        result: dict[str, Any] = plain(
            {
                "classes": self.classes,
                "runs": self.runs,
                "confusion": vars(self.confusion),
                **{name: vars(spread) for name, spread in self.numbers.items()},
            }
        )
        return result


def averaged(runs: Sequence[Classification]) -> Averaged:
    """Average the classifications of several runs, such as ten random splits.

    Raises
    ------
    ValueError
        If there are none, or their classes differ.
    """
    if not runs:
        raise ValueError("`runs` must hold at least one classification, got none")
    classes = runs[0].classes
    for index, run in enumerate(runs):
        if run.classes != classes:
            raise ValueError(f"`runs` must share their classes; run 0 has {classes} and run {index} has {run.classes}")
    numbers = [run.numbers() for run in runs]
    return Averaged(
        classes=classes,
        runs=len(runs),
        numbers={name: _spread([each[name] for each in numbers]) for name in numbers[0]},
        confusion=_spread([run.confusion for run in runs]),
        roc=_mean_curves([run.roc for run in runs]),
        precision_recall=_mean_curves([run.precision_recall for run in runs]),
    )


def _spread(values: Sequence[ArrayLike]) -> Spread:
    stacked = np.stack([np.asarray(value, dtype=np.float64) for value in values])
    known = np.isfinite(stacked)
    count = known.sum(axis=0)
    mean = _ratio(np.where(known, stacked, 0.0).sum(axis=0), count)
    squares = np.where(known, (stacked - mean) ** 2, 0.0).sum(axis=0)
    deviation = np.sqrt(_ratio(squares, count - 1))
    return Spread(mean, deviation, _ratio(deviation, np.sqrt(count)))


def _ratio(above: Array, below: Array) -> Array:
    """Return a quotient, NaN where there is nothing to divide by."""
    above = np.asarray(above)
    quotient: Array = np.divide(above, below, out=np.full(above.shape, np.nan), where=np.asarray(below) > 0)
    return quotient


def _mean_curves(runs: Sequence[Curves]) -> Curves:
    kind = runs[0].kind
    micro = mean_curve(kind, [run.micro for run in runs], runs=True)
    each = tuple(_mean_of_known(kind, curves) for curves in zip(*(run.each for run in runs), strict=True))
    return Curves(kind, each, micro, _mean_of_known(kind, [run.macro for run in runs]))


def _mean_of_known(kind: Kind, curves: Sequence[Curve | None]) -> Curve | None:
    known = [curve for curve in curves if curve is not None]
    return mean_curve(kind, known, runs=True) if known else None
