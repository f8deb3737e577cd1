"""The training loop of classifiers: SGD over shuffled, augmented batches, in one process or several."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from physode.errors import ConfigError, DataError, SolveError
from physode.images.augmentation import augment
from physode.images.config import TrainConfig
from physode.images.data import Batch, DeviceImages, batches, on_device, split, unit, updates
from physode.images.model import compile_blocks, make_model, mixed_precision, predict
from physode.images.run import Epoch, TrainRun, TrainState
from physode.models import Work, work_of
from physode.training.checkpoints import load_weights
from physode.training.device import own_randomness, seed_of
from physode.training.distributed import Place, joined, share_batch_norm
from physode.training.rates import one_cycle
from physode.training.tensorboard import Board

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["OnEpoch", "Progress", "Trainer", "learning_rate", "train"]


OnEpoch = Callable[[Epoch, TrainState], None]
"""Told of every epoch, and where the training stands after it, in the process that writes."""

Progress = Callable[[float, str], object]
"""Told the finished share of the training, and where it is."""


@dataclass
class _Sums:
    """Over the batches of an epoch."""

    loss: Tensor
    right: Tensor
    work: Work
    seen: int = 0


class Trainer:
    """A classifier in training.

    Parameters
    ----------
    config
        The settings.
    classes
        How many.
    training, testing
        The images, on the device of `place`.
    place
        Which of the processes this is.

    Attributes
    ----------
    model
        Normalisation and network.
    epoch
        Epochs that are over.
    """

    def __init__(
        self, config: TrainConfig, classes: int, training: DeviceImages, testing: DeviceImages, *, place: Place
    ) -> None:
        self.config, self.place = config, place
        self._training, self._testing = training, testing
        self.model = make_model(config, classes, training.moments()).to(place.device)
        if place.size > 1:
            share_batch_norm(self.model)
        if config.compile:
            compile_blocks(self.model)
        self._parallel: nn.Module = self.model
        if place.size > 1:
            ids = [place.device.index] if place.device.type == "cuda" else None
            self._parallel = DistributedDataParallel(self.model, device_ids=ids, broadcast_buffers=False)
        self._optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
        self._scaler = torch.amp.GradScaler(place.device.type, enabled=config.precision == "float16")
        self.epoch, self._best = 0, (0, -math.inf)

    def restore(self, state: TrainState, source: str) -> None:
        """Go on from a state.

        Raises
        ------
        DataError
            If it is another model's.
        """
        load_weights(self.model, state.model, source)
        try:
            self._optimizer.load_state_dict(state.optimizer)
            if state.scaler:
                self._scaler.load_state_dict(state.scaler)
            self._check_momenta()
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError, IndexError) as error:
            raise DataError(f"{source} is damaged: it has no state of this optimiser ({error})") from error
        self.epoch, self._best = state.epoch, (state.best_epoch, state.best_accuracy)

    def state(self, line: Epoch) -> TrainState:
        """Return where the training stands after an epoch; the tensors are the training's own."""
        return TrainState(
            epoch=self.epoch,
            model=self.model.state_dict(),
            optimizer=self._optimizer.state_dict(),
            scaler=self._scaler.state_dict(),
            best_epoch=self._best[0],
            best_accuracy=self._best[1],
            line=asdict(line),
        )

    def _check_momenta(self) -> None:
        for parameter, kept in self._optimizer.state.items():
            momentum = kept.get("momentum_buffer")
            if momentum is not None and momentum.shape != parameter.shape:
                raise ValueError(f"a momentum of shape {tuple(momentum.shape)} for {tuple(parameter.shape)}")

    def run(self, on_epoch: OnEpoch, *, progress: Progress | None = None) -> None:
        """Train to the last epoch.

        Raises
        ------
        SolveError
            If the loss is no number any more, or a block cannot be integrated.
        ConfigError
            If the batch cannot be divided among the processes.
        """
        while self.epoch < self.config.epochs:
            begin = time.perf_counter()
            sums = self._train_epoch(progress)
            self.epoch += 1
            self._tell(on_epoch, sums, time.perf_counter() - begin)

    def _train_epoch(self, progress: Progress | None) -> _Sums:
        self.model.train()
        device, count = self.place.device, len(self._training)
        steps = updates(count, self.config.batch)
        sums = _Sums(torch.zeros((), device=device), torch.zeros((), device=device), Work())
        work_of(self.model, forget=True)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        # An epoch's dropout depends on seed, epoch and process only, so that a training can go on from any.
        with own_randomness(seed_of(self.config.seed, self.epoch, self.place.rank), device):
            for number, batch in enumerate(batches(count, self.config, self.epoch)):
                share = (self.epoch + number / steps) / self.config.epochs
                for group in self._optimizer.param_groups:
                    group["lr"] = learning_rate(self.config, share)
                self._update(batch, sums)
                if progress is not None:
                    progress(share, f"epoch {self.epoch + 1}/{self.config.epochs}")
        sums.work = work_of(self.model, forget=True)
        return sums

    def _update(self, batch: Batch, sums: _Sums) -> None:
        """Take one step of SGD on this process's part of a batch."""
        device, rows = self.place.device, self.place.part(len(batch.places))
        places = batch.places[rows].to(device)
        x = augment(unit(self._training.x[places], torch.get_default_dtype()), batch.changes.part(rows, device))
        y = self._training.y[places]
        if self.config.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with mixed_precision(self.config, device):
            scores = self._scores(x)
            loss = functional.cross_entropy(scores.to(x.dtype), y, label_smoothing=self.config.label_smoothing)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.config.clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        sums.loss += loss.detach() * len(y)
        sums.right += (scores.detach().argmax(1) == y).sum()
        sums.seen += len(y)

    def _scores(self, x: Tensor) -> Tensor:
        try:
            scores: Tensor = self._parallel(x)
        except (SolveError, ValueError) as error:
            raise SolveError(
                f"in epoch {self.epoch + 1} a block could not be integrated ({error}); begin again with a smaller "
                "learning rate (--lr), or clip gradients (--clip 1)"
            ) from error
        return scores

    def _tell(self, on_epoch: OnEpoch, sums: _Sums, seconds: float) -> None:
        """Test, and tell of the epoch that is over."""
        trained = self._trained(sums)
        # All processes test the same images: none has to wait for another's result.
        tested = predict(self.model, self._testing, self.config)
        if tested.accuracy > self._best[1]:
            self._best = (self.epoch, tested.accuracy)
        line = Epoch(
            epoch=self.epoch,
            test_loss=tested.loss,
            test_accuracy=tested.accuracy,
            test_rhs=tested.rhs,
            seconds=seconds,
            test_seconds=tested.seconds,
            memory=torch.cuda.max_memory_allocated(self.place.device) if self.place.device.type == "cuda" else None,
            **trained,
        )
        if self.place.writes:
            on_epoch(line, self.state(line))
        self.place.wait()

    def _trained(self, sums: _Sums) -> dict[str, Any]:
        total = self.place.total(torch.stack([sums.loss.double(), sums.right.double()]))
        seen = sums.seen * self.place.size
        loss, right = (total / seen).tolist()
        if not math.isfinite(loss):
            raise SolveError(
                f"the loss of epoch {self.epoch} is {loss}; begin again with a smaller learning rate (--lr), "
                "or clip gradients (--clip 1)"
            )
        steps = updates(len(self._training), self.config.batch)
        return {
            "loss": loss,
            "accuracy": right,
            "lr": self._optimizer.param_groups[0]["lr"],
            "rhs_forward": sums.work.forward / steps,
            "rhs_backward": sums.work.backward / steps,
            "accepted": sums.work.accepted / steps,
            "rejected": sums.work.rejected / steps,
        }


