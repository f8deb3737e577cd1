"""How accuracies are distributed over runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import COLOURS, INK, finish, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_accuracies"]

_WIDTH = 0.3  # of a column of points, to either side


def plot_accuracies(
    accuracies: Mapping[str, Sequence[float]],
    *,
    title: str = "Test accuracy over runs",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw every run's accuracy as a point, and beside them the mean with one standard deviation.

    Parameters
    ----------
    accuracies
        Shares from 0 to 1, by the model's name.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If a model has no runs, there are no models, or an accuracy is not from 0 to 1.
    """
    if not accuracies:
        raise ValueError("`accuracies` must hold at least one model, got none")
    for name, values in accuracies.items():
        if not len(values) or not all(0 <= value <= 1 for value in values):
            raise ValueError(f"`accuracies` of {name!r} must be shares from 0 to 1, one a run; got {list(values)}")
    with styled():
        figure = new_figure(1.6 + 1.5 * max(len(accuracies), 2), 4.2)
        axes = figure.subplots()
        for index, values in enumerate(accuracies.values()):
            _draw(axes, index, 100.0 * np.asarray(values, dtype=np.float64))
        axes.set_xticks(range(len(accuracies)), [short(name) for name in accuracies])
        axes.set(xlim=(-0.6, len(accuracies) - 0.3), ylabel="accuracy (%)", title=title)
        axes.grid(visible=False, axis="x")
        return finish(figure, path)


def _draw(axes: Any, index: int, values: np.ndarray[Any, Any]) -> None:
    colour = COLOURS[index % len(COLOURS)]
    order = np.argsort(values)
    places = np.empty(len(values))
    # Neighbours in value stand apart in x, so that equal runs remain countable.
    places[order] = index - 0.1 + _WIDTH * ((np.arange(len(values)) * 0.618) % 1.0 - 0.5)
    axes.plot(places, values, "o", ms=5, mew=0.6, mec="white", color=colour, alpha=0.85)
    mean = values.mean()
    spread = values.std(ddof=1) if len(values) > 1 else None
    axes.errorbar(index + 0.16, mean, yerr=spread, fmt="_", ms=12, mew=2, color=INK, capsize=4, lw=1.3)
    text = f"{mean:.2f}" if spread is None else f"{mean:.2f}\nsd {spread:.2f}"
    axes.annotate(text, (index + 0.16, mean), xytext=(9, 0), textcoords="offset points", va="center", size=8)
