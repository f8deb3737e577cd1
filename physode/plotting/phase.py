"""Each body's coordinates against their velocities."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.comparison import Comparison
from physode.plotting.paths import draw_path, path_legend
from physode.plotting.style import COLOURS, finish, label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_phase_planes"]

_FLAT = 1e-9  # of the largest extent: below it a coordinate does not move


def plot_phase_planes(comparison: Comparison, *, most: int = 6, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw every coordinate of up to `most` bodies against its velocity, fitted over true, a row a body.

    A coordinate in which no body moves, as in plane motion, is left out. What was observed is shown where both the
    coordinate and its velocity were.

    Parameters
    ----------
    comparison
        With the columns r1_x, ..., vn_z.
    most
        How many bodies at most.
    path
        Where to write the figure, if anywhere.
    """
    bodies, positions = min(most, comparison.bodies), 3 * comparison.bodies
    fine = comparison.fine[1]
    moving, near = _moving(fine[:, :positions]), comparison.near(fine[:, :positions])
    points = comparison.in_points(slice(0, 6 * comparison.bodies))
    from matplotlib.ticker import MaxNLocator

    with styled():
        figure = new_figure(0.6 + 3.2 * len(moving), 0.8 + 2.5 * bodies)
        panels = figure.subplots(bodies, len(moving), squeeze=False)
        for body in range(bodies):
            for panel, axis in zip(panels[body], moving, strict=True):
                place = 3 * body + axis
                pair, colour = [place, positions + place], COLOURS[body % len(COLOURS)]
                fitted = np.where(np.isfinite(near[:, [place]]), fine[:, pair], np.nan)
                draw_path(panel, comparison, comparison.observed[:, pair], fitted, colour, points=points)
                name = "xyz"[axis]
                panel.set_xlabel(label(name, comparison.units[place]))
                panel.xaxis.set_major_locator(MaxNLocator(4))
                panel.set_ylabel(label(f"v_{name}", comparison.units[positions + place]))
            panels[body, 0].set_title(comparison.name(body))
        handles = path_legend(comparison, points=points)
        if not np.isfinite(comparison.observed).all(axis=1).any():
            handles = handles[1:]  # velocities that nobody observed
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
        return finish(figure, path)


def _moving(positions: np.ndarray[Any, Any]) -> list[int]:
    """Return the coordinates, 0 to 2, in which some body moves; all where none does."""
    paths = positions.reshape(len(positions), -1, 3)
    known = paths[np.isfinite(paths).all(axis=(1, 2))]
    extents = (known.max(axis=0) - known.min(axis=0)).max(axis=0) if len(known) else np.zeros(3)
    found = [axis for axis in range(3) if extents[axis] > _FLAT * extents.max()]
    return found or [0, 1, 2]
