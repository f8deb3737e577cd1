"""Irregular series beside what a model makes of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import COLOURS, INK, MUTED, finish, label, new_figure, plain, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from physode.series.reconstruction import Reconstruction

__all__ = ["MOST_CHANNELS", "plot_reconstructions", "plot_samples"]

MOST_CHANNELS = 6
"""That are drawn; the figure says how many more there are."""

_COLUMNS = 3
_WIDTH = 8.5  # inches, which the title and the legend need
_BAND = 1.959964  # standard deviations to either side of 95 %


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
        figure.suptitle(_title(title, shown, len(channels)), x=0.01, ha="left", weight="bold")
        return finish(figure, path)


def plot_samples(
    t: np.ndarray[Any, Any],
    series: np.ndarray[Any, Any],
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
        panels: Any = figure.subplots(shown, 1, sharex=True, squeeze=False)[:, 0]
        for channel, axes in enumerate(panels):
            for index, each in enumerate(series):
                axes.plot(t, each[:, channel], color=COLOURS[index % len(COLOURS)], lw=1.2)
            axes.set_ylabel(_axis(channels[channel], units[channel]))
            axes.margins(x=0)
        panels[-1].set_xlabel(label("time", time_unit))
        figure.suptitle(_title(title, shown, len(channels)), x=0.01, ha="left", weight="bold")
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
