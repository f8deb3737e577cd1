"""The moving parts of an animation: a body with its trail, and the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.comparison import Comparison
from physode.plotting.motion import interpolate, progress_of
from physode.plotting.style import COLOURS, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Clock", "Mover"]

Array = np.ndarray[Any, Any]

_TRAIL, _WHOLE = 80, 600  # points of a trail and, at least, of a path
_DOTS: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4, "alpha": 0.6, "mew": 0}


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
            (self._path,) = axes.plot(*empty, color=colour, **_DOTS)
        else:
            (self._path,) = axes.plot(*empty, color=colour, lw=5, alpha=0.35, solid_capstyle="round")
        (self._ring,) = axes.plot(*empty, "o", mfc="none", mec=colour, mew=1.4, ms=11, alpha=0.7)
        self._trail = _trail(axes, true.shape[-1])
        self._colour = _rgb(colour)
        (self._head,) = axes.plot(*empty, "o", color=colour, ms=7, mec="white", mew=0.8, zorder=10)

    def show(self, now: float) -> None:
        """Set all parts to a time."""
        ends = float(self._t[0]), float(self._t[-1])
        start = min(max(now - self._back, min(ends)), max(ends))
        times = np.linspace(start, now, _TRAIL)
        trail = self._fitted(times)
        if self._points:
            _put(self._path, self._observed[progress_of(self._t, now)])
        else:
            true = self._true(times)
            _put(self._path, true)
            _put(self._ring, true[-1:])
        self._trail.set_segments(np.stack([trail[:-1], trail[1:]], axis=1))
        fading = np.linspace(0.05, 1.0, _TRAIL - 1)
        self._trail.set_color([(*self._colour, alpha) for alpha in fading])
        _put(self._head, trail[-1:])

    @staticmethod
    def legend(observed_is: str, *, points: bool) -> list[Any]:
        """Return what a legend shows."""
        from matplotlib.lines import Line2D

        ring: dict[str, Any] = {"color": MUTED, "alpha": 0.5, "lw": 5, "marker": "o", "ms": 11}
        style = _DOTS if points else ring | {"mfc": "none", "mec": MUTED, "mew": 1.4}
        return [
            Line2D([], [], label=observed_is, **{"color": MUTED} | style),
            Line2D([], [], color=MUTED, lw=1.6, marker="o", ms=7, mec="white", label="fitted"),
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
        inside = bool(now <= shown.train_until) if shown.t[-1] >= shown.t[0] else bool(now >= shown.train_until)
        self._span.set_text("training span" if inside else "beyond training")
        self._span.set_color(INK if inside else COLOURS[1])


def _trail(axes: Any, dimensions: int) -> Any:
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
