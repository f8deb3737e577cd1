"""Irregular series beside what a model makes of them, its latent paths, and all figures of a training."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.models import LatentODE
from physode.plotting import SERIES_FIGURES
from physode.plotting.learning import plot_learning
from physode.plotting.style import (
    BOXED,
    COLOURS,
    INK,
    MUTED,
    finish,
    headline,
    label,
    new_figure,
    plain,
    save_all,
    short,
    styled,
    time_panels,
)
from physode.series.reconstruction import Reconstruction, reconstruct

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.datasets.series import IrregularSeries
    from physode.series.forecaster import Forecaster
    from physode.series.run import SeriesRun

Array = np.ndarray[Any, Any]

MOST_CHANNELS = 6
"""That are drawn; the figure says how many more there are."""

_COLUMNS = 3
_WIDTH = 8.5  # inches, which the title and the legend need
_BAND = 1.959964  # standard deviations to either side of 95 %
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
    return save_all(_drawings(run, forecaster, series), folder, overwrite, only=only, owner=run.path)


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


def plot_reconstructions(
    found: Sequence[Reconstruction],
    *,
    channels: Sequence[str],
    units: Sequence[str],
    time_unit: str = "",
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw series with the model's mean and the band in which 95 % of new observations are to lie.

    One column a series and one row a channel; of one channel, one panel a series. Points that the model was told are
    filled, others hollow; a line shows where extrapolation begins.

    Parameters
    ----------
    found
        One or more, see :func:`physode.series.reconstruction.reconstruct`.
    channels, units
        Of the series.
    time_unit
        Of their times.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there is no series.
    """
    if not found:
        raise ValueError("`found` must hold at least one series, got none")
    shown = min(MOST_CHANNELS, len(channels))
    rows, columns = (shown, len(found)) if shown > 1 else (-(-len(found) // _COLUMNS), min(_COLUMNS, len(found)))
    with styled():
        figure = new_figure(max(_WIDTH, 1.0 + 3.6 * columns), 1.3 + (1.5 if shown > 2 else 2.2) * rows)
        panels: Any = figure.subplots(rows, columns, sharex="col" if shown > 1 else False, squeeze=False)
        for place, axes in enumerate(panels.flat):
            row, column = divmod(place, columns)
            index, channel = (column, row) if shown > 1 else (place, 0)
            if index >= len(found):
                axes.set_axis_off()
                continue
            _draw_channel(axes, found[index], channel)
            if channel == 0:
                axes.set_title(f"series {short(found[index].name)}")
            if column == 0:
                axes.set_ylabel(_axis(channels[channel], units[channel]))
            if row == rows - 1 or shown == 1:
                axes.set_xlabel(label("time", time_unit))
        figure.legend(*_handles(panels.flat), loc="outside lower center", ncols=5)
        headline(figure, _title(title, shown, len(channels)))
        return finish(figure, path)


def plot_samples(
    t: Array,
    series: Array,
    *,
    channels: Sequence[str],
    units: Sequence[str],
    time_unit: str = "",
    title: str = "Drawn from the prior",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw series that a model has made up, one row a channel.

    Parameters
    ----------
    t
        Their times, (Q,).
    series
        (L, Q, C), without noise.
    channels, units, time_unit, title, path
        As of :func:`plot_reconstructions`.
    """
    shown = min(MOST_CHANNELS, len(channels))
    with styled():
        figure = new_figure(7.5, 1.2 + (1.4 if shown > 1 else 2.6) * shown)
        panels = time_panels(figure, shown, time_unit)
        for channel, axes in enumerate(panels):
            for index, each in enumerate(series):
                axes.plot(t, each[:, channel], color=COLOURS[index % len(COLOURS)], lw=1.2)
            axes.set_ylabel(_axis(channels[channel], units[channel]))
            axes.margins(x=0)
        headline(figure, _title(title, shown, len(channels)))
        return finish(figure, path)


def _draw_channel(axes: Any, found: Reconstruction, channel: int) -> None:
    at, mean, std = found.path.t[0], found.path.mean[0, :, channel], found.path.std[0, :, channel]
    axes.fill_between(
        at, mean - _BAND * std, mean + _BAND * std, color=COLOURS[0], alpha=0.18, lw=0, label="95 % of observations"
    )
    axes.plot(at, mean, color=COLOURS[0], label="the model's mean")
    values = found.y[:, channel]
    dots: dict[str, Any] = {"marker": "o", "ls": "", "mew": 0.8}
    axes.plot(found.t[found.told], values[found.told], **dots, ms=4.2, color=INK, label="told to the model", zorder=4)
    hollow = {"mfc": "white", "mec": MUTED, "ms": 3.2}
    axes.plot(found.t[~found.told], values[~found.told], **dots, **hollow, label="not told", zorder=3)
    if found.until is not None:
        axes.axvline(found.until, color=MUTED, lw=1.2, ls="--", label="extrapolation begins")
    axes.margins(x=0.02)


def _handles(panels: Any) -> tuple[list[Any], list[str]]:
    """Return what the legend explains, each once, from whichever panel has it."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    return list(found.values()), list(found)


def _axis(name: str, unit: str) -> str:
    return f"{short(name, 14)}" + (f" ({plain(unit)})" if unit else "")


def _title(title: str, shown: int, channels: int) -> str:
    more = f" (the first {shown} of {channels} channels)" if channels > shown else ""
    return f"{plain(title)}{more}"


def principal(states: Array) -> tuple[Array, Array, Array]:
    r"""Return mean, first two principal directions, and their shares of the variance, of states (M, D).

    With the singular values :math:`s` of the states less their mean, the shares are :math:`s_i^2 / \sum_j s_j^2`.

    Returns
    -------
    tuple
        (D,), (2, D) and (2,); of a single component, the second direction and its share are 0.
    """
    mean = states.mean(axis=0)
    _, sizes, directions = np.linalg.svd(states - mean, full_matrices=False)
    total = np.square(sizes).sum()
    shares = np.square(sizes) / (total if total > 0 else 1.0)
    missing = max(0, 2 - len(shares))
    return mean, np.pad(directions[:2], ((0, missing), (0, 0))), np.pad(shares[:2], (0, missing))


def plot_latent(
    times: Sequence[Array],
    paths: Sequence[Array],
    *,
    time_unit: str = "",
    title: str = "Latent paths",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw latent paths in the plane of their first two principal components, coloured by time, starts marked.

    Parameters
    ----------
    times
        Of each path, (Q,).
    paths
        Each (Q, D).
    time_unit
        Of the times.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there is no path.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    if not paths:
        raise ValueError("`paths` must hold at least one path, got none")
    mean, directions, shares = principal(np.concatenate(list(paths)))
    with styled():
        figure = new_figure(7.0, 5.6)
        axes = figure.subplots()
        since = [each - each[0] for each in times]
        scale = Normalize(0.0, max(float(each[-1]) for each in since) or 1.0)
        for index, (t, states) in enumerate(zip(since, paths, strict=True)):
            plane = (states - mean) @ directions.T
            ends = np.stack([plane[:-1], plane[1:]], axis=1)
            lines = LineCollection(list(ends), cmap="viridis", norm=scale, lw=1.6, capstyle="round")
            lines.set_array(0.5 * (t[:-1] + t[1:]))
            axes.add_collection(lines)
            name = "start" if index == 0 else None
            axes.plot(plane[:1, 0], plane[:1, 1], "o", ms=6, color="white", mec=INK, mew=1.2, zorder=3, label=name)
        axes.autoscale_view()
        axes.set_xlabel(f"first principal component, {100 * shares[0]:.0f} % of the variance")
        axes.set_ylabel(f"second principal component, {100 * shares[1]:.0f} %")
        axes.legend(loc="best", **BOXED)
        bar = figure.colorbar(lines, ax=axes, pad=0.02)
        bar.set_label(label("time since the start", time_unit))
        bar.outline.set_visible(False)
        headline(figure, plain(title))
        return finish(figure, path)
