"""The cells of Table 4: one model of the hopper trained, and tested."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from physode.datasets.series import IrregularSeries
from physode.errors import ConfigError, DataError
from physode.models import count_parameters
from physode.series import SeriesConfig, SeriesRun, Trainer, create_series_run, open_series_run, score, train
from physode.simulators import simulate_hopper
from physode.training.device import own_randomness

__all__ = ["train_and_test"]

_log = logging.getLogger(__name__)


def train_and_test(
    *, data: Mapping[str, Any], settings: Mapping[str, Any], device: str = "cpu", run: str | None = None
) -> dict[str, Any]:
    """Train a model on sequences of the hopper, and test it.

    Parameters
    ----------
    data
        Arguments of :func:`physode.simulators.simulate_hopper`.
    settings
        Of the training, as :meth:`physode.series.SeriesConfig.from_dict` reads them.
    device
        Where to compute.
    run
        Folder that keeps every epoch: a training that was killed goes on there, and one that has ended is only tested.
        It stays until who calls has kept the result.

    Returns
    -------
    dict
        ``history``, an entry an epoch; ``parameters``; and the figures of :class:`physode.series.Scores`.
    """
    series = IrregularSeries.of(simulate_hopper(**data))
    config = SeriesConfig.from_dict({**settings, "device": device})
    trainer, history = _trained(series, config, run)
    with own_randomness(0, trainer.model.scale.device):  # of the draws for the log-likelihood
        scores = score(trainer.model.eval(), *trainer.test, batch=config.batch)
    return {"history": history, "parameters": count_parameters(trainer.model), **scores.as_dict()}


def _trained(series: IrregularSeries, config: SeriesConfig, folder: str | None) -> tuple[Trainer, list[dict[str, Any]]]:
    if folder is None:
        history: list[dict[str, Any]] = []
        return train(series, config, on_epoch=lambda epoch, _: history.append(asdict(epoch))), history
    run = _begun(Path(folder), series, config)
    if run is not None:
        try:
            return train(series, config, run=run, resume=True), run.history()
        except DataError as error:
            _log.warning("%s: the training begins again", error)
    run = create_series_run(
        Path(folder),
        config,
        data=Path(folder),
        channels=series.channels,
        units=series.units,
        time_unit=str(series.attrs.get("time_unit", "")),
        digest=series.digest(),
        overwrite=True,
    )
    return train(series, config, run=run), run.history()


def _begun(folder: Path, series: IrregularSeries, config: SeriesConfig) -> SeriesRun | None:
    """Return the same training where it was begun before."""
    try:
        run = open_series_run(folder)
    except ConfigError:
        return None
    same = dataclasses.replace(run.config, device=config.device) == config and run.digest == series.digest()
    return run if same else None
