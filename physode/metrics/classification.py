"""A classifier judged on samples whose classes are known: counts, averages, calibration, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from physode.json_values import plain
from physode.metrics.arguments import checked_classes, checked_labels, checked_probabilities
from physode.metrics.curves import Curves, curves_of
from physode.optional_imports import needs

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Means:
    """Precision, completeness and F1 averaged over classes."""

    precision: float
    completeness: float
    f1: float


@dataclass(frozen=True, eq=False)
class Classification:
    r"""What came out, for N samples of C classes.

    With the confusion matrix :math:`M_{ij}`, the samples of class i that were taken for class j,

    .. math::

        \mathrm{precision}_c = \frac{M_{cc}}{\sum_i M_{ic}}, \qquad
        \mathrm{completeness}_c = \frac{M_{cc}}{\sum_j M_{cj}}, \qquad
        F1_c = \frac{2 M_{cc}}{\sum_i M_{ic} + \sum_j M_{cj}}.

    A class that was never predicted has precision 0. A class that no sample has is left out of all averages; its
    completeness is NaN, and so are precision and F1 if it was not predicted either.

    The accuracy of a class in Table 4 of Gupta et al. (2022) is its completeness (recall): that table has the two
    columns equal, to rounding.

    Parameters
    ----------
    classes
        Their names.
    support
        Samples of each class, (C,).
    confusion
        (C, C): rows are the true classes, columns the predicted ones.
    accuracy
        Share of samples whose most probable class (the first of equals) is the right one.
    accuracy_interval
        Its 95 % interval by Wilson's score.
    log_loss
        Mean of -log p of the right class, natural logarithm; a p of 0 counts as the smallest step of float64.
    precision, completeness, f1
        By class, (C,).
    macro, weighted
        Their plain means over classes, and those weighted by `support`. The plain mean of the completeness is the
        balanced accuracy.
    roc, precision_recall
        The curves, whose areas are AUC and average precision.
    calibration
        Confidence against accuracy.
    """

    classes: tuple[str, ...]
    support: Array
    confusion: Array
    accuracy: float
    accuracy_interval: tuple[float, float]
    log_loss: float
    precision: Array
    completeness: Array
    f1: Array
    macro: Means
    weighted: Means
    roc: Curves
    precision_recall: Curves
    calibration: Calibration

    def numbers(self) -> dict[str, Any]:
        """Return every figure of merit by name: a number, or (C,) for one by class."""
        found: dict[str, Any] = {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.macro.completeness,
            "log_loss": self.log_loss,
            "calibration_error": self.calibration.error,
        }
        for name in ("precision", "completeness", "f1"):
            found[name] = getattr(self, name)
            found[f"{name}_macro"] = getattr(self.macro, name)
            found[f"{name}_weighted"] = getattr(self.weighted, name)
        for name, curves in (("auc", self.roc), ("average_precision", self.precision_recall)):
            found[name] = curves.areas
            found[f"{name}_micro"] = curves.micro.area
            found[f"{name}_macro"] = np.nan if curves.macro is None else curves.macro.area
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return names, counts and numbers for JSON, None for NaN; not the curves, which the predictions give again."""
        counts: Mapping[str, Any] = {
            "classes": self.classes,
            "samples": int(self.support.sum()),
            "support": self.support,
            "accuracy_interval": self.accuracy_interval,
            "confusion": self.confusion,
        }
        result: dict[str, Any] = plain({**counts, **self.numbers()})
        return result


def classify(probabilities: ArrayLike, labels: ArrayLike, *, classes: Sequence[str] | None = None) -> Classification:
    """Judge a classifier by its answers.

    Parameters
    ----------
    probabilities
        Of the classes, (N, C): a softmax of the network's outputs. Rows are divided by their sums, which must be 1
        within 0.01.
    labels
        The right classes, (N,), whole numbers from 0 to C - 1.
    classes
        Their names; by default their numbers.

    Raises
    ------
    ValueError
        If probabilities, labels or names are not such.
    ConfigError
        If scikit-learn is not installed.
    """
    shares = checked_probabilities(probabilities)
    samples, count = shares.shape
    truth = checked_labels(labels, samples=samples, classes=count)
    names = checked_classes(classes, count=count)
    metrics = needs("sklearn.metrics", extra="images", purpose="classification metrics")
    predicted, known = shares.argmax(axis=1), list(range(count))
    hits = int((predicted == truth).sum())
    confusion = metrics.confusion_matrix(truth, predicted, labels=known)
    precision, completeness, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, labels=known, zero_division=0.0
    )
    present, unseen = support > 0, confusion.sum(axis=0) + support == 0
    by_class = {
        "precision": np.where(unseen, np.nan, precision),
        "completeness": np.where(present, completeness, np.nan),
        "f1": np.where(unseen, np.nan, f1),
    }
    return Classification(
        classes=names,
        support=support,
        confusion=confusion,
        accuracy=hits / samples,
        accuracy_interval=wilson_interval(hits, samples),
        log_loss=float(metrics.log_loss(truth, shares, labels=known)),
        **by_class,
        macro=_means(by_class, present),
        weighted=_means(by_class, support),
        roc=curves_of("roc", shares, truth),
        precision_recall=curves_of("precision-recall", shares, truth),
        calibration=calibrate(shares, truth),
    )


