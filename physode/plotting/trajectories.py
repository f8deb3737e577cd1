"""Fitted trajectories against the true ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.style import COLOURS, INK, MUTED, finish, label, mark_training, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "plot_orbits", "plot_phase_portrait", "plot_series"]

Array = np.ndarray[Any, Any]

_REACH = 0.75  # of the true paths' extent: how far beyond them fitted paths are shown


@dataclass(frozen=True)
class Comparison:
    """One trajectory as observed and as fitted.

    Attributes
    ----------
    t
        Times, (T,).
    observed, fitted
        States, (T, D); NaN where missing.
    columns, units
        Names and units of the D components.
    train_until
        End of the training span.
    time_unit
        Unit of `t`.
    observed_is
        What the observed states are called in legends.
    """

    t: Array
    observed: Array
    fitted: Array
    columns: Sequence[str]
    units: Sequence[str]
    train_until: float
    time_unit: str = ""
    observed_is: str = "true"

    @property
    def training(self) -> Array:
        """Which times lie in the training span."""
        rising = self.t[-1] >= self.t[0]
        inside: Array = self.t <= self.train_until if rising else self.t >= self.train_until
        return inside

    def axis(self, column: int) -> str:
        """Return the label of a component's axis."""
        return label(self.columns[column], self.units[column])


def plot_orbits(comparison: Comparison, *, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw bodies' orbits in space, fitted over true, and the distance between the two over time.

    Parameters
    ----------
    comparison
        With the columns r1_x, ..., vn_z of bodies; or of three components, drawn as one point's path.
    path
        Where to write the figure, if anywhere.

    Notes
    -----
    Where a fitted path leaves the neighbourhood of the true ones it is not followed; the distance is.
    """
    bodies = max(1, len(comparison.columns) // 6)
    axes_names = ("x", "y", "z") if len(comparison.columns) % 6 == 0 else comparison.columns[:3]
    with styled():
        figure = new_figure(10.5, 5.2)
        halves: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1.0))
        left, right = halves
        space: Any = left.add_subplot(projection="3d")
        errors = right.add_subplot()
        mark_training(errors, float(comparison.t[0]), comparison.train_until)
        near = _near(comparison, 3 * bodies)
        for body in range(bodies):
            columns = slice(3 * body, 3 * body + 3)
            colour = COLOURS[body % len(COLOURS)]
            true, fitted = comparison.observed[:, columns], comparison.fitted[:, columns]
            _draw_path(space, comparison, true, near[:, columns], colour)
            name = f"body {body + 1}" if bodies > 1 else "distance"
            errors.plot(comparison.t, _positive(np.linalg.norm(fitted - true, axis=-1)), color=colour, label=name)
        for which, name in zip("xyz", axes_names, strict=True):
            getattr(space, f"set_{which}label")(label(name, comparison.units[0]))
        _tidy_space(space)
        space.legend(handles=_path_legend(comparison), loc="upper left", bbox_to_anchor=(-0.08, 1.0))
        left.suptitle(f"Fitted against {comparison.observed_is} orbits", x=0.02, ha="left", weight="bold")
        right.suptitle(f"Distance of fitted from {comparison.observed_is} positions", x=0.02, ha="left", weight="bold")
        errors.set(
            yscale="log", ylabel=label("distance", comparison.units[0]), xlabel=label("time", comparison.time_unit)
        )
        errors.margins(x=0)
        errors.legend(loc="lower right")
        return finish(figure, path)


def plot_phase_portrait(comparison: Comparison, *, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the first two components against each other and over time, fitted over true."""
    with styled():
        figure = new_figure(10.5, 4.8)
        grid = figure.add_gridspec(2, 2, width_ratios=(1.0, 1.25))
        plane = figure.add_subplot(grid[:, 0])
        _draw_path(plane, comparison, comparison.observed[:, :2], _near(comparison, 2), COLOURS[0])
        plane.set(xlabel=comparison.axis(0), ylabel=comparison.axis(1), title="Phase portrait")
        plane.legend(handles=_path_legend(comparison), loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
        for row in range(2):
            axes = figure.add_subplot(grid[row, 1])
            _draw_component(axes, comparison, row)
            axes.set_xlabel(label("time", comparison.time_unit) if row == 1 else "")
        return finish(figure, path)


def plot_series(comparison: Comparison, *, most: int = 6, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw up to `most` components over time, fitted over true."""
    count = min(most, len(comparison.columns))
    with styled():
        figure = new_figure(8.5, 1.2 + 1.5 * count)
        for row, axes in enumerate(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]):
            _draw_component(axes, comparison, row)
        axes.set_xlabel(label("time", comparison.time_unit))
        return finish(figure, path)


def _draw_component(axes: Any, comparison: Comparison, column: int) -> None:
    colour = COLOURS[column % len(COLOURS)]
    mark_training(axes, float(comparison.t[0]), comparison.train_until)
    axes.plot(comparison.t, comparison.observed[:, column], color=colour, alpha=0.35, lw=4, solid_capstyle="butt")
    axes.plot(comparison.t, comparison.fitted[:, column], color=INK, lw=1.1)
    axes.set_ylabel(comparison.axis(column))
    axes.margins(x=0)


def _draw_path(axes: Any, comparison: Comparison, true: Array, fitted: Array, colour: str) -> None:
    """Draw a true path broad and pale, the fitted one thin upon it: whole in training, dashed beyond; a ring where
    training ends.
    """
    inside = comparison.training
    turn = int(np.flatnonzero(inside)[-1])
    axes.plot(*true.T, color=colour, alpha=0.35, lw=4.5, solid_capstyle="butt")
    axes.plot(*fitted[: turn + 1].T, color=colour, lw=1.4)
    axes.plot(*fitted[turn:].T, color=INK, lw=1.0, ls=(0, (4, 2)))
    axes.plot(*true[:1].T, "o", color=colour, ms=6)
    axes.plot(*fitted[turn : turn + 1].T, "o", mfc="white", mec=colour, mew=1.6, ms=6)


def _near(comparison: Comparison, columns: int) -> Array:
    """Return the fitted states with positions far from all true ones blanked, lest these become a dot in the figure."""
    true, fitted = comparison.observed[:, :columns], comparison.fitted.copy()
    dimensions = min(3, columns)
    points = true.reshape(-1, dimensions)
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    reach = _REACH * float((high - low).max())
    for begin in range(0, columns, dimensions):
        part = fitted[:, begin : begin + dimensions]
        part[((part < low - reach) | (part > high + reach)).any(axis=-1)] = np.nan
    return fitted


def _path_legend(comparison: Comparison) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=MUTED, alpha=0.5, lw=4.5, label=comparison.observed_is),
        Line2D([], [], color=MUTED, lw=1.4, label="fitted, training"),
        Line2D([], [], color=INK, lw=1.0, ls=(0, (4, 2)), label="fitted, beyond"),
        Line2D([], [], color=MUTED, marker="o", ls="", ms=6, label="start"),
        Line2D([], [], mfc="white", mec=MUTED, mew=1.6, marker="o", ls="", ms=6, label="training ends"),
    ]


def _tidy_space(space: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.pane.set_facecolor("white")
        axis.pane.set_edgecolor("#DDDDDD")
        axis._axinfo["grid"].update(color="#E8E8E8", linewidth=0.6)
        axis.set_major_locator(MaxNLocator(4))
    space.view_init(elev=24, azim=-58)
    space.set_box_aspect(None, zoom=0.92)


def _positive(values: Array) -> Array:
    """Return what a logarithmic axis can show; the start, where the distance is 0, is left out."""
    return np.where(values > 0, values, np.nan)
