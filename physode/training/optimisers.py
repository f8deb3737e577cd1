"""Optimisers by name: torch's own on gradients, Levenberg-Marquardt on Jacobians."""

from __future__ import annotations

from physode.training.first_order import minimise as _minimise
from physode.training.least_squares import minimise as _least_squares
from physode.training.objective import Objective
from physode.training.state import OnEpoch, TrainingState

__all__ = ["optimise"]


def optimise(objective: Objective, *, state: TrainingState | None, on_epoch: OnEpoch) -> TrainingState:
    """Minimise the loss of `objective` by changing its right-hand side's parameters.

    Parameters
    ----------
    objective
        What to minimise; its settings name the optimiser, the number of epochs and the learning rate.
    state
        Where to go on, or None to begin at the parameters' values.
    on_epoch
        Called after every epoch.

    Returns
    -------
    TrainingState
        Where the optimisation ended, with the reason.

    Raises
    ------
    SolveError
        If the solve fails at the initial guess, or steps into one direction fail however short they are.
    """
    run = _least_squares if objective.config.optimizer == "lm" else _minimise
    return run(objective, state=state, on_epoch=on_epoch)
