"""How a fit ended, held against what it has seen, and what makes its numbers implausible.

Optimisers come to rest in wrong minima, on wrong units and on wrong files, too: it is said beside the numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physode.datasets import Trajectories
from physode.fit_status import (
    CONVERGED,
    DIVERGED,
    DOUBTFUL,
    MAX_EPOCHS,
    NO_PROGRESS,
    held_against_data,
    percent,
    status_of,
)
from physode.fitting.data import FitData
from physode.fitting.objective import Objective
from physode.fitting.state import TrainingState
from physode.rhs import NBody

_RISE, _FIRST_RISE = 10.0, 1e4  # of the loss above that of the start: more is no detour, nor one step that is too long
_REST = 1e-3  # of the loss above the smallest: less is rounding, and a last step


def verdict(state: TrainingState, *, start: float) -> str:
    """Return how a fit ended, its claims held against the losses that it has seen.

    A search that has come to rest above the smallest loss has not converged; one that ends far above the start has run
    away; one that has seen nothing better than the start has found nothing. A single step is given more room.

    Parameters
    ----------
    state
        Where the optimisation ended.
    start
        The loss of the initial guess over the same data; infinite where that cannot be solved.
    """
    told, last, best = state.finished, state.loss, state.best_loss
    status, rise = status_of(told), _RISE if state.epoch > 1 else _FIRST_RISE
    if (status == CONVERGED and last > best * (1.0 + _REST)) or (status == MAX_EPOCHS and last > rise * start):
        began = f"from {start:.3g} " if math.isfinite(start) else ""
        return (
            f"{DIVERGED}: the loss went {began}to {last:.3g}; the smallest, {best:.3g}, is kept; "
            "lower `lr`, or start closer"
        )
    if status == MAX_EPOCHS and last > best >= start and state.epoch > 1:
        return (
            f"{NO_PROGRESS}: no loss was below the {start:.3g} of the start, which is kept; lower `lr`, or start closer"
        )
    return told


def astray(ended: str, mse: float | None, left: float, *, chi_square: float | None = None, freedom: int = 1) -> str:
    """Return how a fit ended, its claims held against the data: `held_against_data`.

    A prediction that ends within the training span, where `mse` is None, has diverged.
    """
    if mse is None:
        return f"{DIVERGED}: the prediction ends within the training span; start closer, or choose another `schedule`"
    remedy = "start closer, bound the constants, or choose another `schedule`"
    return held_against_data(ended, left=left, remedy=remedy, chi_square=chi_square, freedom=freedom)


Array = np.ndarray[Any, Any]

_MASS_RATIO = 1e4  # by how much masses may differ from those that the motion needs


def plausibility_notes(objective: Objective, trajectories: Trajectories, left: float) -> list[str]:
    """Return what a reader should doubt: a fit that explains little, bodies that move at an impossible speed.

    Parameters
    ----------
    objective
        At the fit's end.
    trajectories
        The data.
    left
        What the fit leaves of their squares, by `share_left`.
    """
    notes = []
    told, fitted = trajectories.attrs.get("system"), objective.config.system
    if fitted is not None and told is not None and told != fitted and (told, fitted) != ("n_body", "three_body"):
        notes.append(f"the data say that they are of {told}, they were fitted as {fitted}")
    own = objective.rhs.columns
    if objective.config.rhs == "physical" and set(own).isdisjoint(trajectories.columns):
        pairs = [f"{column} is taken as {name}" for column, name in zip(trajectories.columns, own, strict=True)]
        notes.append("by their order, " + ", ".join(pairs))
    if left > DOUBTFUL:
        notes.append(
            f"the fit leaves {percent(left)} of the training data's variance: is it the right system, are the "
            "units and the initial guess right? A shorter `train_until` or another `schedule` may lead out of a wrong "
            "minimum"
        )
    rhs = objective.rhs
    if isinstance(rhs, NBody):
        implied = _implied_mass(trajectories, rhs)
        largest = float(objective.rhs.constants["masses"].detach().abs().sum())
        if implied > 0 and math.isfinite(implied) and not 1 / _MASS_RATIO < largest / implied < _MASS_RATIO:
            notes.append(
                f"bodies that move like these need masses of about {implied:.1g} with G = {rhs.G:.6g}, the fit has "
                f"{largest:.1g}: are the units of lengths and times right?"
            )
    return notes


def share_left(data: FitData, predicted: Tensor) -> float:
    """Return the share of the training values' squares about their columns' means that predictions leave.

    Squares are in standard deviations where these are known. NaN where the prediction ends, or nothing varies.

    Parameters
    ----------
    data
        What was fitted.
    predicted
        States, as `data.y`.
    """
    counted = data.training.flatten(0, -2).cpu()
    weights = None if data.weights is None else data.weights.flatten(0, -2).double().cpu()
    y, there = (part.flatten(0, -2).double().cpu() for part in (data.y, predicted.detach()))
    left = total = 0.0
    for column in range(y.shape[-1]):
        rows = counted[:, column]
        w = torch.ones(int(rows.sum()), dtype=torch.float64) if weights is None else weights[rows, column]
        values = y[rows, column]
        mean = (w.square() * values).sum() / w.square().sum().clamp_min(1e-300)
        total += float((w * (values - mean)).square().sum())
        left += float((w * (values - there[rows, column])).square().sum())
    return left / total if total > 0 else math.nan


def _implied_mass(trajectories: Trajectories, rhs: NBody) -> float:
    r"""Return the median of :math:`v^2 r / G` over times and over bodies after the first, relative to this."""
    positions = trajectories.y[0, :, : 3 * rhs.n].reshape(-1, rhs.n, 3).astype(np.float64)
    t = trajectories.t if trajectories.t.ndim == 1 else trajectories.t[0]
    relative = positions[:, 1:] - positions[:, :1]
    found: list[Array] = []
    for body in range(rhs.n - 1):
        rows = np.isfinite(relative[:, body]).all(-1)
        path, times = relative[rows, body], t[rows]
        if len(path) > 1:
            speed = np.linalg.norm(np.diff(path, axis=0), axis=-1) / np.abs(np.diff(times))
            found.append(speed**2 * np.linalg.norm(path[1:], axis=-1))
    if not found or rhs.G == 0:
        return 0.0
    # Accelerations are G m / r^2 in dv/dt, and dr/dt = K v: circular orbits have (dr/dt)^2 r = K G m.
    return float(np.median(np.concatenate(found))) / (rhs.G * rhs.velocity_scale)
