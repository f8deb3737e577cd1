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
    """
    config, stage = objective.config, objective.stage
    assert config.epochs is not None
    assert config.stages is not None
    assert config.lr is not None
    assert config.lr_decay is not None
    if state is not None and state.finished == _CONVERGED:
        objective.parameters.restore(state.model)
        return state
    descent = _Descent(objective)
    if state is not None:
        descent.restore(state)
    random = random_states(config.device)
    try:
        evaluation = descent.evaluate()
    except SolveError as error:
        raise BeginError.because(error) from error
    if state is None:
        begun = 0 if before is None else before.epoch
        state = descent.state_after(None, begun, evaluation, random)
        if before is None:
            on_epoch(_epoch(objective, 0, evaluation), state)
    last = config.epochs * stage.number // config.stages if stage.number < config.stages else config.epochs
    if stage.inserted:  # half of what is left to the stage of this number
        last = (state.epoch + last) // 2
    for epoch in range(state.epoch + 1, last + 1):
        lr = config.lr * config.lr_decay ** (epoch - 1)
        previous = state
        try:
            retries, random, evaluation = descent.step(lr)
        except SolveError as error:
            if epoch == 1:  # there is nothing but the guess
                raise
            state.finished = (
                f"diverged: {error}; the smallest loss, {state.best_loss:.3g}, is kept" if stage.last else ""
            )
            break
        state = descent.state_after(previous, epoch, evaluation, random)
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


class _Descent:
    """An optimiser on an objective, which is computed once at each point however often it is asked for."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.parameters = objective, objective.parameters
        config = objective.config
        betas = {} if config.betas is None else {"betas": config.betas}
        self.optimizer = _OPTIMIZERS[str(config.optimizer)](self.parameters.tensors, **betas)
        self._cached: tuple[list[Tensor], list[Tensor | None], Evaluation] | None = None

    def restore(self, state: TrainingState) -> None:
        """Go to where an optimisation stood."""
        self.parameters.restore(state.model)
        self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
        restore_random_states(state.random, self.objective.config.device)

    def evaluate(self) -> Evaluation:
        """Return loss and work at the present point, and leave the gradient with the parameters."""
        tensors = self.parameters.tensors
        if self._cached is not None:
            values, gradients, evaluation = self._cached
            if all(torch.equal(a, b.detach()) for a, b in zip(values, tensors, strict=True)):
                for tensor, gradient in zip(tensors, gradients, strict=True):
                    tensor.grad = gradient
                return evaluation
        evaluation = self.objective.evaluate()
        self._cached = [each.detach().clone() for each in tensors], [each.grad for each in tensors], evaluation
        return evaluation

    def step(self, lr: float) -> tuple[int, dict[str, Tensor], Evaluation]:
        """Take a step and evaluate where it leads; return how often it was taken back, too."""
        before = self.parameters.snapshot(), copy.deepcopy(self.optimizer.state_dict())
        reason: SolveError | None = None
        for retries in range(_MAX_RETRIES + 1):
            for group in self.optimizer.param_groups:
                group["lr"] = lr * 0.5**retries
            try:
                self.optimizer.step(lambda: self.evaluate().loss)
                self.parameters.project()
                random = random_states(self.objective.config.device)
                return retries, random, self.evaluate()
            except SolveError as error:
                reason = error
                _log.info("step taken back: %s", error)
                self.parameters.restore(before[0])
                self.optimizer.load_state_dict(copy.deepcopy(before[1]))
        raise SolveError(
            f"the solve fails after every step from here, {_MAX_RETRIES} halvings of the learning rate {lr:g} "
            f"notwithstanding: {reason}"
        ) from reason

    def state_after(
        self, before: TrainingState | None, epoch: int, evaluation: Evaluation, random: dict[str, Tensor]
    ) -> TrainingState:
        """Return where the optimisation stands after an epoch."""
        return TrainingState.after(
            before,
            epoch=epoch,
            loss=evaluation.loss,
            model=self.parameters.snapshot(),
            optimizer=copy.deepcopy(self.optimizer.state_dict()),
            random=random,
            stage=self.objective.stage.number,
            times=self.objective.stage.times,
        )


_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    # With tolerances that leave it to go on down to rounding.
    "lbfgs": lambda parameters: torch.optim.LBFGS(
        parameters, line_search_fn="strong_wolfe", tolerance_grad=1e-14, tolerance_change=1e-16
    ),
}
