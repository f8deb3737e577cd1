"""Whether a classifier is right as often as it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from physode.metrics.arguments import checked_labels, checked_probabilities

__all__ = ["Calibration", "calibrate"]

Array = np.ndarray[Any, Any]


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
