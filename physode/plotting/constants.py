"""How fitted constants find their values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import COLOURS, MUTED, finish, label, new_figure, scale_by_spread, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_constants"]

Array = np.ndarray[Any, Any]


def plot_constants(
    history: Sequence[Mapping[str, Any]],
    *,
    true: Mapping[str, Sequence[float | None]] | None = None,
    units: Mapping[str, str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw constants by epoch, one panel a constant, and beside it their relative errors where true values are known.

    Parameters
    ----------
    history
        One entry an epoch with ``epoch`` and ``constants``, flat lists by name; and where known ``stage``, whose
        changes are marked.
    true
        True values by name, flat; None for one that is not known.
    units
        Units by name.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If no entry holds constants.
    """
    lines = [line for line in history if line.get("constants")]
    if not lines:
        raise ValueError("`history` must hold the constants of at least one epoch, got none")
    names = list(lines[0]["constants"])
    true, units = true or {}, units or {}
    epochs = np.array([line["epoch"] for line in lines])
    errors = any(value for name in names for value in true.get(name, ()))
    with styled():
        figure = new_figure(9.5 if errors else 6.5, 0.8 + 2.6 * len(names))
        panels = figure.subplots(len(names), 1 + errors, sharex=True, squeeze=False)
        for name, row in zip(names, panels, strict=True):
            values = np.array([line["constants"][name] for line in lines], dtype=np.float64)
            known = true.get(name) or [None] * values.shape[1]
            _draw_values(row[0], epochs, values, known)
            row[0].set(title=name, ylabel=label("value", units.get(name, "")))
            if any(known):
                _draw_errors(row[1], epochs, values, known)
                row[1].set(yscale="log", title="Relative error")
            elif errors:
                row[1].set_visible(False)
            for axes in row:
                _mark_stages(axes, lines)
                axes.tick_params(labelbottom=True)
                axes.set_xlabel("epoch")
                axes.xaxis.get_major_locator().set_params(integer=True)
        return finish(figure, path)


def _draw_values(axes: Any, epochs: Array, values: Array, true: Sequence[float | None]) -> None:
    scale_by_spread(axes, values, np.array([value for value in true if value is not None]))
    for index in range(values.shape[1]):
        colour = COLOURS[index % len(COLOURS)]
        name = f"{index + 1}" if values.shape[1] > 1 else "fitted"
        axes.plot(epochs, values[:, index], color=colour, label=name, **_marker(epochs))
        if true[index] is not None:
            axes.axhline(true[index], color=colour, lw=1.1, ls=(0, (5, 3)), alpha=0.8)
    if any(value is not None for value in true):
        axes.plot([], [], color=MUTED, lw=1.1, ls=(0, (5, 3)), label="true")
    axes.legend(loc="best", ncols=2 if values.shape[1] > 1 else 1, frameon=True, framealpha=0.85, edgecolor="none")


def _draw_errors(axes: Any, epochs: Array, values: Array, true: Sequence[float | None]) -> None:
    for index, truth in enumerate(true):
        if truth:
            error = np.abs(values[:, index] / truth - 1.0)
            shown = np.where(error > 0, error, np.nan)
            axes.plot(epochs, shown, color=COLOURS[index % len(COLOURS)], **_marker(epochs))


def _marker(epochs: Array) -> dict[str, Any]:
    return {"marker": "o", "ms": 4} if len(epochs) <= 60 else {}


def _mark_stages(axes: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    """Draw a line where a stage of the schedule begins."""
    stages = [line.get("stage", 1) for line in lines]
    for before, line in zip(stages, lines[1:], strict=False):
        if line.get("stage", 1) != before:
            axes.axvline(line["epoch"] - 0.5, color=MUTED, lw=1.0, ls=":")
            place = axes.get_xaxis_transform()
            text = f" stage {line['stage']}"
            axes.text(line["epoch"] - 0.5, 1.0, text, transform=place, va="bottom", fontsize=8, color=MUTED)
