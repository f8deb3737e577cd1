"""How much of the variance of ratings is that of what was rated."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from physode.json_values import plain

__all__ = ["Icc", "icc"]


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
