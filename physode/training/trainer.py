"""The loop over epochs of every training, and how a run's folder keeps it, so that it goes on from any epoch.

What an epoch draws depends on the seed and the epoch alone, and checkpoints are written between epochs: nothing of a
generator has to be kept for a resumed training to give the same numbers.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from physode.errors import ConfigError, DataError, SolveError
from physode.models.solver_stats import Work, work_of
from physode.training.checkpoints import load_weights
from physode.training.device import own_randomness, seed_of
from physode.training.distributed import Place
from physode.training.run import Epoch, TrainingRun, TrainingState
from physode.training.tensorboard import Curves

__all__ = ["Progress", "Trainer", "keep_training", "learning_rates"]

Batch = TypeVar("Batch")
Line = TypeVar("Line", bound=Epoch)
State = TypeVar("State", bound=TrainingState)

Progress = Callable[[float, str], object]
"""Told the finished share of the training, and where it is."""

_log = logging.getLogger(__name__)


class Trainer(ABC, Generic[Batch, Line, State]):
    """A model in training, epoch by epoch.

    Parameters
    ----------
    config
        The settings.
    model
        What is trained.
    optimizer
        Which changes its weights.
    updates
        Steps of the optimiser in an epoch.
    place
        Which of several processes this is, and where it computes.
    stream
        Number of the epochs' random numbers that are drawn in updates, one a process.

    Attributes
    ----------
    config, place
        As given.
    epoch
        Epochs that are over.
    best
        The epoch of the best test so far, and its figure of merit.
    rate
        Learning rate of the last update.
    """

    data_kind: ClassVar[str]  # what it is trained on, in words
    solved: ClassVar[str]  # what is integrated in the model
    remedy: ClassVar[str]  # against numbers that run away
    state_kind: ClassVar[type[Any]]
    merit: ClassVar[str]  # the state's name of the best test's figure
    worst: ClassVar[float]  # figure of merit
    sums: ClassVar[int]  # how many numbers each update returns
    moments: tuple[str, ...]  # what the optimiser keeps of a parameter in its shape
    curves: ClassVar[tuple[str, ...]]  # numbers of an epoch that TensorBoard shows
    told: ClassVar[tuple[str, ...]]  # numbers of an epoch that the log has

    def __init__(
        self,
        config: Any,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        updates: int,
        place: Place,
        stream: int,
    ) -> None:
        self.config, self.place = config, place
        self.epoch, self.best, self.rate = 0, (0, self.worst), 0.0
        self._model, self._optimizer, self._updates, self._stream = model, optimizer, updates, stream
        self._rates = self.rates(0)

    @abstractmethod
    def rates(self, done: int) -> Iterator[float]:
        """Return the learning rates of the updates after so many: :func:`learning_rates` as the settings have it."""

    @abstractmethod
    def batches(self) -> Iterable[Batch]:
        """Return what the next epoch's updates see; the seed and the epoch alone decide it."""

    @abstractmethod
    def update(self, batch: Batch, share: float) -> Tensor:
        """Take one step of the optimiser after a share of the training; return what is to be summed over the epoch."""

    @abstractmethod
    def line(self, sums: Tensor, work: Work, seconds: float) -> Line:
        """Test the model, keep `best`, and return the line of the epoch that is over."""

    def run(self, on_epoch: Callable[[Line, State], object], *, progress: Progress | None = None) -> None:
        """Train to the last epoch, and tell of each in the process that writes.

        Raises
        ------
        SolveError
            If the loss is no number any more, or something cannot be integrated.
        ConfigError
            If a batch cannot be divided among the processes.
        """
        while self.epoch < self.config.epochs:
            begin = time.perf_counter()
            work_of(self._model, forget=True)
            sums = self._train_epoch(progress)
            work = work_of(self._model, forget=True)
            self.epoch += 1
            line = self.line(sums, work, time.perf_counter() - begin)
            if self.place.writes:
                on_epoch(line, self.state(line))
            self.place.wait()

    def _train_epoch(self, progress: Progress | None) -> Tensor:
        device, epochs = self.place.device, self.config.epochs
        self._model.train()
        sums = torch.zeros(self.sums, device=device)
        with own_randomness(seed_of(self.config.seed, self.epoch, self._stream), device):
            for number, batch in enumerate(self.batches()):
                share = (self.epoch + number / self._updates) / epochs
                self.rate = next(self._rates)
                sums = sums + self.update(batch, share)
                if progress is not None:
                    progress(share, f"epoch {self.epoch + 1}/{epochs}")
        return sums

    @contextmanager
    def solving(self, epoch: int) -> Iterator[None]:
        """Say of what cannot be integrated in the block where it was, and what helps."""
        try:
            yield
        except (SolveError, ValueError) as error:
            raise SolveError(
                f"in epoch {epoch} a {self.solved} could not be integrated ({error}); {self.remedy}"
            ) from error

    def common(self, loss: float, work: Work, updates: int) -> dict[str, Any]:
        """Return what an epoch's line has in every training, but for times.

        Raises
        ------
        SolveError
            If the loss is no number.
        """
        if not math.isfinite(loss):
            raise SolveError(f"the loss of epoch {self.epoch} is {loss}; {self.remedy}")
        return {
            "epoch": self.epoch,
            "loss": loss,
            "lr": self.rate,
            "rhs_forward": work.forward / updates,
            "rhs_backward": work.backward / updates,
            "accepted": work.accepted / updates,
            "rejected": work.rejected / updates,
        }

    def state_dicts(self) -> dict[str, Any]:
        """Return the state dicts that a checkpoint holds; the tensors are the training's own."""
        return {"model": self._model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dicts(self, state: State) -> None:
        """Take the state dicts of a checkpoint, but for the model's."""
        self._optimizer.load_state_dict(state.optimizer)
        for parameter, kept in self._optimizer.state.items():
            for name in self.moments:
                if kept[name] is not None and kept[name].shape != parameter.shape:
                    raise ValueError(f"a moment of shape {tuple(kept[name].shape)} for {tuple(parameter.shape)}")

    def state(self, line: Line) -> State:
        """Return where the training stands after an epoch; the tensors are the training's own."""
        best_epoch, figure = self.best
        found: State = self.state_kind(
            epoch=self.epoch, best_epoch=best_epoch, line=asdict(line), **{self.merit: figure}, **self.state_dicts()
        )
        return found

    def restore(self, state: State, source: str) -> None:
        """Go on from a state.

        Raises
        ------
        DataError
            If it is another model's.
        """
        load_weights(self._model, state.model, source)
        try:
            self.load_state_dicts(state)
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError, IndexError) as error:
            raise DataError(f"{source} is damaged: it has no state of this optimiser ({error})") from error
        self.epoch, self.best = state.epoch, (state.best_epoch, getattr(state, self.merit))
        self._rates = self.rates(self.epoch * self._updates)


