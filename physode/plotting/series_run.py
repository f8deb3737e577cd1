"""The figures of a training on irregular series."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physode.errors import ConfigError
from physode.models import LatentODE
from physode.plotting.latent import plot_latent
from physode.plotting.learning import plot_learning
from physode.plotting.names import SERIES_FIGURES
from physode.plotting.series import plot_reconstructions, plot_samples
from physode.plotting.style import save_all
from physode.series.reconstruction import Reconstruction, reconstruct

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.datasets.series import IrregularSeries
    from physode.series.forecaster import Forecaster
    from physode.series.run import SeriesRun

__all__ = ["draw_series_run"]

_FEW, _ONE_CHANNEL, _PATHS, _SAMPLES, _POINTS = 3, 6, 6, 7, 200

_Draw = Callable[[], "Figure"]


def draw_series_run(
    run: SeriesRun,
    forecaster: Forecaster,
    series: IrregularSeries,
    folder: Path,
    *,
    only: Sequence[str] = (),
    overwrite: bool = False,
) -> dict[str, Path]:
    """Draw the figures that suit a run into a folder, which is made; return their files by name.

    Parameters
    ----------
    run
        The run.
    forecaster
        Its model, with the settings by which it is told points.
    series
        The test series, of which the first ones are drawn.
    folder
        Where the figures go.
    only
        Which figures, by name; all by default.
    overwrite
        Whether to replace figures.

    Raises
    ------
    ConfigError
        If the run has no such figure.
    DataError
        If a figure exists, unless `overwrite` is set.
    """
    found = _drawings(run, forecaster, series)
    for name in only:
        if name not in found:
            raise ConfigError(f"`only` names {name!r}, which {run.path} does not have; it has {', '.join(found)}")
    return save_all(found, folder, overwrite, [name for name in found if not only or name in only])


def _drawings(run: SeriesRun, forecaster: Forecaster, series: IrregularSeries) -> Mapping[str, _Draw]:
    """Return the figures that suit a run, in the order of ``SERIES_FIGURES``."""
    made: dict[str, _Draw] = {
        task: partial(_draw_task, run, forecaster, series, task) for task in ("interpolation", "extrapolation")
    }
    made["latent"] = partial(_draw_latent, run, forecaster, series)
    if isinstance(forecaster.model.network, LatentODE):
        made["samples"] = partial(_draw_samples, run, forecaster)
    if history := run.history():
        made["learning"] = lambda: plot_learning(
            {run.config.model: [history]}, quantities=("loss", "test_mse"), title=run.path.name
        )
    return {name: made[name] for name in SERIES_FIGURES if name in made}


def _asked(
    forecaster: Forecaster, series: IrregularSeries, task: str, *, count: int, draws: int
) -> list[Reconstruction]:
    config = dataclasses.replace(forecaster.config, task=task)
    rows = np.arange(len(series))[:count]
    return reconstruct(forecaster, series, config, rows=rows.tolist(), points=_POINTS, draws=draws)


def _draw_task(run: SeriesRun, forecaster: Forecaster, series: IrregularSeries, task: str) -> Figure:
    count = _ONE_CHANNEL if len(forecaster.channels) == 1 else _FEW
    config = forecaster.config
    before = " before" if task == "extrapolation" else ""
    return plot_reconstructions(
        _asked(forecaster, series, task, count=count, draws=100),
        channels=forecaster.channels,
        units=forecaster.units,
        time_unit=run.time_unit,
        title=f"{config.model}, {task} from {100 * config.observed:g} % of the points{before}",
    )


def _draw_latent(run: SeriesRun, forecaster: Forecaster, series: IrregularSeries) -> Figure:
    found = _asked(forecaster, series, "interpolation", count=_PATHS, draws=1)
    what = "latent paths" if isinstance(forecaster.model.network, LatentODE) else "hidden states"
    return plot_latent(
        [each.path.t[0] for each in found],
        [each.path.latent[0] for each in found],
        time_unit=run.time_unit,
        title=f"{forecaster.config.model}, {what} of {len(found)} test series",
    )


def _draw_samples(run: SeriesRun, forecaster: Forecaster) -> Figure:
    t = np.linspace(0.0, float(forecaster.model.time_scale), _POINTS)
    return plot_samples(
        t,
        forecaster.sample(_SAMPLES, at=t),
        channels=forecaster.channels,
        units=forecaster.units,
        time_unit=run.time_unit,
        title=f"{forecaster.config.model}, {_SAMPLES} series drawn from the prior",
    )
