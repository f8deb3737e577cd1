"""What moves in an animation: a figure of parts that can be set to a time, bodies with trails and the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.comparison import Comparison, distances, elapsed, interpolate
from physode.plotting.style import COLOURS, INK, MUTED, label, mark_training, new_figure, scale_by_spread, time_panels
from physode.plotting.trajectories import observed_style, style_space

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = np.ndarray[Any, Any]

_MOST = 5  # series one below the other


@dataclass(frozen=True)
class Scene:
    """A figure that can be set to any time of its data.

    Attributes
    ----------
    figure
        The figure.
    parts
        Each sets what it has drawn to a time.
    turn
        Sets the camera to the share of the animation that has passed, 0 to 1.
    """

    figure: Figure
    parts: Sequence[Callable[[float], None]]
    turn: Callable[[float], object] = float

    def show(self, now: float, share: float) -> None:
        """Set all parts to a time, and the camera to a share of the animation."""
        for part in self.parts:
            part(now)
        self.turn(share)


def natural_size(comparison: Comparison) -> tuple[int, int]:
    """Return a width and height, in hundredths of an inch, that suit what :func:`make_scene` would show."""
    count = len(comparison.columns)
    if _in_space(count):
        return (800, 720)
    return (1000, 520) if count == 2 else (900, 160 + 140 * min(_MOST, count))


def make_scene(comparison: Comparison, *, width: float, height: float, tail: float, rotate: float) -> Scene:
    """Make the scene that suits a system: bodies in space, a phase portrait, or series over time.

    Parameters
    ----------
    comparison
        The trajectory.
    width, height
        In inches.
    tail
        Length of the trails, in units of time.
    rotate
        By how many degrees the camera goes round.
    """
    figure = new_figure(width, height)
    count = len(comparison.columns)
    if _in_space(count):
        return _space(figure, comparison, tail, rotate)
    return _plane(figure, comparison, tail) if count == 2 else _series_scene(figure, comparison)


def _in_space(count: int) -> bool:
    return count % 6 == 0 or count == 3


def _space(figure: Figure, comparison: Comparison, tail: float, rotate: float) -> Scene:
    grid = figure.add_gridspec(2, 1, height_ratios=(4.8, 1))
    space: Any = figure.add_subplot(grid[0], projection="3d")
    bottom = figure.add_subplot(grid[1])
    positions = 3 * comparison.bodies
    points = comparison.in_points(slice(0, positions))
    parts: list[Callable[[float], None]] = []
    for body in range(comparison.bodies):
        columns, colour = slice(3 * body, 3 * body + 3), COLOURS[body % len(COLOURS)]
        fitted, true = _near(comparison, columns, positions), comparison.observed[:, columns]
        parts.append(Mover(space, comparison.t, true, fitted, colour=colour, points=points, tail=tail).show)
    style_space(space, comparison, zoom=1.02)
    handles = Mover.legend(comparison, points=points) + _names(comparison)
    space.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.22, 1.0))
    parts += [Clock(figure, comparison).show, _distances(bottom, comparison)]
    start = float(space.azim)
    return Scene(figure, parts, lambda share: space.view_init(elev=space.elev, azim=start + rotate * (share - 0.5)))


def _plane(figure: Figure, comparison: Comparison, tail: float) -> Scene:
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1.0))
    plane = figure.add_subplot(grid[:, 0])
    points = comparison.in_points(slice(0, 2))
    fitted, true = _near(comparison, slice(0, 2), 2), comparison.observed[:, :2]
    mover = Mover(plane, comparison.t, true, fitted, colour=COLOURS[0], points=points, tail=tail)
    plane.set(xlabel=comparison.axis(0), ylabel=comparison.axis(1))
    handles = Mover.legend(comparison, points=points)
    plane.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    panels = [figure.add_subplot(grid[row, 1]) for row in range(2)]
    cursors = [_component(axes, comparison, column) for column, axes in enumerate(panels)]
    panels[1].set_xlabel(label("time", comparison.time_unit))
    return Scene(figure, [mover.show, Clock(figure, comparison).show, *cursors])


def _series_scene(figure: Figure, comparison: Comparison) -> Scene:
    count = min(_MOST, len(comparison.columns))
    panels = time_panels(figure, count, comparison.time_unit)
    cursors = [_component(axes, comparison, column) for column, axes in enumerate(panels)]
    return Scene(figure, [Clock(figure, comparison).show, *cursors])


def _names(comparison: Comparison) -> list[Any]:
    """Return what a legend shows of the bodies' colours."""
    from matplotlib.lines import Line2D

    if comparison.bodies == 1:
        return []
    return [
        Line2D([], [], ls="", marker="o", color=COLOURS[body % len(COLOURS)], label=comparison.name(body))
        for body in range(comparison.bodies)
    ]