def learning_rate(config: TrainConfig, share: float) -> float:
    """Return the learning rate of a training that is over to `share`."""
    return one_cycle(config.lr, share) if config.schedule == "one-cycle" else _step(config, share)


def _step(config: TrainConfig, share: float) -> float:
    # Half an update's rounding must not move a milestone.
    return config.lr * config.decay ** sum(share >= milestone - 1e-9 for milestone in config.milestones)


_CURVES = ("loss", "accuracy", "test_loss", "test_accuracy", "lr", "rhs_forward", "rhs_backward", "rejected", "seconds")
_log = logging.getLogger(__name__)


def train(
    images: Images,
    config: TrainConfig,
    *,
    run: TrainRun | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    on_epoch: OnEpoch | None = None,
    progress: Progress | None = None,
    place: Place | None = None,
) -> Trainer:
    """Train a classifier; every epoch's checkpoint, history and curves are kept in `run` before the next begins.

    Under torchrun, each process computes its part of every batch, and the first one writes.

    Parameters
    ----------
    images
        With their own split, or to be split as the settings say.
    config
        The settings; of a resumed run, its own.
    run
        Where to keep it; None keeps nothing.
    resume
        Go on after the last epoch that `run` has kept: to the same numbers as without the interruption.
    tensorboard
        Whether to write curves for TensorBoard into the run's folder.
    on_epoch, progress
        Told of every epoch, and of every update.
    place
        Which of several processes this is; None finds out.

    Returns
    -------
    Trainer
        With the trained model.

    Raises
    ------
    ConfigError, DataError
        If settings, images, checkpoint and run do not belong together.
    SolveError
        If the loss is no number any more, or a block cannot be integrated.
    """
    if place is None:
        with joined(config.device) as found:
            return train(
                images,
                config,
                run=run,
                resume=resume,
                tensorboard=tensorboard,
                on_epoch=on_epoch,
                progress=progress,
                place=found,
            )
    training, testing = split(images, config)
    trainer = Trainer(
        config,
        len(images.classes),
        on_device(training, place.device),
        on_device(testing, place.device),
        place=place,
    )
    journal = run if place.writes else None
    with nullcontext() if journal is None else journal.working():
        if resume:
            _restore(trainer, run, images, config)
        board = Board(journal.path if journal is not None and tensorboard else None, _CURVES, after=trainer.epoch)
        with closing(board):
            _log.info(
                "%d images to train on, %d to test on; after epoch %d", len(training), len(testing), trainer.epoch
            )
            for each in images.skipped:
                _log.warning("left out %s: %s", each.path, each.reason)

            def keep(epoch: Epoch, state: TrainState) -> None:
                if journal is not None:
                    journal.save(epoch, state)
                board.add(asdict(epoch))
                _log.info("epoch %d: loss %.4g, test accuracy %.4f", epoch.epoch, epoch.loss, epoch.test_accuracy)
                if on_epoch is not None:
                    on_epoch(epoch, state)

            trainer.run(keep, progress=progress if place.writes else None)
    return trainer


def _restore(trainer: Trainer, run: TrainRun | None, images: Images, config: TrainConfig) -> None:
    if run is None:
        raise ConfigError("`resume` needs a `run` to go on with")
    if images.digest() != run.digest:
        raise DataError(f"{run.data} has changed since {run.path} was begun; its images are others")
    if not run.has_checkpoint:
        if trainer.place.writes:
            run.write_config()
            run.begin_again()
        return  # killed before its first epoch was over
    state = run.last()
    if state.epoch > config.epochs:
        raise ConfigError(f"{run.path} has {state.epoch} epochs already, `epochs` is {config.epochs}")
    trainer.restore(state, str(run.path / "checkpoints" / "last.pt"))
    if trainer.place.writes:
        run.write_config()  # more epochs, or another device
        run.forget_after(state.epoch, first=1)
        if not any(line["epoch"] == state.epoch for line in run.history()):
            run.append(state.line)  # killed between the checkpoint and the line
