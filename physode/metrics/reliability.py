"""Whether the same network, trained again, gives the same answers: intraclass correlations of runs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from physode.json_values import plain
from physode.metrics.arguments import checked_labels, checked_probabilities

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

    Samples are the targets, runs the raters (:func:`physode.metrics.reliability`). Ratings are

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


@dataclass(frozen=True)
class Icc:
    """Intraclass correlations of one-way random effects with their intervals.

    Parameters
    ----------
    icc1, icc1_interval
        Of a single rater.
    icc1k, icc1k_interval
        Of the mean of all raters.
    targets, raters
        How many there were.
    level
        Of the intervals.
    """

    icc1: float
    icc1_interval: tuple[float, float]
    icc1k: float
    icc1k_interval: tuple[float, float]
    targets: int
    raters: int
    level: float

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON, None for what is not finite."""
        result: dict[str, Any] = plain(asdict(self))
        return result


def icc(ratings: ArrayLike, *, level: float = 0.95) -> Icc:
    r"""Return ICC1 and ICC1k of n targets, each rated by k raters drawn at random.

    With the mean squares between and within targets,

    .. math::

        B = \frac{k}{n - 1} \sum_i (\bar x_i - \bar x)^2, \qquad
        W = \frac{1}{n (k - 1)} \sum_{ij} (x_{ij} - \bar x_i)^2, \\
        \mathrm{ICC1} = \frac{B - W}{B + (k - 1) W}, \qquad \mathrm{ICC1k} = \frac{B - W}{B}.

    Intervals leave out (1 - level) / 2 at either end. With quantiles q of the F distribution,
    :math:`F_L = (B / W) / q(n - 1, n (k - 1))` and :math:`F_U = (B / W) \, q(n (k - 1), n - 1)` give the limits
    :math:`(F - 1) / (F + k - 1)` and :math:`1 - 1 / F`.

    Raters who agree on targets that differ have both at 1. Where all ratings are equal there is no variance to share,
    and both are NaN. Negative values mean that raters agree less than by chance.

    Parameters
    ----------
    ratings
        (n, k), at least two targets and two raters.
    level
        Probability of the intervals.

    Raises
    ------
    ValueError
        If there are fewer, if a rating is not finite, or the level is not between 0 and 1.

    References
    ----------
    P. E. Shrout, J. L. Fleiss (1979), Intraclass correlations: uses in assessing rater reliability, Psychological
    Bulletin 86, 420.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(
            f"`ratings` must have one row a target and one column a rater, two of each or more; got shape {table.shape}"
        )
    if not np.isfinite(table).all():
        raise ValueError(f"`ratings` must be finite, {int((~np.isfinite(table)).sum())} of {table.size} are not")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1, got {level}")
    n, k = table.shape
    # Differences first: equal ratings then have a variance of exactly 0.
    means = (table - table[0, 0]).mean(axis=1)
    inner = table - table[:, :1]
    between = k * float(((means - means.mean()) ** 2).sum()) / (n - 1)
    within = float(((inner - inner.mean(axis=1, keepdims=True)) ** 2).sum()) / (n * (k - 1))
    ratio = _quotient(between, within)
    low, high = _limits(ratio, n, k, level)
    single = tuple(_single(each, k) for each in (ratio, low, high))
    mean = tuple(_mean(each) for each in (ratio, low, high))
    return Icc(single[0], (single[1], single[2]), mean[0], (mean[1], mean[2]), n, k, level)


def _quotient(between: float, within: float) -> float:
    if within == 0:
        return math.nan if between == 0 else math.inf
    return between / within


def _limits(ratio: float, n: int, k: int, level: float) -> tuple[float, float]:
    from scipy.stats import f

    tail = 0.5 + 0.5 * level
    return ratio / float(f.ppf(tail, n - 1, n * (k - 1))), ratio * float(f.ppf(tail, n * (k - 1), n - 1))


def _single(ratio: float, k: int) -> float:
    return 1.0 if math.isinf(ratio) else (ratio - 1) / (ratio + k - 1)


def _mean(ratio: float) -> float:
    return -math.inf if ratio == 0 else 1 - 1 / ratio