def _near(comparison: Comparison, columns: slice, positions: int) -> Callable[[Array], Array]:
    """Return some fitted components as a function of times, blank where they are far from all true ones."""
    return lambda times: comparison.near(comparison.at(times)[:, :positions])[:, columns]


def _component(axes: Any, comparison: Comparison, column: int) -> Callable[[float], None]:
    """Draw a component over time, the fitted one up to a cursor, and return what moves this."""
    t, colour, true = comparison.t, COLOURS[column % len(COLOURS)], comparison.observed[:, column]
    mark_training(axes, float(t[0]), comparison.train_until)
    axes.plot(t, true, color=colour, **observed_style(points=comparison.in_points([column])))
    axes.set_ylabel(comparison.axis(column))
    times, fitted = comparison.fine
    return _growing(axes, times, [fitted[:, column]], [INK])


def _distances(axes: Any, comparison: Comparison) -> Callable[[float], None]:
    """Draw how far each body is from its true place up to a cursor, and return what moves this."""
    mark_training(axes, float(comparison.t[0]), comparison.train_until)
    curves = distances(comparison)
    scale_by_spread(axes, *curves)
    axes.set(ylabel=label("distance", comparison.units[0]), xlabel=label("time", comparison.time_unit))
    return _growing(axes, comparison.t, curves, [COLOURS[body % len(COLOURS)] for body in range(comparison.bodies)])


def _growing(axes: Any, t: Array, curves: list[Array], colours: list[str]) -> Callable[[float], None]:
    # The whole curves are drawn once, unseen, so that the axes know their extent from the first frame on.
    for curve in curves:
        axes.plot(t, curve, alpha=0.0)
    axes.margins(x=0)
    lines = [axes.plot([], [], color=colour, lw=1.3)[0] for colour in colours]
    cursor = axes.axvline(float(t[0]), color=MUTED, lw=1.0)
    axes.autoscale(enable=False)

    def move(now: float) -> None:
        past = elapsed(t, now)
        for line, curve in zip(lines, curves, strict=True):
            line.set_data(t[past], curve[past])
        cursor.set_xdata([now, now])

    return move


_TRAIL, _WHOLE = 80, 600  # points of a trail and, at least, of a path


