"""One trajectory as observed and as fitted, states between its outputs, and what its columns mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from physode.plotting.style import label, plain

Array = np.ndarray[Any, Any]

_FINE = 600  # times that a curve is drawn by, at least
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
    names
        Of the bodies; "body 1", ... by default.
    """

    t: Array
    observed: Array
    fitted: Array
    columns: Sequence[str]
    units: Sequence[str]
    train_until: float
    time_unit: str = ""
    observed_is: str = "true"
    names: Sequence[str] = ()

    @cached_property
    def at(self) -> Callable[[Array], Array]:
        """The fitted states as a function of times, (K,) to (K, D)."""
        return interpolate(self.t, self.fitted)

    @cached_property
    def fine(self) -> tuple[Array, Array]:
        """Times and fitted states to draw curves by: the outputs, and where these are few also states between them."""
        parts = -(-_FINE // len(self.t))
        if parts == 1 or len(self.t) < 2:
            return self.t, self.fitted
        places = np.arange(parts * (len(self.t) - 1) + 1) / parts
        times = np.interp(places, np.arange(len(self.t)), self.t)
        states = self.at(times)
        states[::parts] = self.fitted
        return times, states

    def inside(self, t: Array) -> Array:
        """Return which of some times lie in the training span."""
        found: Array = t <= self.train_until if self.t[-1] >= self.t[0] else t >= self.train_until
        return found

    @property
    def spans(self) -> tuple[str, str]:
        """What a curve of the model is called in the span that it was trained on, and beyond; the latter may be empty.

        ``("trained on [0, 1]", "predicted to 2")``.
        """
        start, end = float(self.t[0]), float(self.t[-1])
        if bool(self.inside(self.t).all()):
            return f"trained on [{start:g}, {end:g}]", ""
        return f"trained on [{start:g}, {self.train_until:g}]", f"predicted to {end:g}"

    @property
    def model_is(self) -> str:
        """What a curve of the model is called over both spans."""
        return ", ".join(filter(None, self.spans))

    @property
    def bodies(self) -> int:
        """How many bodies the columns r1_x, ..., vn_z are of; three components are one point's path."""
        return max(1, len(self.columns) // 6)

    def name(self, body: int) -> str:
        """Return what a body is called."""
        return plain(self.names[body]) if self.names else f"body {body + 1}"

    def axis(self, column: int) -> str:
        """Return the label of a component's axis."""
        return label(self.columns[column], self.units[column])

    def in_points(self, columns: Sequence[int] | slice) -> bool:
        """Return whether these components are drawn as points: measured, or with gaps that a line would hide."""
        return self.observed_is == "observed" or not bool(np.isfinite(self.observed[:, columns]).all())

    def near(self, states: Array) -> Array:
        """Return positions (K, C), the first components, with those far from all true ones blanked, lest these become
        a dot in the figure.
        """
        columns, shown = states.shape[-1], states.copy()
        dimensions = min(3, columns)
        points = self.observed[:, :columns].reshape(-1, dimensions)
        points = points[np.isfinite(points).all(axis=-1)]
        if not len(points):
            return shown
        low, high = points.min(axis=0), points.max(axis=0)
        reach = _REACH * float((high - low).max())
        for begin in range(0, columns, dimensions):
            part = shown[:, begin : begin + dimensions]
            part[((part < low - reach) | (part > high + reach)).any(axis=-1)] = np.nan
        return shown


@dataclass(frozen=True)
class Group:
    """Columns that share a panel.

    Attributes
    ----------
    name
        The panel's.
    columns
        Which columns, by index.
    labels
        Their names inside the panel.
    unit
        Their unit.
    """

    name: str
    columns: tuple[int, ...]
    labels: tuple[str, ...]
    unit: str


def group_columns(
    columns: Sequence[str], units: Sequence[str], chosen: Array, *, bodies: Sequence[str] = ()
) -> list[Group]:
    """Put the `chosen` columns, (D,), into panels: a body's coordinates into one, other columns each into its own.

    Parameters
    ----------
    columns, units
        Of the D components.
    chosen
        Which of them to show.
    bodies
        Names of the bodies, where the columns are r1_x, ..., vn_z.
    """
    indices = [int(index) for index in np.flatnonzero(chosen)]
    if not bodies:
        return [Group(plain(columns[index]), (index,), (columns[index],), units[index]) for index in indices]
    found: dict[str, list[int]] = {}
    for index in indices:
        found.setdefault(columns[index].partition("_")[0], []).append(index)
    return [
        Group(
            plain(bodies[int(key[1:]) - 1]) + (", velocity" if key[0] == "v" else ""),
            tuple(members),
            tuple(columns[index].partition("_")[2] for index in members),
            units[members[0]],
        )
        for key, members in found.items()
    ]


def distances(comparison: Comparison) -> list[Array]:
    """Return how far each body's fitted positions are from its true ones, (T,).

    Coordinates that were never observed do not count. A distance of 0, as at a known start, is NaN: logarithmic axes
    cannot show it.
    """
    found = []
    for body in range(comparison.bodies):
        columns = slice(3 * body, 3 * body + 3)
        true, fitted = comparison.observed[:, columns], comparison.fitted[:, columns]
        known = np.isfinite(true).any(axis=0)
        distance = np.linalg.norm((fitted - true)[:, known], axis=-1)
        found.append(np.where(distance > 0, distance, np.nan))
    return found


def interpolate(t: Array, y: Array) -> Callable[[Array], Array]:
    """Return the cubic spline through states, a function of times: NaN outside of the times with finite states.

    Parameters
    ----------
    t
        Times, (T,), rising or falling.
    y
        States, (T, D); rows with a value that is not finite are passed over.
    """
    from scipy.interpolate import CubicSpline, make_interp_spline

    known = np.isfinite(y).all(axis=-1)
    times, states = t[known], y[known]
    if len(times) == 0:
        return lambda at: np.full((*np.shape(at), y.shape[-1]), np.nan)
    if times[0] > times[-1]:
        times, states = times[::-1], states[::-1]
    spline: Any = CubicSpline(times, states) if len(times) > 3 else make_interp_spline(times, states, k=len(times) - 1)

    def states_at(at: Array) -> Array:
        inside = (times[0] <= at) & (at <= times[-1])
        found: Array = np.where(inside[..., None], spline(np.clip(at, times[0], times[-1])), np.nan)
        return found

    return states_at


def elapsed(t: Array, now: float) -> Array:
    """Return which of the times (T,) have come by `now`, whichever way time runs."""
    found: Array = (t <= now) if t[-1] >= t[0] else (t >= now)
    return found
