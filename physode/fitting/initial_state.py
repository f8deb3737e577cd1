"""Guesses of states from what was observed of them: where a fit of unknown initial states begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.rhs import System

Array = np.ndarray[Any, Any]

_ITERATIONS = 5


def estimate_state(rhs: System, t: Array, y: Array, index: int) -> Array:
    r"""Estimate the state at ``t[index]`` from the observations around it.

    An observed component is its observed value or, where that is missing, the value of a polynomial through its
    neighbours. Components never observed are those for which the right-hand side has the observed ones' slopes: the
    least squares solution of :math:`f(t, y)_{obs} = \dot y_{obs}`, by Gauss-Newton from 0. So velocities are found
    from positions, whatever the system.

    Parameters
    ----------
    rhs
        The right-hand side, with its constants as they are guessed.
    t, y
        Times, (T,), and observed values, (T, D), NaN where missing.
    index
        Which of the times.

    Returns
    -------
    Array
        The state, (D,), finite.
    """
    present = np.isfinite(y)
    observed = np.asarray(present.any(axis=0))
    state, slope = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for column in np.flatnonzero(observed):
        rows = present[:, column]
        state[column], slope[column] = _value_and_slope(t[rows], y[rows, column], float(t[index]))
        if present[index, column]:
            state[column] = y[index, column]
    if not observed.all():
        state = _complete(rhs, float(t[index]), state, slope, observed)
    return state


def _value_and_slope(t: Array, values: Array, at: float) -> tuple[float, float]:
    """Return value and slope of a local polynomial: of a twentieth of the points, 5 to 51 of them, at most cubic."""
    count = min(len(t), int(np.clip(len(t) // 20, 5, 51)))
    nearest = np.argsort(np.abs(t - at), kind="stable")[:count]
    degree = min(3 if count > 5 else 2, count - 1)
    scale = float(np.abs(t[nearest] - at).max()) or 1.0
    coefficients = np.polynomial.polynomial.polyfit((t[nearest] - at) / scale, values[nearest], degree)
    return float(coefficients[0]), float(coefficients[1]) / scale if degree else 0.0


def complete_states(rhs: System, t: Array, states: Array, slopes: Array, observed: Array) -> Array:
    """Fill in, at every time, the components that were not observed; shapes (T,), (T, D), (T, D) and (D,)."""
    rows = zip(t, states, slopes, strict=True)
    return np.stack([_complete(rhs, float(time), state, slope, observed) for time, state, slope in rows])


def _complete(rhs: System, t: float, state: Array, slope: Array, observed: Array) -> Array:
    """Fill in the components that were not observed."""
    like = next(iter(rhs.parameters()), torch.zeros((), dtype=torch.float64))
    known = torch.as_tensor(observed, device=like.device)
    time = torch.tensor(t, dtype=torch.float64, device=like.device)
    at, wanted = (torch.tensor(values, dtype=like.dtype, device=like.device) for values in (state, slope))

    def mismatch(y: Tensor) -> Tensor:
        found: Tensor = rhs(time, y)
        return (found - wanted)[known]

    best = at
    with torch.no_grad():
        least = float(mismatch(at).norm())
        for _ in range(_ITERATIONS):
            jacobian = torch.func.jacrev(mismatch)(at)[:, ~known]
            if not bool(torch.isfinite(jacobian).all()):
                break
            # The pseudo-inverse leaves alone what no slope depends on.
            at = at.clone()
            at[~known] -= torch.linalg.pinv(jacobian) @ mismatch(at)
            size = float(mismatch(at).norm())
            if not size < least:
                break
            best, least = at, size
    return np.asarray(best.double().cpu().numpy())
