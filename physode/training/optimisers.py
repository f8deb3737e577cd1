"""Optimisers by name, stage by stage: torch's own on gradients, Levenberg-Marquardt on Jacobians."""

from __future__ import annotations

from physode.training.first_order import minimise as _minimise
from physode.training.least_squares import minimise as _least_squares
from physode.training.objective import Objective
from physode.training.problem import FitProblem
from physode.training.state import OnEpoch, TrainingState

__all__ = ["optimise"]


def optimise(problem: FitProblem, *, state: TrainingState | None, on_epoch: OnEpoch) -> tuple[Objective, TrainingState]:
    """Minimise the loss of every stage, one after the other, each from where the one before has led.

    Parameters
    ----------
    problem
        What to fit; its settings name the optimiser, the number of epochs and the learning rate.
    state
        Where to go on, or None to begin at the parameters' values.
    on_epoch
        Called after every epoch.

    Returns
    -------
    Objective
        The last stage's, at its best point.
    TrainingState
        Where the optimisation ended, with the reason.

    Raises
    ------
    SolveError
        If the solve fails at the initial guess, or steps into one direction fail however short they are.
    """
    run = _least_squares if problem.config.optimizer == "lm" else _minimise
    first = 1 if state is None else min(state.stage, len(problem.stages))
    objective: Objective | None = None
    known = state
    for stage in problem.stages[first - 1 :]:
        objective = problem.begin(stage, objective)
        # What is known of an earlier stage than this is where this one begins, not where it stands.
        resumed = known if known is not None and known.stage == stage.number else None
        state = run(objective, before=state, state=resumed, on_epoch=on_epoch)
        objective.unknowns.restore(state.best_model)
    assert objective is not None
    assert state is not None
    return objective, state
