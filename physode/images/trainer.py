"""The training of classifiers: SGD over shuffled, augmented batches, in one process or several."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from physode.images.augmentation import augment
from physode.images.config import TrainConfig
from physode.images.data import Batch, DeviceImages, batches, on_device, split, unit, updates
from physode.images.model import compile_blocks, make_model, mixed_precision, predict
from physode.images.run import Epoch, TrainRun, TrainState
from physode.models import Work
from physode.training import trainer
from physode.training.device import own_randomness, seed_of, usable
from physode.training.distributed import Place, joined, share_batch_norm
from physode.training.trainer import Progress, keep_training, learning_rates

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["Trainer", "epoch_seconds", "train"]

_log = logging.getLogger(__name__)

_PARTS, _TESTED = (32, 8), 16  # of a batch, which are timed first; and images that a test is timed on


class Trainer(trainer.Trainer[Batch, Epoch, TrainState]):
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

    data_kind = "images"
    solved = "block"
    remedy = "begin again with a smaller learning rate (--lr), or clip gradients (--clip 1)"
    state_kind: ClassVar[type[Any]] = TrainState
    merit = "best_accuracy"
    worst = -math.inf
    sums = 3  # of losses, of right answers, of images seen
    moments = ("momentum_buffer",)
    curves = (
        "loss", "accuracy", "test_loss", "test_accuracy", "lr", "rhs_forward", "rhs_backward", "rejected", "seconds",
    )  # fmt: skip
    told = ("loss", "test_accuracy")

    def __init__(
        self, config: TrainConfig, classes: int, training: DeviceImages, testing: DeviceImages, *, place: Place
    ) -> None:
        self._training, self._testing = training, testing
        self._weights = training.weights(config.balance, classes) if config.balance else None
        self.model = make_model(config, classes, training.moments()).to(place.device)
        if place.size > 1:
            share_batch_norm(self.model)
        if config.compile:
            compile_blocks(self.model)
        self._parallel: nn.Module = self.model
        if place.size > 1:
            ids = [place.device.index] if place.device.type == "cuda" else None
            self._parallel = DistributedDataParallel(self.model, device_ids=ids, broadcast_buffers=False)
        optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
        self._scaler = torch.amp.GradScaler(place.device.type, enabled=config.precision == "float16")
        count = updates(len(training), config.batch)
        super().__init__(config, self.model, optimizer, updates=count, place=place, stream=place.rank)

    def rates(self, done: int) -> Iterator[float]:
        """Return the rates of the settings' schedule."""
        config: TrainConfig = self.config

        def falls(share: float) -> float:  # half an update's rounding must not move a milestone
            return config.decay ** sum(share >= milestone - 1e-9 for milestone in config.milestones)

        total = config.epochs * self._updates
        step = falls if config.schedule == "step" else None
        return learning_rates(self._optimizer, config.lr, total=total, done=done, falls=step)

    def batches(self) -> Iterable[Batch]:
        """Shuffle the images, and draw their changes."""
        if self.place.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.place.device)
        return batches(len(self._training), self.config, self.epoch)

    def update(self, batch: Batch, share: float) -> Tensor:
        """Take one step of SGD on this process's part of a batch."""
        config, device, rows = self.config, self.place.device, self.place.part(len(batch.places))
        places = batch.places[rows].to(device)
        x = augment(unit(self._training.x[places], torch.get_default_dtype()), batch.changes.part(rows, device))
        y = self._training.y[places]
        if config.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with mixed_precision(config, device):
            with self.solving(self.epoch + 1):
                scores: Tensor = self._parallel(x)
            loss = self._loss(scores.to(x.dtype), y)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if config.clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        right = (scores.detach().argmax(1) == y).sum()
        seen = torch.tensor(len(y), device=device)
        return torch.stack([loss.detach() * len(y), right.to(loss.dtype), seen.to(loss.dtype)])

    def seconds_an_update(self, most: int, enough: float) -> float:
        """Take the epoch's first updates, at most so many, and return the mean of their times.

        Where first a 32nd of one, and then an eighth, which finds memory set aside, say that whole ones would take
        longer than enough, these are left out.
        """
        self.model.train()
        spent: list[float] = []
        for number, batch in enumerate(itertools.islice(self.batches(), most)):
            if number == 0:
                for share in _PARTS:
                    part = batch.part(slice(0, max(2, len(batch.places) // share)))
                    least = self._seconds(part) * len(batch.places) / len(part.places)
                    if least <= enough:
                        break
                else:
                    return least
            spent.append(self._seconds(batch))
            if sum(spent) > enough:
                break
        return sum(spent) / len(spent)

    def _seconds(self, batch: Batch) -> float:
        begin = time.perf_counter()
        self.rate = next(self._rates)
        float(self.update(batch, 0.0)[0])  # which waits for a GPU
        return time.perf_counter() - begin

    def _loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross entropy of a batch, each image with the weight of its class."""
        smoothing = self.config.label_smoothing
        if self._weights is None:
            return functional.cross_entropy(scores, y, label_smoothing=smoothing)
        losses = functional.cross_entropy(scores, y, label_smoothing=smoothing, reduction="none")
        return (losses * self._weights[y]).mean()

    def line(self, sums: Tensor, work: Work, seconds: float) -> Epoch:
        """Test on all images: in all processes on the same ones, so that none has to wait for another's result."""
        loss, right, seen = self.place.total(sums.double()).tolist()
        trained = self.common(loss / seen, work, self._updates)
        begin = time.perf_counter()
        tested = predict(self.model, self._testing, self.config)
        if tested.accuracy > self.best[1]:
            self.best = (self.epoch, tested.accuracy)
        cuda = self.place.device.type == "cuda"
        return Epoch(
            **trained,
            accuracy=right / seen,
            test_loss=tested.loss,
            test_accuracy=tested.accuracy,
            test_balanced=tested.balanced_accuracy,
            test_rhs=tested.rhs,
            memory=torch.cuda.max_memory_allocated(self.place.device) if cuda else None,
            seconds=seconds,
            test_seconds=time.perf_counter() - begin,
        )

    def state_dicts(self) -> dict[str, Any]:
        """Return the state dicts of model, optimiser and scaler."""
        return {**super().state_dicts(), "scaler": self._scaler.state_dict()}

    def load_state_dicts(self, state: TrainState) -> None:
        """Take the state dicts of optimiser and scaler."""
        super().load_state_dicts(state)
        if state.scaler:
            self._scaler.load_state_dict(state.scaler)


def epoch_seconds(images: Images, config: TrainConfig, *, most: int = 3, enough: float = 20.0) -> float:
    """Return about how many seconds an epoch of a training takes here, its test included.

    A model of its own takes the first updates of the first epoch, and tests some images. A training that follows gives
    the same numbers, bit for bit, as without: nothing is shared with it, and torch's random numbers go on as if nothing
    had been drawn.

    Parameters
    ----------
    images, config
        As of :func:`train`.
    most
        How many updates are timed, at most.
    enough
        Seconds after which no other update is begun; of updates that would take longer, only some of the images are
        seen.

    Raises
    ------
    ConfigError, DataError, SolveError
        As of :func:`train`.
    """
    from physode.fused.choice import without_kernels  # the engine takes a while to import

    config = dataclasses.replace(config, compile=False)  # that would take longer than what is timed
    training, testing = split(images, config)
    device = usable(config.device)
    one, some = on_device(training, device), on_device(testing.take(np.arange(len(testing))[:_TESTED]), device)
    trainer = Trainer(config, len(images.classes), one, some, place=Place(0, 1, device))
    with without_kernels(), own_randomness(seed_of(config.seed, 0), device):
        update = trainer.seconds_an_update(most, enough)
        begin = time.perf_counter()
        predict(trainer.model, some, config)
        tested = (time.perf_counter() - begin) * len(testing) / len(some)
    return update * updates(len(training), config.batch) + tested


def train(
    images: Images,
    config: TrainConfig,
    *,
    run: TrainRun | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    on_epoch: Callable[[Epoch, TrainState], object] | None = None,
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
        options: dict[str, Any] = {"run": run, "resume": resume, "tensorboard": tensorboard}
        with joined(config.device) as found:
            return train(images, config, **options, on_epoch=on_epoch, progress=progress, place=found)
    training, testing = split(images, config)
    on = place.device
    trainer = Trainer(config, len(images.classes), on_device(training, on), on_device(testing, on), place=place)

    def begun() -> None:
        _log.info("%d images to train on, %d to test on; after epoch %d", len(training), len(testing), trainer.epoch)
        for each in images.skipped:
            _log.warning("left out %s: %s", each.path, each.reason)

    keep_training(
        trainer,
        run,
        digest=images.digest() if resume else "",
        resume=resume,
        tensorboard=tensorboard,
        begun=begun,
        on_epoch=on_epoch,
        progress=progress,
    )
    return trainer