class Mover:
    """A fitted point and its fading trail; the true one as a broad pale path and a ring, or as dots observed so far.

    Parameters
    ----------
    axes
        In the plane or in space.
    t
        Times, (T,).
    true
        Places, (T, 2) or (T, 3); NaN where missing.
    fitted
        Gives fitted places, (K, 2) or (K, 3), at times (K,); NaN where they are not to be shown.
    colour
        Of all parts.
    points
        Whether the true places are dots: they are measurements, between which nothing is known.
    tail
        Length of the trail, in units of time.
    """

    def __init__(
        self,
        axes: Any,
        t: Array,
        true: Array,
        fitted: Callable[[Array], Array],
        *,
        colour: str,
        points: bool,
        tail: float,
    ) -> None:
        self._t, self._observed, self._points = t, true, points
        self._fitted, self._true = fitted, interpolate(t, true)
        self._back = tail if t[-1] >= t[0] else -tail
        # The whole path, hardly to be seen, sets the extent of the axes from the first frame on.
        times = np.linspace(float(t[0]), float(t[-1]), max(_WHOLE, len(t)))
        axes.plot(*(self._fitted if points else self._true)(times).T, color=colour, lw=1.0, alpha=0.18)
        empty = np.empty((true.shape[-1], 0))
        if points:
            axes.plot(*true.T, color=colour, ls="", marker="o", ms=2, alpha=0.12, mew=0)
            (self._path,) = axes.plot(*empty, color=colour, **observed_style(points=True))
        else:
            (self._path,) = axes.plot(*empty, color=colour, lw=5, alpha=0.35, solid_capstyle="round")
        (self._ring,) = axes.plot(*empty, "o", mfc="none", mec=colour, mew=1.4, ms=11, alpha=0.7)
        self._trail_lines = _trail_lines(axes, true.shape[-1])
        self._colour = _rgb(colour)
        (self._head,) = axes.plot(*empty, "o", color=colour, ms=7, mec="white", mew=0.8, zorder=10)

    def show(self, now: float) -> None:
        """Set all parts to a time."""
        ends = float(self._t[0]), float(self._t[-1])
        start = min(max(now - self._back, min(ends)), max(ends))
        times = np.linspace(start, now, _TRAIL)
        trail = self._fitted(times)
        if self._points:
            _put(self._path, self._observed[elapsed(self._t, now)])
        else:
            true = self._true(times)
            _put(self._path, true)
            _put(self._ring, true[-1:])
        self._trail_lines.set_segments(np.stack([trail[:-1], trail[1:]], axis=1))
        fading = np.linspace(0.05, 1.0, _TRAIL - 1)
        self._trail_lines.set_color([(*self._colour, alpha) for alpha in fading])
        _put(self._head, trail[-1:])

    @staticmethod
    def legend(comparison: Comparison, *, points: bool) -> list[Any]:
        """Return what a legend shows."""
        from matplotlib.lines import Line2D

        ring: dict[str, Any] = {"color": MUTED, "alpha": 0.5, "lw": 5, "marker": "o", "ms": 11}
        style = observed_style(points=True) if points else ring | {"mfc": "none", "mec": MUTED, "mew": 1.4}
        return [
            Line2D([], [], label=comparison.observed_is, **{"color": MUTED} | style),
            Line2D([], [], color=MUTED, lw=1.6, marker="o", ms=7, mec="white", label=comparison.model_is),
        ]


class Clock:
    """The time above a figure, and whether the fit has seen what is shown."""

    def __init__(self, figure: Figure, comparison: Comparison) -> None:
        self._comparison = comparison
        self._time: Any = figure.suptitle(" ", x=0.02, ha="left", weight="bold", family="monospace")
        self._span: Any = figure.text(0.98, 0.985, "", ha="right", va="top", weight="bold")
        size = max(abs(float(comparison.t[0])), abs(float(comparison.t[-1])))
        step = abs(float(comparison.t[-1] - comparison.t[0])) / 200
        self._digits = int(np.clip(-np.floor(np.log10(step)), 0, 6))
        self._width = len(f"{-size if min(comparison.t[0], comparison.t[-1]) < 0 else size:.{self._digits}f}")

    def show(self, now: float) -> None:
        """Set the clock."""
        shown, unit = self._comparison, self._comparison.time_unit
        self._time.set_text(f"t = {now:{self._width}.{self._digits}f} {unit}".rstrip())
        inside = bool(shown.inside(np.asarray(now)))
        self._span.set_text("training span" if inside else "beyond training")
        self._span.set_color(INK if inside else COLOURS[1])


def _trail_lines(axes: Any, dimensions: int) -> Any:
    if dimensions == 3:
        from mpl_toolkits.mplot3d.art3d import Line3DCollection  # type: ignore[import-untyped]

        return axes.add_collection3d(Line3DCollection([], linewidths=1.8), autolim=False)
    from matplotlib.collections import LineCollection

    return axes.add_collection(LineCollection([], linewidths=1.8), autolim=False)


def _put(line: Any, points: Array) -> None:
    """Set a line, in the plane or in space, to points (K, 2) or (K, 3)."""
    if points.shape[-1] == 3:
        line.set_data_3d(*points.T)
    else:
        line.set_data(*points.T)


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)
