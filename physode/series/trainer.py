"""The training loop of models of series: Adam over shuffled batches, points told anew in every epoch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, nn

from physode.errors import ConfigError, DataError, SolveError
from physode.models import Work, work_of
from physode.models.observations import Points, compact
from physode.series.config import SeriesConfig
from physode.series.data import points_of, posed, split
from physode.series.run import Epoch, SeriesRun, SeriesState
from physode.series.scaler import make_model
from physode.series.scores import score
from physode.training.checkpoints import load_weights
from physode.training.device import own_randomness, seed_of, usable
from physode.training.rates import one_cycle
from physode.training.tensorboard import Board

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries

__all__ = ["OnEpoch", "Progress", "Trainer", "test_points", "train"]


OnEpoch = Callable[[Epoch, SeriesState], None]
"""Told of every epoch, and where the training stands after it."""

Progress = Callable[[float, str], object]
"""Told the finished share of the training, and where it is."""

_TEST = 2**32 - 1  # in place of an epoch: no epoch's points are those of the test


@dataclass
class _Sums:
    """Over the updates of an epoch."""

    loss: float = 0.0
    updates: int = 0
    kl_weight: float = 0.0


class Trainer:
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

    def __init__(self, config: SeriesConfig, training: Points, testing: Points) -> None:
        self.config = config
        self.model = make_model(config, training.x.shape[-1])
        self.model.learn_scales(training)
        self.model.to(training.x.device)
        self._training = self.model.inward(training)
        self.test = test_points(testing, config)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.epoch, self._best = 0, (0, math.inf)

    def restore(self, state: SeriesState, source: str) -> None:
        """Go on from a state.

        Raises
        ------
        DataError
            If it is another model's.
        """
        load_weights(self.model, state.model, source)
        try:
            self._optimizer.load_state_dict(state.optimizer)
            for parameter, kept in self._optimizer.state.items():
                if kept["exp_avg"].shape != parameter.shape:
                    raise ValueError(f"a mean of shape {tuple(kept['exp_avg'].shape)} for {tuple(parameter.shape)}")
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError, IndexError) as error:
            raise DataError(f"{source} is damaged: it has no state of this optimiser ({error})") from error
        self.epoch, self._best = state.epoch, (state.best_epoch, state.best_mse)

    def state(self, line: Epoch) -> SeriesState:
        """Return where the training stands after an epoch; the tensors are the training's own."""
        return SeriesState(
            epoch=self.epoch,
            model=self.model.state_dict(),
            optimizer=self._optimizer.state_dict(),
            best_epoch=self._best[0],
            best_mse=self._best[1],
            line=asdict(line),
        )

    def run(self, on_epoch: OnEpoch, *, progress: Progress | None = None) -> None:
        """Train to the last epoch.

        Raises
        ------
        SolveError
            If the loss or the test error is no number any more, or a path cannot be integrated.
        """
        while self.epoch < self.config.epochs:
            begin = time.perf_counter()
            work_of(self.model, forget=True)
            sums = self._train_epoch(progress)
            work = work_of(self.model, forget=True)
            self.epoch += 1
            line = self._line(sums, work, time.perf_counter() - begin)
            on_epoch(line, self.state(line))

    def _train_epoch(self, progress: Progress | None) -> _Sums:
        """Pose the task anew, and take one update a batch; the seed and the epoch alone decide them."""
        config, device = self.config, self._training.t.device
        generator = Generator().manual_seed(seed_of(config.seed, self.epoch))
        told, target = posed(self._training, config, generator=generator)
        batches = torch.split(torch.randperm(len(target.t), generator=generator), config.batch)
        sums = _Sums()
        self.model.train()
        with own_randomness(seed_of(config.seed, self.epoch, 1), device):
            for number, rows in enumerate(batches):
                share = (self.epoch + number / len(batches)) / config.epochs
                index = rows.to(device)
                self._update(compact(told.rows(index)), compact(target.rows(index)), share, sums)
                if progress is not None:
                    progress(share, f"epoch {self.epoch + 1}/{config.epochs}")
        return sums

    def _update(self, told: Points, target: Points, share: float, sums: _Sums) -> None:
        config = self.config
        for group in self._optimizer.param_groups:
            group["lr"] = one_cycle(config.lr, share)
        sums.kl_weight = config.kl_weight * min(1.0, share / config.kl_rise if config.kl_rise else 1.0)
        if not bool(target.mask.any()):
            return  # extrapolation of series that have all their points before
        try:
            loss = self.model.network.loss(told, target, kl_weight=sums.kl_weight)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        except (SolveError, ValueError) as error:
            raise _lost(self.epoch + 1, error) from error
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self._optimizer.step()
        sums.loss += float(loss.detach())
        sums.updates += 1

    def _line(self, sums: _Sums, work: Work, seconds: float) -> Epoch:
        """Test, and return the line of the epoch that is over."""
        loss = sums.loss / max(sums.updates, 1)
        if not math.isfinite(loss):
            raise SolveError(
                f"the loss of epoch {self.epoch} is {loss}; begin again with a smaller learning rate (--lr)"
            )
        begin = time.perf_counter()
        self.model.eval()
        try:
            tested = score(self.model, *self.test, batch=self.config.batch, draws=0)
        except (SolveError, ValueError) as error:
            raise _lost(self.epoch, error) from error
        if not math.isfinite(tested.mse):
            raise SolveError(
                f"the test error after epoch {self.epoch} is {tested.mse}; begin again with a smaller learning rate "
                "(--lr)"
            )
        if tested.mse < self._best[1]:
            self._best = (self.epoch, tested.mse)
        each = 1.0 / max(sums.updates, 1)
        return Epoch(
            epoch=self.epoch,
            loss=loss,
            test_mse=tested.mse,
            test_mse_by_range=tested.mse_by_range,
            lr=self._optimizer.param_groups[0]["lr"],
            kl_weight=sums.kl_weight,
            rhs_forward=work.forward * each,
            rhs_backward=work.backward * each,
            accepted=work.accepted * each,
            rejected=work.rejected * each,
            seconds=seconds,
            test_seconds=time.perf_counter() - begin,
        )


