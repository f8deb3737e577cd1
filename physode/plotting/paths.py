"""Paths through a plane or through space: fitted upon true."""

from __future__ import annotations

from typing import Any

import numpy as np

from physode.plotting.comparison import Comparison
from physode.plotting.style import INK, MUTED

__all__ = ["draw_path", "observed_style", "path_legend", "tidy_space"]

Array = np.ndarray[Any, Any]

_DASHES = (0, (4, 2))


def observed_style(*, points: bool) -> dict[str, Any]:
    """Return how observed states are drawn: broad and pale where they make a line, else as dots."""
    if points:
        return {"ls": "", "marker": "o", "ms": 4, "alpha": 0.6, "mew": 0}
    return {"alpha": 0.35, "lw": 4.5, "solid_capstyle": "butt"}


def draw_path(axes: Any, comparison: Comparison, true: Array, fitted: Array, colour: str, *, points: bool) -> None:
    """Draw a true path broad and pale, or as dots, the fitted one thin upon it: whole in training, dashed beyond; a
    ring where training ends. `true` has a row for each time of the data, `fitted` for each of ``comparison.fine``.
    """
    turn = int(np.flatnonzero(comparison.inside(comparison.fine[0]))[-1])
    axes.plot(*true.T, color=colour, **observed_style(points=points))
    axes.plot(*fitted[: turn + 1].T, color=colour, lw=1.4)
    axes.plot(*fitted[turn:].T, color=INK, lw=1.0, ls=_DASHES)
    axes.plot(*fitted[:1].T, "o", color=colour, ms=6)
    axes.plot(*fitted[turn : turn + 1].T, "o", mfc="white", mec=colour, mew=1.6, ms=6)


def path_legend(comparison: Comparison, *, points: bool) -> list[Any]:
    """Return what a legend of :func:`draw_path` shows."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=MUTED, label=comparison.observed_is, **observed_style(points=points) | {"alpha": 0.5}),
        Line2D([], [], color=MUTED, lw=1.4, label="fitted, training"),
        Line2D([], [], color=INK, lw=1.0, ls=_DASHES, label="fitted, beyond"),
        Line2D([], [], color=MUTED, marker="o", ls="", ms=6, label="start"),
        Line2D([], [], mfc="white", mec=MUTED, mew=1.6, marker="o", ls="", ms=6, label="training ends"),
    ]


def tidy_space(space: Any) -> None:
    """Make axes in space light: white walls, few ticks."""
    from matplotlib.ticker import MaxNLocator

    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.pane.set_facecolor("white")
        axis.pane.set_edgecolor("#DDDDDD")
        axis._axinfo["grid"].update(color="#E8E8E8", linewidth=0.6)
        axis.set_major_locator(MaxNLocator(4))
    space.view_init(elev=24, azim=-58)
    space.set_box_aspect(None, zoom=0.92)
