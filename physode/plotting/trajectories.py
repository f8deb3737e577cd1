"""Fitted trajectories against the true ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.comparison import Comparison, distances
from physode.plotting.paths import draw_path, observed_style, path_legend, tidy_space
from physode.plotting.style import COLOURS, INK, finish, label, mark_training, new_figure, scale_by_spread, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_orbits", "plot_phase_portrait", "plot_series"]


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
    with styled():
        figure = new_figure(10.5, 5.2)
        halves: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1.0))
        _draw_space(halves[0], comparison)
        _draw_distances(halves[1], comparison)
        return finish(figure, path)


def plot_phase_portrait(comparison: Comparison, *, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the first two components against each other and over time, fitted over true."""
    points = comparison.in_points(slice(0, 2))
    with styled():
        figure = new_figure(10.5, 4.8)
        grid = figure.add_gridspec(2, 2, width_ratios=(1.0, 1.25))
        plane = figure.add_subplot(grid[:, 0])
        true = comparison.observed[:, :2]
        near = comparison.near(comparison.fine[1][:, :2])
        draw_path(plane, comparison, true, near, COLOURS[0], points=points)
        plane.set(xlabel=comparison.axis(0), ylabel=comparison.axis(1), title="Phase portrait")
        handles = path_legend(comparison, points=points)
        plane.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
        for row in range(2):
            axes = figure.add_subplot(grid[row, 1])
            _draw_component(axes, comparison, row)
            axes.set_xlabel(label("time", comparison.time_unit) if row == 1 else "")
        return finish(figure, path)


def plot_series(comparison: Comparison, *, most: int = 6, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw up to `most` components over time, fitted over true."""
    count = min(most, len(comparison.columns))
    with styled():
        figure = new_figure(8.5, 1.5 + 1.5 * count)
        for row, axes in enumerate(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]):
            _draw_component(axes, comparison, row)
        axes.set_xlabel(label("time", comparison.time_unit))
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
        return finish(figure, path)


def _draw_space(part: Any, comparison: Comparison) -> None:
    space: Any = part.add_subplot(projection="3d")
    positions = 3 * comparison.bodies
    near, points = comparison.near(comparison.fine[1][:, :positions]), comparison.in_points(slice(0, positions))
    for body in range(comparison.bodies):
        columns = slice(3 * body, 3 * body + 3)
        colour = COLOURS[body % len(COLOURS)]
        draw_path(space, comparison, comparison.observed[:, columns], near[:, columns], colour, points=points)
    for which, name in zip("xyz", _axis_names(comparison), strict=True):
        getattr(space, f"set_{which}label")(label(name, comparison.units[0]))
    tidy_space(space)
    handles = path_legend(comparison, points=points)
    space.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.08, 1.0))
    part.suptitle(f"Fitted against {comparison.observed_is} orbits", x=0.02, ha="left", weight="bold")


def _draw_distances(part: Any, comparison: Comparison) -> None:
    axes = part.add_subplot()
    mark_training(axes, float(comparison.t[0]), comparison.train_until)
    curves = distances(comparison)
    for body, curve in enumerate(curves):
        axes.plot(
            comparison.t,
            curve,
            color=COLOURS[body % len(COLOURS)],
            label=comparison.name(body) if comparison.bodies > 1 else "distance",
            **({} if np.isfinite(curve[1:]).all() else {"marker": ".", "lw": 0.8}),
        )
    scale_by_spread(axes, *curves)
    axes.set(ylabel=label("distance", comparison.units[0]), xlabel=label("time", comparison.time_unit))
    axes.margins(x=0)
    axes.legend(loc="best", frameon=True, framealpha=0.85, edgecolor="none")
    title = f"Distance of fitted from {comparison.observed_is} positions"
    part.suptitle(title, x=0.02, ha="left", weight="bold")


def _draw_component(axes: Any, comparison: Comparison, column: int) -> None:
    colour, t = COLOURS[column % len(COLOURS)], comparison.t
    style = observed_style(points=comparison.in_points([column]))
    mark_training(axes, float(t[0]), comparison.train_until)
    axes.plot(t, comparison.observed[:, column], color=colour, label=comparison.observed_is, **style)
    times, fitted = comparison.fine
    axes.plot(times, fitted[:, column], color=INK, lw=1.1, label="fitted")
    axes.set_ylabel(comparison.axis(column))
    axes.margins(x=0)


def _axis_names(comparison: Comparison) -> tuple[str, ...]:
    return ("x", "y", "z") if len(comparison.columns) % 6 == 0 else tuple(comparison.columns[:3])