def _lost(epoch: int, error: Exception) -> SolveError:
    return SolveError(
        f"in epoch {epoch} a path could not be integrated ({error}); begin again with a smaller learning rate (--lr)"
    )


def test_points(points: Points, config: SeriesConfig) -> tuple[Points, Points]:
    """Return what a model is told of the test series, and what it is asked for: always the same points."""
    return posed(points, config, generator=Generator().manual_seed(seed_of(config.split, _TEST)))


_CURVES = ("loss", "test_mse", "test_mse_by_range", "lr", "kl_weight", "rhs_forward", "rhs_backward", "seconds")
_log = logging.getLogger(__name__)


def train(
    series: IrregularSeries,
    config: SeriesConfig,
    *,
    run: SeriesRun | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    on_epoch: OnEpoch | None = None,
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
    trainer = Trainer(config, _on(points_of(training), device), _on(points_of(testing), device))
    with nullcontext() if run is None else run.working():
        if resume:
            _restore(trainer, run, series, config)
        board = Board(run.path if run is not None and tensorboard else None, _CURVES, after=trainer.epoch)
        with closing(board):
            _log.info(
                "%d series to train on, %d to test on; after epoch %d", len(training), len(testing), trainer.epoch
            )
            for note in (*series.attrs.get("notes", ()), *said(series, config, trainer)):
                _log.info("%s", note)
                if on_note is not None:
                    on_note(note)

            def keep(epoch: Epoch, state: SeriesState) -> None:
                if run is not None:
                    run.save(epoch, state)
                board.add(asdict(epoch))
                _log.info("epoch %d: loss %.4g, test MSE %.4g", epoch.epoch, epoch.loss, epoch.test_mse)
                if on_epoch is not None:
                    on_epoch(epoch, state)

            trainer.run(keep, progress=progress)
    return trainer


def said(series: IrregularSeries, config: SeriesConfig, trainer: Trainer) -> list[str]:
    """Return what was done to the data, a line each: nothing is left out or changed unsaid."""
    unit = series.attrs.get("time_unit", "")
    lines = [
        f"times are divided by {float(trainer.model.time_scale):.6g}{f' {unit}' if unit else ''}, the longest span of "
        "the training series; values are standardised by channel"
    ]
    least = config.min_points or 0
    short = int((series.points < least).sum())
    if short:
        lines.append(f"{short} series of fewer than {least} points are left out")
    return lines


def _on(points: Points, device: torch.device) -> Points:
    return Points(*(each.to(device) for each in points))


def _restore(trainer: Trainer, run: SeriesRun | None, series: IrregularSeries, config: SeriesConfig) -> None:
    if run is None:
        raise ConfigError("`resume` needs a `run` to go on with")
    if series.digest() != run.digest:
        raise DataError(
            f"these are not the series that {run.path} was begun with, {run.data} as it was then; begin a new run"
        )
    if not run.has_checkpoint:
        run.write_config()
        run.begin_again()
        return  # killed before its first epoch was over
    state = run.state()
    if state.epoch > config.epochs:
        raise ConfigError(f"{run.path} has {state.epoch} epochs already, `epochs` is {config.epochs}")
    trainer.restore(state, str(run.path / "checkpoints" / "last.pt"))
    run.write_config()  # more epochs, or another device
    run.forget_after(state.epoch, first=1)
    if not any(line["epoch"] == state.epoch for line in run.history()):
        run.append(state.line)  # killed between the checkpoint and the line
