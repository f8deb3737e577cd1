"""Adam, SGD and L-BFGS, with steps that lead to failing solves taken back."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.fitting.objective import Evaluation, Objective
from physode.fitting.state import BeginError, Epoch, OnEpoch, TrainingState, random_states, restore_random_states

_log = logging.getLogger(__name__)

_MAX_RETRIES = 10
_CONVERGED = "converged: the parameters no longer move"
_TOO_SLOW = "no progress: steps are below rounding at the learning rate"
_SMALLEST_RATE = 2.0**-52  # below it parameters stand still whatever the gradient


def first_order(
    objective: Objective, *, before: TrainingState | None, state: TrainingState | None, on_epoch: OnEpoch
) -> TrainingState:
    r"""Take one step an epoch, at the rate :math:`\mathrm{lr} \cdot \mathrm{decay}^{\mathrm{epoch}}`.

    Stages have equal shares of the epochs. Where the solve fails after a step (masses that fell into each other, a
    network that blew up), the step is taken back and tried again at half the rate, ten times; where all of these fail,
    the stage ends, or, at the very first step, the error is raised. See :func:`physode.fitting.problem.optimise`.

    Parameters
    ----------
    objective
        The stage's.
    before
        Where the stage before ended, if there was one.
    state
        Where to go on within this stage.
    on_epoch
        Called after every epoch.
    """
    config, stage = objective.config, objective.stage
    assert config.epochs is not None
    assert config.stages is not None
    optimizer = _OPTIMIZERS[str(config.optimizer)](objective.parameters.tensors)
    if state is not None:
        objective.parameters.restore(state.model)
        if state.finished == _CONVERGED:
            return state
        optimizer.load_state_dict(copy.deepcopy(state.optimizer))
        restore_random_states(state.random, config.device)
    point = _Point(objective)
    random = random_states(config.device)
    evaluation = _at_guess(point)
    if state is None:
        begun = 0 if before is None else before.epoch
        state = _standing(objective, optimizer, begun, evaluation, random, None)
        if before is None:
            on_epoch(_epoch(objective, 0, evaluation), state)
    last = config.epochs * stage.number // config.stages if stage.number < config.stages else config.epochs
    if stage.inserted:  # half of what is left to the stage of this number
        last = (state.epoch + last) // 2
    for epoch in range(state.epoch + 1, last + 1):
        lr = _rate(config.lr, config.lr_decay, epoch)
        previous = state
        try:
            retries, random, evaluation = _step(point, optimizer, lr)
        except SolveError as error:
            if epoch == 1:  # there is nothing but the guess
                raise
            state.finished = (
                f"diverged: {error}; the smallest loss, {state.best_loss:.3g}, is kept" if stage.last else ""
            )
            break
        state = _standing(objective, optimizer, epoch, evaluation, random, previous)
        stopped = all(torch.equal(value, previous.model[name]) for name, value in state.model.items())
        if stage.last and (stopped or epoch == last):
            at_rest = _CONVERGED if lr > _SMALLEST_RATE else f"{_TOO_SLOW} {lr:g}; raise `lr` or `lr_decay`"
            state.finished = at_rest if stopped else f"all {epoch} epochs done"
        on_epoch(_epoch(objective, epoch, evaluation, lr=lr * 0.5**retries, retries=retries), state)
        if stopped:
            break
    if stage.last and not state.finished:
        state.finished = f"all {config.epochs} epochs done"
    return state


def _epoch(objective: Objective, epoch: int, evaluation: Evaluation, **more: Any) -> Epoch:
    constants = objective.parameters.constants()
    return Epoch(epoch, **vars(evaluation), **more, constants=constants, stage=objective.stage.number)


class _Point:
    """The objective at the parameters' present values, computed once however often it is asked for."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._known: tuple[list[Tensor], list[Tensor | None], Evaluation] | None = None

    def evaluate(self) -> Evaluation:
        parameters = self.objective.parameters.tensors
        if self._known is not None:
            values, gradients, evaluation = self._known
            if all(torch.equal(a, b.detach()) for a, b in zip(values, parameters, strict=True)):
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                return evaluation
        evaluation = self.objective.evaluate()
        values = [parameter.detach().clone() for parameter in parameters]
        self._known = values, [parameter.grad for parameter in parameters], evaluation
        return evaluation

    def closure(self) -> float:
        return self.evaluate().loss


def _at_guess(point: _Point) -> Evaluation:
    try:
        return point.evaluate()
    except SolveError as error:
        raise BeginError(f"cannot begin at the initial guess: {error}; give another, with `init`") from error


def _step(point: _Point, optimizer: torch.optim.Optimizer, lr: float) -> tuple[int, dict[str, Tensor], Evaluation]:
    """Take a step and evaluate where it leads; return how often it was taken back, too."""
    objective = point.objective
    before = objective.parameters.snapshot(), copy.deepcopy(optimizer.state_dict())
    reason: SolveError | None = None
    for retries in range(_MAX_RETRIES + 1):
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5**retries
        try:
            optimizer.step(point.closure)
            objective.parameters.project()
            random = random_states(objective.config.device)
            return retries, random, point.evaluate()
        except SolveError as error:
            reason = error
            _log.info("step taken back: %s", error)
            objective.parameters.restore(before[0])
            optimizer.load_state_dict(copy.deepcopy(before[1]))
    raise SolveError(
        f"the solve fails after every step from here, {_MAX_RETRIES} halvings of the learning rate {lr:g} "
        f"notwithstanding: {reason}"
    ) from reason


def _standing(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    evaluation: Evaluation,
    random: dict[str, Tensor],
    before: TrainingState | None,
) -> TrainingState:
    model = objective.parameters.snapshot()
    better = before is None or evaluation.loss < before.best_loss
    return TrainingState(
        epoch=epoch,
        loss=evaluation.loss,
        model=model,
        optimizer=copy.deepcopy(optimizer.state_dict()),
        random=random,
        best_loss=evaluation.loss if better or before is None else before.best_loss,
        best_model=model if better or before is None else before.best_model,
        stage=objective.stage.number,
        times=objective.stage.times,
    )


def _rate(lr: float | None, decay: float | None, epoch: int) -> float:
    assert lr is not None
    assert decay is not None
    return lr * decay ** (epoch - 1)


_OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    # With tolerances that leave it to go on down to rounding.
    "lbfgs": lambda parameters: torch.optim.LBFGS(
        parameters, line_search_fn="strong_wolfe", tolerance_grad=1e-14, tolerance_change=1e-16
    ),
}
