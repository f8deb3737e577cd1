"""Fitted trajectories against the true ones: in space, in phase planes, over time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.comparison import Comparison, distances
from physode.plotting.style import (
    BOXED,
    COLOURS,
    INK,
    MUTED,
    finish,
    label,
    mark_training,
    new_figure,
    scale_by_spread,
    styled,
    time_panels,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        for row, axes in enumerate(time_panels(figure, count, comparison.time_unit)):
            _draw_component(axes, comparison, row)
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
    style_space(space, comparison)
    handles = path_legend(comparison, points=points)
    space.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.08, 1.0))
    part.suptitle(f"Orbits of the model over the {comparison.observed_is} ones", x=0.02, ha="left", weight="bold")


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
    axes.legend(loc="best", **BOXED)
    title = f"Distance from {comparison.observed_is} positions"
    part.suptitle(title, x=0.02, ha="left", weight="bold")


def _draw_component(axes: Any, comparison: Comparison, column: int) -> None:
    colour, t = COLOURS[column % len(COLOURS)], comparison.t
    style = observed_style(points=comparison.in_points([column]))
    mark_training(axes, float(t[0]), comparison.train_until)
    axes.plot(t, comparison.observed[:, column], color=colour, label=comparison.observed_is, **style)
    times, fitted = comparison.fine
    axes.plot(times, fitted[:, column], color=INK, lw=1.1, label=comparison.model_is)
    axes.set_ylabel(comparison.axis(column))
    axes.margins(x=0)


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

    trained, predicted = comparison.spans
    return [
        Line2D([], [], color=MUTED, label=comparison.observed_is, **observed_style(points=points) | {"alpha": 0.5}),
        Line2D([], [], color=MUTED, lw=1.4, label=trained),
        *([Line2D([], [], color=INK, lw=1.0, ls=_DASHES, label=predicted)] if predicted else []),
        Line2D([], [], color=MUTED, marker="o", ls="", ms=6, label="start"),
        Line2D([], [], mfc="white", mec=MUTED, mew=1.6, marker="o", ls="", ms=6, label="training ends"),
    ]


def style_space(space: Any, comparison: Comparison, *, zoom: float = 0.92) -> None:
    """Name the axes in space, and make them light: white walls, few ticks."""
    from matplotlib.ticker import MaxNLocator

    names = ("x", "y", "z") if len(comparison.columns) % 6 == 0 else comparison.columns[:3]
    for which, name in zip("xyz", names, strict=True):
        getattr(space, f"set_{which}label")(label(name, comparison.units[0]))
    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.pane.set_facecolor("white")
        axis.pane.set_edgecolor("#DDDDDD")
        axis._axinfo["grid"].update(color="#E8E8E8", linewidth=0.6)
        axis.set_major_locator(MaxNLocator(4))
    space.view_init(elev=24, azim=-58)
    space.set_box_aspect(None, zoom=zoom)
