"""A training from series to weights, kept epoch by epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from physode.errors import ConfigError, DataError
from physode.models.points import Points
from physode.series.config import SeriesConfig
from physode.series.data import points_of, split
from physode.series.run import SeriesRun
from physode.series.state import Epoch, SeriesState
from physode.series.training import OnEpoch, Progress, Trainer
from physode.training.board import Board
from physode.training.devices import usable

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries

__all__ = ["train"]

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