def _means(by_class: Mapping[str, Array], weights: Array) -> Means:
    counted = weights > 0
    return Means(**{name: float(np.average(v[counted], weights=weights[counted])) for name, v in by_class.items()})


@dataclass(frozen=True, eq=False)
class Calibration:
    """Samples by the probability of the class that was predicted, in B bins of equal width.

    Parameters
    ----------
    edges
        Of the bins, (B + 1,), from 0 to 1. A bin holds its upper edge.
    counts
        Samples of each bin, (B,).
    confidence, accuracy
        Mean probability of the predicted class, and share of right predictions, (B,); NaN in empty bins.
    error
        Expected calibration error.
    """

    edges: Array
    counts: Array
    confidence: Array
    accuracy: Array
    error: float


def calibrate(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15) -> Calibration:
    r"""Compare confidence with accuracy.

    The expected calibration error is, over bins :math:`B_b` of the predicted class's probability,

    .. math:: \mathrm{ECE} = \sum_b \frac{|B_b|}{N} \left|\mathrm{accuracy}(B_b) - \mathrm{confidence}(B_b)\right|.

    Parameters
    ----------
    probabilities
        Of the classes, (N, C).
    labels
        The right classes, (N,).
    bins
        How many bins there are.

    Raises
    ------
    ValueError
        If probabilities or labels are not such, or there is no bin.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On calibration of modern neural networks, ICML, Eq. 3.
    """
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, got {bins}")
    shares = checked_probabilities(probabilities)
    right = shares.argmax(axis=1) == checked_labels(labels, samples=len(shares), classes=shares.shape[1])
    confidence = shares.max(axis=1)
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values, minlength=bins) for values in (confidence, right)]
    gap = float(np.abs(sums[1] - sums[0]).sum() / len(shares))
    means = [np.divide(each, counts, out=np.full(bins, np.nan), where=counts > 0) for each in sums]
    return Calibration(edges, counts, means[0], means[1], gap)


def surest_mistakes(probabilities: ArrayLike, labels: ArrayLike) -> Array:
    """Return the places of misclassified samples, the one that the classifier was most sure of first.

    Parameters
    ----------
    probabilities, labels
        Of the classes, (N, C), and the right ones, (N,).
    """
    shares, truth = np.asarray(probabilities), np.asarray(labels)
    wrong = np.flatnonzero(shares.argmax(axis=1) != truth)
    ordered: Array = wrong[np.argsort(-shares[wrong].max(axis=1), kind="stable")]
    return ordered


def wilson_interval(hits: int, samples: int, *, level: float = 0.95) -> tuple[float, float]:
    r"""Return Wilson's score interval of a proportion.

    With :math:`\hat p = k / n` and the normal quantile :math:`z` of the level,

    .. math:: \frac{\hat p + z^2 / 2n \pm z \sqrt{\hat p (1 - \hat p) / n + z^2 / 4 n^2}}{1 + z^2 / n}.

    It stays within 0 and 1 and keeps its level where the proportion is close to either, as accuracies are.

    Parameters
    ----------
    hits
        How often it happened, k.
    samples
        How often it could have, n.
    level
        Probability with which such intervals hold the true proportion.

    Raises
    ------
    ValueError
        If there are no samples, more hits than samples, or the level is not between 0 and 1.

    References
    ----------
    E. B. Wilson (1927), J. Am. Stat. Assoc. 22, 209.
    """
    from scipy.stats import binomtest

    if not 0 <= hits <= samples or samples == 0:
        raise ValueError(f"`hits` must be from 0 to `samples`, which must be at least 1; got {hits} of {samples}")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1, got {level}")
    low, high = binomtest(hits, samples).proportion_ci(level, method="wilson")
    return float(low), float(high)
