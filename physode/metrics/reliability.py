"""Whether the same network, trained again, gives the same answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from physode.metrics.arguments import checked_labels, checked_probabilities
from physode.metrics.icc import Icc, icc

__all__ = ["Ratings", "Reliability", "misclassified", "reliability"]

Array = np.ndarray[Any, Any]
Ratings = Literal["labels", "correct", "probability"]


@dataclass(frozen=True)
class Reliability:
    """Agreement of R runs on N samples.

    Parameters
    ----------
    whole
        Over all samples.
    misclassified
        Over those that runs misclassify; None if these are fewer than two.
    ratings
        What the runs' ratings are.
    """

    whole: Icc
    misclassified: Icc | None
    ratings: Ratings

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON, None for what is not finite or not there."""
        hard = None if self.misclassified is None else self.misclassified.as_dict()
        return {"ratings": self.ratings, "whole": self.whole.as_dict(), "misclassified": hard}


def misclassified(answers: ArrayLike, labels: ArrayLike) -> Array:
    """Return which samples at least one run misclassifies, (N,).

    Parameters
    ----------
    answers
        Predicted labels (R, N), or probabilities (R, N, C).
    labels
        The right ones, (N,).

    Raises
    ------
    ValueError
        If answers or labels are not such.
    """
    predicted, _, truth = _checked(answers, labels)
    wrong: Array = (predicted != truth).any(axis=0)
    return wrong


def reliability(
    answers: ArrayLike,
    labels: ArrayLike,
    *,
    ratings: Ratings = "labels",
    among: ArrayLike | None = None,
    level: float = 0.95,
) -> Reliability:
    r"""Return the intraclass correlations of runs that differ in their random initialisation.

    Samples are the targets, runs the raters (:func:`physode.metrics.icc`). Ratings are

    - ``"labels"``: numbers of the predicted classes, as in Table 3 of Zhuang et al. (2020). That table does not say so,
      but its ICC1 of 0.93 at error rates of 5 to 7 % fits these; of answers right or wrong, 0.93 would need runs that
      share nearly all their errors. Classes are names, not quantities: taking a 1 for a 9 counts 64 times as much as
      taking it for a 2, and another order of the classes gives another value. Compare only models of the same classes
      in the same order.
    - ``"correct"``: 1 for a right answer, 0 for a wrong one; no order of classes.
    - ``"probability"``: of the right class; no order either, and a run's doubts count.

    The misclassified samples are those that at least one of the runs gets wrong: what all runs get right says nothing
    of how errors repeat. Two models have other such samples each; pass their union as `among` to hold both to the same.

    The paper's intervals for the whole test set are, to their three digits, those of ``level=0.9``. At this level the
    widths for misclassified images belong to about 2200 of 10,000 for CIFAR-10 and 5500 for CIFAR-100, more than one
    run's errors, which speaks for the choice above.

    Parameters
    ----------
    answers
        Predicted labels (R, N), or probabilities (R, N, C), of at least two runs.
    labels
        The right ones, (N,).
    ratings
        What is compared; ``"probability"`` needs probabilities.
    among
        The samples (N,), true or false, to take for the misclassified ones; by default :func:`misclassified`.
    level
        Of the intervals.

    Raises
    ------
    ValueError
        If answers, labels or `among` are not such, or there are fewer than two runs or two samples.
    """
    if ratings not in get_args(Ratings):
        raise ValueError(f"`ratings` must be one of {', '.join(get_args(Ratings))}; got {ratings!r}")
    predicted, shares, truth = _checked(answers, labels)
    if len(predicted) < 2 or len(truth) < 2:
        raise ValueError(
            f"`answers` must be those of two runs or more on two samples or more, got {len(predicted)} and {len(truth)}"
        )
    wrong = predicted != truth
    if ratings == "probability":
        if shares is None:
            raise ValueError("`ratings` 'probability' needs probabilities (R, N, C) as `answers`, got predicted labels")
        table = shares[:, np.arange(len(truth)), truth].T
    else:
        table = predicted.T if ratings == "labels" else ~wrong.T
    hard = wrong.any(axis=0) if among is None else np.asarray(among)
    if hard.shape != truth.shape or hard.dtype != np.bool_:
        raise ValueError(
            f"`among` must be true or false for each of {len(truth)} samples, got {hard.dtype} {hard.shape}"
        )
    part = icc(table[hard], level=level) if hard.sum() >= 2 else None
    return Reliability(icc(table, level=level), part, ratings)


def _checked(answers: ArrayLike, labels: ArrayLike) -> tuple[Array, Array | None, Array]:
    """Return predicted labels (R, N), probabilities (R, N, C) if these were given, and labels (N,)."""
    found = np.asarray(answers)
    if found.ndim not in (2, 3) or 0 in found.shape:
        raise ValueError(
            f"`answers` must be predicted labels (runs, samples) or probabilities (runs, samples, classes); got shape "
            f"{found.shape}"
        )
    if found.ndim == 3:
        shares = np.stack([checked_probabilities(run) for run in found])
        truth = checked_labels(labels, samples=found.shape[1], classes=found.shape[2])
        return shares.argmax(axis=2), shares, truth
    if found.dtype.kind not in "iu" or found.min() < 0:
        raise ValueError(
            f"`answers` of two axes must be predicted labels, whole numbers from 0 on; got {found.dtype} from "
            f"{found.min()} on"
        )
    return found.astype(np.int64), None, checked_labels(labels, samples=found.shape[1])
