"""Optimisers by name, stage by stage: torch's own on gradients, Levenberg-Marquardt on Jacobians."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from physode.fitting.first_order import minimise as _minimise
from physode.fitting.least_squares import minimise as _least_squares
from physode.fitting.matching import match_slopes
from physode.fitting.objective import Objective
from physode.fitting.problem import FitProblem
from physode.fitting.schedule import Stage
from physode.fitting.state import BeginError, OnEpoch, OutOfTimeError, TrainingState

__all__ = ["optimise"]

_log = logging.getLogger(__name__)


def optimise(problem: FitProblem, *, state: TrainingState | None, on_epoch: OnEpoch) -> tuple[Objective, TrainingState]:
    """Minimise the loss of every stage, one after the other, each from where the one before has led.

    Where a longer span cannot be solved from there, one half-way between is fitted first. The last stage begins at the
    initial guess where that fits its data better: a fit is never worse than its start.

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
        Where the optimisation ended, with the reason. Where `on_epoch` has ended it by :class:`OutOfTimeError`, the
        objective is of the whole span all the same, at the best point so far.

    Raises
    ------
    SolveError
        If the solve fails at the initial guess, or all first steps from there fail however short they are.
    """
    run = _least_squares if problem.config.optimizer == "lm" else _minimise
    if state is None and problem.config.schedule == "matching":
        match_slopes(problem.rhs, problem.data, problem.config, free=problem.free)
    known = state
    objective: Objective | None = None
    ahead = list(problem.stages)
    if state is not None:
        ahead = ahead[min(state.stage, len(ahead)) - 1 :]
        if state.times < ahead[0].times:
            ahead.insert(0, replace(ahead[0], times=state.times, last=False, inserted=True))
    while ahead:
        before = objective
        objective = problem.begin(ahead[0], before)
        # What is known of an earlier stage than this is where this one begins, not where it stands.
        here = known is not None and (known.stage, known.times) == (ahead[0].number, ahead[0].times)
        if ahead[0].last and not here and (before is not None or problem.config.schedule == "matching"):
            _begin_at_guess_if_better(problem, objective)
        try:
            state = run(objective, before=state, state=known if here else None, on_epoch=on_epoch)
        except BeginError:
            between = _between(before, ahead[0])
            if between is None:
                raise
            _log.info("the solve fails over %d times; %d first", ahead[0].times, between.times)
            assert state is not None
            objective = before
            ahead.insert(0, between)
            continue
        except OutOfTimeError as limit:
            state = limit.ended()
            objective.unknowns.restore(state.best_model)
            if not ahead[0].last:
                objective = problem.begin(problem.stages[-1], objective)
                _begin_at_guess_if_better(problem, objective)
            return objective, state
        objective.unknowns.restore(state.best_model)
        ahead.pop(0)
    assert objective is not None
    assert state is not None
    return objective, state


def _begin_at_guess_if_better(problem: FitProblem, objective: Objective) -> None:
    """Move to the initial guess if it fits the data better than where the shorter spans have led, perhaps astray."""
    here = objective.loss()
    if not math.isfinite(here):  # it has to be led there by spans between
        return
    loss, guess = problem.start
    if loss < here:
        objective.unknowns.restore(guess)


def _between(before: Objective | None, stage: Stage) -> Stage | None:
    """Return a stage half-way between a shorter one and the next, or None where there is none."""
    if before is None or stage.segments > 1 or before.stage.segments > 1 or before.stage.times + 1 >= stage.times:
        return None
    return replace(stage, times=(before.stage.times + stage.times) // 2, last=False, inserted=True)
