"""A training from images to weights, kept epoch by epoch."""

from __future__ import annotations

import logging
from contextlib import closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

from physode.errors import ConfigError, DataError
from physode.images.config import TrainConfig
from physode.images.data import on_device, split
from physode.images.processes import Place, joined
from physode.images.run import TrainRun
from physode.images.state import Epoch, TrainState
from physode.images.training import OnEpoch, Progress, Trainer
from physode.training.board import Board

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["train"]

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
