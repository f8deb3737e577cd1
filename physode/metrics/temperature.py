r"""Temperature scaling: honest probabilities (Guo et al. 2017, On calibration of modern neural networks, Sect. 4.2).

Networks that are trained long are surer than they are right. One number, the temperature T, makes up for it:
:math:`p_k \propto q_k^{1/T}` with the network's probabilities q. It is the T of the largest likelihood on images that
the training has not seen, and changes no answer, only how sure it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["entropy", "fitted_temperature", "tempered"]

Array = np.ndarray[Any, Any]

_LOWEST, _HIGHEST = 0.05, 20.0


def fitted_temperature(probabilities: ArrayLike, labels: ArrayLike) -> float:
    r"""Return the temperature of the largest likelihood, between 0.05 and 20.

    The mean of :math:`-\log p_y` is convex in :math:`1/T`: what is found is its only minimum.

    Parameters
    ----------
    probabilities, labels
        Of images that the training has not seen: (N, classes) and (N,).

    Raises
    ------
    ValueError
        If there are none.
    """
    from scipy.optimize import minimize_scalar

    logs, truth = _logs(probabilities), np.asarray(labels)
    if not len(truth):
        raise ValueError("a temperature needs one labelled image or more")

    def loss(inverse: float) -> float:
        scaled = logs * inverse
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(truth)), truth]).mean())

    best = minimize_scalar(loss, bounds=(1 / _HIGHEST, 1 / _LOWEST), method="bounded", options={"xatol": 1e-6})
    return float(1.0 / best.x)


def tempered(probabilities: ArrayLike, temperature: float) -> Array:
    """Return probabilities (N, classes) at another temperature; 1 leaves them as they are."""
    scaled = _logs(probabilities) / temperature
    tempered: Array = np.exp(scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True))
    return tempered


def entropy(probabilities: ArrayLike) -> Array:
    r"""Return :math:`-\sum_k p_k \log_2 p_k` in bits, (N,): 0 where one class is certain."""
    values = np.asarray(probabilities, dtype=np.float64)
    bits: Array = -np.sum(values * np.log2(np.maximum(values, np.finfo(np.float64).tiny)), axis=1)
    return np.maximum(bits, 0.0)


def _logs(probabilities: ArrayLike) -> Array:
    values = np.asarray(probabilities, dtype=np.float64)
    logs: Array = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    return logs