def learning_rates(
    optimizer: torch.optim.Optimizer,
    largest: float,
    *,
    total: int,
    done: int = 0,
    falls: Callable[[float], float] | None = None,
) -> Iterator[float]:
    """Set the learning rate of one update after the other, and yield each.

    Parameters
    ----------
    optimizer
        Whose rate it is.
    largest
        The largest rate.
    total, done
        Updates of the whole training, and those that are over.
    falls
        The factor of the rate by the share of the training that is over; None for one cycle (Smith and Topin 2019): up
        from a 25th in the first 30 %, and down to nearly 0, as cosines.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = largest  # which a checkpoint has as it was
    make: Callable[..., LambdaLR | OneCycleLR]
    if falls is None:
        make = partial(OneCycleLR, optimizer, largest, total_steps=total + 1, cycle_momentum=False)
    else:
        factor = falls
        make = partial(LambdaLR, optimizer, lambda number: factor(number / total))
    schedule = make()
    if done:
        schedule = make(last_epoch=done - 1)
    yield float(optimizer.param_groups[0]["lr"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice where the first update was left out
        schedule.step()
    while True:
        yield float(optimizer.param_groups[0]["lr"])
        schedule.step()


def keep_training(
    trainer: Trainer[Any, Line, State],
    run: TrainingRun[Any, State] | None,
    *,
    digest: str,
    resume: bool,
    tensorboard: bool,
    begun: Callable[[], object],
    on_epoch: Callable[[Line, State], object] | None,
    progress: Progress | None,
) -> None:
    """Train to the last epoch; every epoch is kept in the run's folder before the next begins.

    Parameters
    ----------
    trainer
        At the training's beginning.
    run
        The folder; None keeps nothing.
    digest
        Fingerprint of the data.
    resume
        Go on after the last epoch that `run` has kept.
    tensorboard
        Whether to write curves for TensorBoard.
    begun
        Called before the first epoch, with the run's log open.
    on_epoch, progress
        Told of every epoch, and of every update, in the process that writes.
    """
    journal = run if trainer.place.writes else None
    with nullcontext() if journal is None else journal.working():
        if resume:
            _restore(trainer, run, digest)
        folder = journal.path if journal is not None and tensorboard else None
        with closing(Curves(folder, trainer.curves, after=trainer.epoch)) as curves:
            begun()

            def keep(line: Line, state: State) -> None:
                if journal is not None:
                    journal.save(line, state)
                numbers = asdict(line)
                curves.add(numbers)
                shown = ", ".join(f"{name.replace('_', ' ')} {numbers[name]:.4g}" for name in trainer.told)
                _log.info("epoch %d: %s", line.epoch, shown)
                if on_epoch is not None:
                    on_epoch(line, state)

            trainer.run(keep, progress=progress if trainer.place.writes else None)


def _restore(trainer: Trainer[Any, Any, State], run: TrainingRun[Any, State] | None, digest: str) -> None:
    """Bring a training where its run stands, and the run's files to that epoch."""
    if run is None:
        raise ConfigError("`resume` needs a `run` to go on with")
    if digest != run.digest:
        raise DataError(
            f"these are not the {trainer.data_kind} that {run.path} was begun with, {run.data} as it was then; begin a "
            "new run"
        )
    if not run.has_checkpoint:  # killed before its first epoch was over
        if trainer.place.writes:
            run.write_config()
            run.begin_again()
        return
    state, epochs = run.last(), trainer.config.epochs
    if state.epoch > epochs:
        raise ConfigError(f"{run.path} has {state.epoch} epochs already, `epochs` is {epochs}")
    trainer.restore(state, str(run.checkpoint("last")))
    if trainer.place.writes:
        run.write_config()  # more epochs, or another device
        run.forget_after(state.epoch, first=1)
        if not any(line["epoch"] == state.epoch for line in run.history()):
            run.append(state.line)  # killed between the checkpoint and the line
