"""How a fit ended: a status by name, and the sentence that says why."""

from __future__ import annotations

import math

from physode.fitting.state import TrainingState

__all__ = [
    "CONVERGED", "DIVERGED", "FAILED", "MAX_EPOCHS", "NO_PROGRESS", "OUT_OF_TIME", "astray", "status_of", "verdict",
]  # fmt: skip

CONVERGED, MAX_EPOCHS, OUT_OF_TIME = "converged", "max epochs", "out of time"
NO_PROGRESS, DIVERGED = "no progress", "diverged"
FAILED = (NO_PROGRESS, DIVERGED)
"""Of these, there is no fit: what is returned is the best point that was seen, the start where that is it."""

_NAMED = (CONVERGED, OUT_OF_TIME, NO_PROGRESS, DIVERGED)
_RISE, _FIRST_RISE = 10.0, 1e4  # of the loss above that of the start: more is no detour, nor one step that is too long
_REST = 1e-3  # of the loss above the smallest: less is rounding, and a last step
_ASTRAY = 100.0  # times the data's variance


def status_of(ended: str) -> str:
    """Return the status of a fit by the sentence that says how it ended: what stands before its colon."""
    name = ended.partition(":")[0]
    return name if name in _NAMED else MAX_EPOCHS


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


def astray(ended: str, mse: float | None, variance: float) -> str:
    """Return how a fit ended, its claim to have converged held against the data.

    Where the predictions are off by more than ten times the data's spread, or end within the training span, an
    optimiser has come to rest far from them, whatever it says.

    Parameters
    ----------
    ended
        What the optimiser says.
    mse
        Mean squared error over the training span; None where the prediction ended in it.
    variance
        Of the data there.
    """
    if mse is None:
        return f"{DIVERGED}: the prediction ends within the training span; start closer, or choose another `schedule`"
    if status_of(ended) == CONVERGED and variance > 0 and mse > _ASTRAY * variance:
        return (
            f"{DIVERGED}: the search came to rest where the error is {mse / variance:.3g} times the data's variance; "
            "start closer, or choose another `schedule`"
        )
    return ended
