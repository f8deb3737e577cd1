"""The training of models of series: Adam or Adamax over shuffled batches, points told anew in every epoch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from physode.errors import SolveError
from physode.models import Work
from physode.models.observations import Points, compact
from physode.series.config import SeriesConfig
from physode.series.data import points_of, posed, split
from physode.series.run import Epoch, SeriesRun, SeriesState
from physode.series.scaler import make_model
from physode.series.scores import score
from physode.training import trainer
from physode.training.device import seed_of, usable
from physode.training.distributed import Place
from physode.training.trainer import Progress, keep_training, learning_rates

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries

__all__ = ["Trainer", "test_points", "train"]

_LEAST_RATE = 0.1  # of the largest, in a decay
_SCALED = {"deviation": "standardised", "range": "centred, and divided by their range,"}

_TEST = 2**32 - 1  # in place of an epoch: no epoch's points are those of the test

_log = logging.getLogger(__name__)


class Trainer(trainer.Trainer[tuple[Points, Points], Epoch, SeriesState]):
    """A model of series in training.

    Parameters
    ----------
    config
        The settings.
    training, testing
        The series, in the data's units, on the device.

    Attributes
    ----------
    model
        Scales and network.
    test
        What the model is told of the test series, and what it is asked for.
    epoch
        Epochs that are over.
    """

    data_kind = "series"
    solved = "path"
    remedy = "begin again with a smaller learning rate (--lr)"
    state_kind: ClassVar[type[Any]] = SeriesState
    merit = "best_mse"
    worst = math.inf
    sums = 2  # of losses, of updates
    curves = ("loss", "test_mse", "test_mse_by_range", "lr", "kl_weight", "rhs_forward", "rhs_backward", "seconds")
    told = ("loss", "test_mse")

    def __init__(self, config: SeriesConfig, training: Points, testing: Points) -> None:
        self.model = make_model(config, training.x.shape[-1])
        self.model.learn_scales(training)
        self.model.to(training.x.device)
        self._training = self.model.inward(training)
        self.test = test_points(testing, config)
        self.kl_weight = 0.0
        kind = {"adamw": torch.optim.AdamW, "adamax": torch.optim.Adamax}[config.optimiser]
        optimizer = kind(self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.moments = ("exp_avg", {"adamw": "exp_avg_sq", "adamax": "exp_inf"}[config.optimiser])
        count = math.ceil(len(training.t) / config.batch)
        place = Place(0, 1, training.t.device)
        super().__init__(config, self.model, optimizer, updates=count, place=place, stream=1)

    def rates(self, done: int) -> Iterator[float]:
        """Return the rates of one cycle, or those that decay with every update."""
        total, decay = self.config.epochs * self._updates, self.config.lr_decay
        falls = None if decay is None else lambda share: max(decay ** (share * total), _LEAST_RATE)
        return learning_rates(self._optimizer, self.config.lr, total=total, done=done, falls=falls)

    def batches(self) -> Iterator[tuple[Points, Points]]:
        """Pose the task anew, and shuffle the series: what the model is told of each, and what it is asked for."""
        generator = Generator().manual_seed(seed_of(self.config.seed, self.epoch))
        told, target = posed(self._training, self.config, generator=generator)
        for rows in torch.split(torch.randperm(len(target.t), generator=generator), self.config.batch):
            index = rows.to(target.t.device)
            yield compact(told.rows(index)), compact(target.rows(index))

    def update(self, batch: tuple[Points, Points], share: float) -> Tensor:
        """Take one step of the optimiser; none with series that extrapolation has nothing to ask of."""
        config, (told, target) = self.config, batch
        self.kl_weight = config.kl_weight * self._kl_share(share)
        if not bool(target.mask.any()):
            return torch.zeros(self.sums, dtype=torch.float64, device=target.t.device)
        with self.solving(self.epoch + 1):
            loss = self.model.network.loss(told, target, kl_weight=self.kl_weight, draws=config.samples or 1)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self._optimizer.step()
        found = loss.detach().double()
        return torch.stack([found, torch.ones_like(found)])

    def _kl_share(self, share: float) -> float:
        """Return the share of the weight of the divergence after a share of the training."""
        config, after = self.config, self.epoch - self.config.kl_delay
        if after < 0:
            return 0.0
        if config.kl_decay is not None:
            return 1.0 - float(config.kl_decay**after)
        ahead = share - config.kl_delay / config.epochs
        return min(1.0, ahead / config.kl_rise) if config.kl_rise else 1.0

    def line(self, sums: Tensor, work: Work, seconds: float) -> Epoch:
        """Ask the model for the test series."""
        loss, count = sums.tolist()
        trained = self.common(loss / max(count, 1), work, max(int(count), 1))
        begin = time.perf_counter()
        self.model.eval()
        with self.solving(self.epoch):
            tested = score(self.model, *self.test, batch=self.config.batch, draws=0)
        if not math.isfinite(tested.mse):
            raise SolveError(f"the test error after epoch {self.epoch} is {tested.mse}; {self.remedy}")
        if tested.mse < self.best[1]:
            self.best = (self.epoch, tested.mse)
        return Epoch(
            **trained,
            test_mse=tested.mse,
            test_mse_by_range=tested.mse_by_range,
            kl_weight=self.kl_weight,
            seconds=seconds,
            test_seconds=time.perf_counter() - begin,
        )


def test_points(points: Points, config: SeriesConfig) -> tuple[Points, Points]:
    """Return what a model is told of the test series, and what it is asked for: always the same points."""
    return posed(points, config, generator=Generator().manual_seed(seed_of(config.split, _TEST)))


def train(
    series: IrregularSeries,
    config: SeriesConfig,
    *,
    run: SeriesRun | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    on_epoch: Callable[[Epoch, SeriesState], object] | None = None,
    on_note: Callable[[str], object] | None = None,
    progress: Progress | None = None,
) -> Trainer:
    """Train a model of series; every epoch's checkpoint, history and curves are kept in `run` before the next begins.

    Parameters
    ----------
    series
        To be divided into training and test as the settings say.
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
    on_note
        Told before the first epoch what is worth saying of the series, and what was done to them, line by line.

    Returns
    -------
    Trainer
        With the trained model.

    Raises
    ------
    ConfigError, DataError
        If settings, series, checkpoint and run do not belong together.
    SolveError
        If the loss is no number any more, or a path cannot be integrated.
    """
    training, testing = split(series, config)
    device = usable(config.device)
    trainer = Trainer(config, points_of(training).to(device), points_of(testing).to(device))

    def begun() -> None:
        _log.info("%d series to train on, %d to test on; after epoch %d", len(training), len(testing), trainer.epoch)
        for note in (*series.attrs.get("notes", ()), *_notes(series, config, trainer)):
            _log.info("%s", note)
            if on_note is not None:
                on_note(note)

    keep_training(
        trainer,
        run,
        digest=series.digest() if resume else "",
        resume=resume,
        tensorboard=tensorboard,
        begun=begun,
        on_epoch=on_epoch,
        progress=progress,
    )
    return trainer


def _notes(series: IrregularSeries, config: SeriesConfig, trainer: Trainer) -> list[str]:
    """Return what was done to the data, a line each: nothing is left out or changed unsaid."""
    unit = series.attrs.get("time_unit", "")
    lines = [
        f"times are divided by {float(trainer.model.time_scale):.6g}{f' {unit}' if unit else ''}, the longest span of "
        f"the training series; values are {_SCALED[config.scaling]} by channel"
    ]
    least = config.min_points or 0
    short = int((series.points < least).sum())
    if short:
        lines.append(f"{short} series of fewer than {least} points are left out")
    return lines
