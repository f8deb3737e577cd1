"""What a hybrid's network has learnt of the physics that it was not told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.comparison import Group, elapsed
from physode.plotting.style import (
    COLOURS,
    MUTED,
    finish,
    headline,
    label,
    mark_training,
    new_figure,
    styled,
    time_panels,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = np.ndarray[Any, Any]


def plot_residual_force(
    t: Array,
    learnt: Array,
    groups: Sequence[Group],
    *,
    true: Array | None = None,
    train_until: float,
    time_unit: str = "",
    most: int = 6,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw what a network adds to each derivative along the fitted trajectory, over what is truly missing there.

    Parameters
    ----------
    t
        Times, (T,).
    learnt
        The network's share of the derivatives, (T, D).
    groups
        Which columns share a panel.
    true
        The true derivatives less those of the known physics, (T, D), where they are known.
    train_until
        End of the training span.
    time_unit
        Unit of `t`.
    most
        How many groups at most.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there are no groups.
    """
    if not groups:
        raise ValueError("`groups` must hold at least one group of columns, got none")
    shown = groups[:most]
    with styled():
        figure = new_figure(8.5, 1.2 + 1.9 * len(shown))
        panels = time_panels(figure, len(shown), time_unit)
        for group, axes in zip(shown, panels, strict=True):
            mark_training(axes, float(t[0]), train_until)
            axes.axhline(0.0, color=MUTED, lw=0.6)
            _draw(axes, t, learnt, true, group)
            axes.set(title=group.name + _error(learnt, true, group, elapsed(t, train_until)))
            axes.set_ylabel(label("d/dt", _per(group.unit, time_unit)))
            axes.margins(x=0)
        headline(figure, "Learnt residual along the fitted trajectory")
        figure.legend(handles=_legend(true is not None), loc="outside lower center", ncols=2)
        return finish(figure, path)


def _draw(axes: Any, t: Array, learnt: Array, true: Array | None, group: Group) -> None:
    for index, (column, name) in enumerate(zip(group.columns, group.labels, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        if true is not None:
            axes.plot(t, true[:, column], color=colour, alpha=0.35, lw=4, solid_capstyle="butt")
        axes.plot(t, learnt[:, column], color=colour, lw=1.3, label=name)
    if len(group.labels) > 1:
        lines = [line for line in axes.get_lines() if line.get_label() in group.labels]
        axes.legend(handles=lines, loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=3)


def _error(learnt: Array, true: Array | None, group: Group, inside: Array) -> str:
    """Return how far the learnt residual is from the true one in training, as a share of that one's size."""
    if true is None:
        return ""
    columns = list(group.columns)
    wanted, found = true[inside][:, columns], learnt[inside][:, columns]
    size = float(np.sqrt(np.nanmean(wanted**2)))
    if size == 0:
        return ""
    return f": off by {100 * float(np.sqrt(np.nanmean((found - wanted) ** 2))) / size:.2g} % in training"


def _per(unit: str, time_unit: str) -> str:
    """Return the unit of a time derivative."""
    if not time_unit:
        return unit
    if not unit:
        return f"1/{time_unit}"
    return f"{unit}²" if unit.endswith(f"/{time_unit}") else f"{unit}/{time_unit}"


def _legend(known: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    learnt = Line2D([], [], color=MUTED, lw=1.3, label="learnt")
    truth = Line2D([], [], color=MUTED, alpha=0.5, lw=4, label="true derivative less the physics' part")
    return [learnt, truth] if known else [learnt]
