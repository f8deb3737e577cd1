"""The interval of a share that was counted."""

from __future__ import annotations

import math

__all__ = ["wilson_interval"]


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
    from scipy.special import ndtri

    if not 0 <= hits <= samples or samples == 0:
        raise ValueError(f"`hits` must be from 0 to `samples`, which must be at least 1; got {hits} of {samples}")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1, got {level}")
    z2 = float(ndtri(0.5 + 0.5 * level)) ** 2
    centre = hits + 0.5 * z2
    half = math.sqrt(z2 * (hits * (samples - hits) / samples + 0.25 * z2))
    low = 0.0 if hits == 0 else (centre - half) / (samples + z2)
    high = 1.0 if hits == samples else (centre + half) / (samples + z2)
    return low, high
