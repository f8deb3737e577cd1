"""Where an optimisation stands: all that it needs to go on to the same numbers, and its checkpoints."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.training.checkpoints import read_tensors, write_tensors


class BeginError(SolveError):
    """The solve fails where a fit, or a stage of it, begins."""

    @classmethod
    def because(cls, error: SolveError) -> Self:
        """Return the error for a guess where the solve fails by `error`."""
        return cls(f"cannot begin at the initial guess: {error}; give another, with `init`")


@dataclass(frozen=True)
class Epoch:
    """One line of a fit's history.

    Attributes
    ----------
    epoch
        Steps taken so far, for ``"lm"`` evaluations; 0 is the initial guess.
    loss
        Mean squared error over the training span; None where the solve failed and the step was taken back.
    accepted, rejected, rhs_forward, rhs_backward
        Work of the evaluation, where known.
    lr
        Learning rate of the step that led here, where there is one.
    retries
        Steps that were taken back before this one, because the solve failed there.
    constants
        Fitted constants of physics by name, each flat.
    stage
        Which stage of the schedule, from 1.
    """

    epoch: int
    loss: float | None
    accepted: int | None = None
    rejected: int | None = None
    rhs_forward: int | None = None
    rhs_backward: int | None = None
    lr: float | None = None
    retries: int = 0
    constants: dict[str, list[float]] = field(default_factory=dict)
    stage: int = 1


@dataclass
class TrainingState:
    """What a checkpoint holds.

    Attributes
    ----------
    epoch, loss
        As :class:`Epoch`, of the last one.
    model
        The unknowns there: ``state_dict()`` of the right-hand side and, where these are unknown, the initial states.
    optimizer
        The optimiser's own state.
    random
        States of the random number generators.
    best_loss, best_model
        The smallest loss so far, and the unknowns there.
    finished
        Why the optimisation ended; empty while it has not.
    stage, times
        Which stage of the schedule it is in, from 1, and how many times that looks at; the losses are of this stage.
    """

    epoch: int
    loss: float
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    random: dict[str, Tensor]
    best_loss: float
    best_model: dict[str, Tensor]
    finished: str = ""
    stage: int = 1
    times: int = 0

    @classmethod
    def after(cls, before: TrainingState | None, *, loss: float, model: dict[str, Tensor], **more: Any) -> Self:
        """Return the state after an epoch; the best so far is this one's, or else that of the state `before`."""
        best = None if before is None or loss < before.best_loss else before
        return cls(
            loss=loss,
            model=model,
            best_loss=loss if best is None else best.best_loss,
            best_model=model if best is None else best.best_model,
            **more,
        )

    def at_best(self) -> TrainingState:
        """Return the state with the smallest loss so far, and the unknowns there, as its own."""
        return replace(self, loss=self.best_loss, model=self.best_model)


OnEpoch = Callable[[Epoch, TrainingState], None]
"""Told of every epoch, and where the optimisation stands after it."""


class OutOfTimeError(Exception):
    """Raised by who is told of an epoch to end the optimisation there.

    Parameters
    ----------
    seconds
        The limit.
    state
        Where the optimisation stands.
    """

    def __init__(self, seconds: float, state: TrainingState) -> None:
        super().__init__(f"out of time after {seconds:g} s")
        self.seconds, self.state = seconds, state

    def ended(self) -> TrainingState:
        """Return where the optimisation stands, with why it ended."""
        why = f"out of time: the limit of {self.seconds:g} s was reached after epoch {self.state.epoch}; go on with it"
        return replace(self.state, finished=why)


def random_states(device: str) -> dict[str, Tensor]:
    """Return the states of torch's generators that a fit on `device` may draw from."""
    states = {"cpu": torch.get_rng_state()}
    if torch.device(device).type == "cuda":
        states["device"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: dict[str, Tensor], device: str) -> None:
    """Set the generators to what :func:`random_states` returned."""
    torch.set_rng_state(states["cpu"].cpu())
    if "device" in states:
        torch.cuda.set_rng_state(states["device"].cpu(), device)


CHECKPOINT_VERSION = 2


def write_checkpoint(path: str | os.PathLike[str], state: TrainingState) -> None:
    """Write a state so that `path` holds, at every moment, nothing, the old state or the new one.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written to.
    """
    write_tensors(path, vars(state), version=CHECKPOINT_VERSION)


def read_checkpoint(path: str | os.PathLike[str]) -> TrainingState:
    """Read a state, running none of what a hostile file may ask Python to run.

    Raises
    ------
    DataError
        If the file is missing, damaged, holds anything but tensors and plain values, or is of another version.
    """
    names = {each.name for each in dataclasses.fields(TrainingState)}
    return TrainingState(**read_tensors(path, version=CHECKPOINT_VERSION, names=names))
