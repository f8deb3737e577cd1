"""Which classes are taken for which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physode.plotting.style import MUTED, finish, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_confusion"]

Array = np.ndarray[Any, Any]

_COUNTED, _WRITTEN, _NAMED = 12, 30, 120  # classes up to which cells have counts, shares, and axes have every name


def plot_confusion(
    confusion: ArrayLike,
    *,
    classes: Sequence[str],
    title: str = "Confusion",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw a confusion matrix: colours are shares of the true class, so that small classes show as well as large ones.

    Up to 12 classes cells hold the share in percent and the count, up to 30 the share. From 13 on colours are those of
    the shares' square roots, which keeps rare confusions visible.

    Parameters
    ----------
    confusion
        (C, C): rows are the true classes, columns the predicted ones; counts, or their means over runs.
    classes
        Their names.
    title
        Of the figure.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If the matrix does not have a row and a column for each class, or holds what is no count.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    size = len(classes)
    if counts.shape != (size, size) or size == 0:
        raise ValueError(f"`confusion` must have shape ({size}, {size}) for {size} classes, got {counts.shape}")
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError(f"`confusion` must hold counts, at least 0; got {counts.min():g} as the smallest")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    cell = 0.85 if size <= _COUNTED else 0.36 if size <= _WRITTEN else 0.115
    side = float(np.clip(cell * size, 2.6, 14.0))
    with styled():
        figure = new_figure(side + 2.6, side + 1.5)
        figure.set_layout_engine("compressed")  # cells are square: the bar and the names stay beside them
        axes = figure.subplots()
        image = _draw_cells(axes, shares, faint=size > _COUNTED)
        bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02, format=lambda share, _: f"{100 * share:g} %")
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
        _name_axes(axes, classes)
        if size <= _WRITTEN:
            _write_cells(axes, counts if size <= _COUNTED else None, shares)
        axes.set_title(title)
        return finish(figure, path)


def _draw_cells(axes: Any, shares: Array, *, faint: bool) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm

    colours = colormaps["Blues"].with_extremes(bad="#EDEDED")
    image = axes.imshow(shares, cmap=colours, norm=PowerNorm(0.5 if faint else 1.0, vmin=0.0, vmax=1.0))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return image


def _name_axes(axes: Any, classes: Sequence[str]) -> None:
    size = len(classes)
    step = 1 if size <= _NAMED else int(np.ceil(size / _NAMED))
    places = range(0, size, step)
    names = [short(classes[place]) for place in places]
    letters = 10 if size <= _COUNTED else 8 if size <= _WRITTEN else 5.5
    upright = size <= _COUNTED and max(map(len, names)) <= 9
    axes.set_xticks(places, names, rotation=0 if upright else 45 if size <= _WRITTEN else 90, fontsize=letters)
    if not upright and size <= _WRITTEN:
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names, fontsize=letters)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted class", ylabel="true class")


def _write_cells(axes: Any, counts: Array | None, shares: Array) -> None:
    for (row, column), share in np.ndenumerate(shares):
        light = share > (0.55 if counts is not None else 0.35)
        colour = "white" if light else MUTED if not share > 0 else "#222222"
        if counts is None:
            if share >= 0.005:
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", size=7, color=colour)
            continue
        count = counts[row, column]
        axes.text(column, row - 0.14, _percent(share), ha="center", va="center", size=10, color=colour)
        text = f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}"
        axes.text(column, row + 0.2, text, ha="center", va="center", size=7.5, color=colour)


def _percent(share: float) -> str:
    if np.isnan(share):
        return "no samples"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"
