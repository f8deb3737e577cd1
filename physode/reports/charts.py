"""Charts as Plotly takes them, from arrays: series with bands, paths in a plane, residuals, losses, profiles.

A trace has at most some thousand points, each with six digits, so that a report stays small. Text is escaped, for
Plotly reads tags in names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physode import json_values
from physode.plotting.style import COLOURS
from physode.reports.blocks import Chart

Array = NDArray[np.float64]
Trace = dict[str, Any]
Shape = dict[str, Any]

MOST_POINTS = 1500
_DIGITS = 6
_SHADE, _FAINT = "rgba(128,128,128,0.13)", "#8A8A8A"
_BINS = 25


def text(name: str) -> str:
    """Return a name as Plotly shows it letter by letter."""
    return escape(name, quote=False)


def axis(name: str, unit: str = "") -> str:
    """Return the title of an axis."""
    return text(f"{name} ({unit})" if unit else name)


def numbers(values: ArrayLike) -> list[float | None]:
    """Return numbers with six digits; None for what is not finite."""
    rounded = [float(f"{value:.{_DIGITS}g}") for value in np.asarray(values, np.float64).reshape(-1)]
    result: list[float | None] = json_values.plain(rounded)
    return result


def thinned(count: int, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Return places of at most some of `count` points, evenly spread, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def line(x: ArrayLike, y: ArrayLike, name: str, *, colour: int | str = 0, dash: str = "solid", **more: Any) -> Trace:
    """Return a curve, thinned."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rows = thinned(len(x))
    return {
        "type": "scatter", "mode": "lines", "name": text(name), "x": numbers(x[rows]), "y": numbers(y[rows]),
        "line": {"color": _colour(colour), "dash": dash, "width": 2}, **more,
    }  # fmt: skip


def points(x: ArrayLike, y: ArrayLike, name: str, *, colour: int | str = _FAINT, **more: Any) -> Trace:
    """Return points, those that are finite, thinned."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    rows = rows[thinned(len(rows))]
    size = 7 if len(rows) <= 150 else 5
    return {
        "type": "scatter", "mode": "markers", "name": text(name), "x": numbers(x[rows]), "y": numbers(y[rows]),
        "marker": {"color": _colour(colour), "size": size, "opacity": 0.55}, **more,
    }  # fmt: skip


def band(x: ArrayLike, low: ArrayLike, high: ArrayLike, name: str, *, colour: int = 0, strength: float = 0.2) -> Trace:
    """Return the area between two curves, as one polygon; where an end is not finite there is none."""
    x, low, high = (np.asarray(each, np.float64) for each in (x, low, high))
    rows = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    rows = rows[thinned(len(rows), MOST_POINTS // 2)]
    red, green, blue = (int(COLOURS[colour][i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "scatter", "mode": "lines", "name": text(name), "fill": "toself", "hoverinfo": "skip",
        "x": numbers(np.concatenate([x[rows], x[rows][::-1]])),
        "y": numbers(np.concatenate([low[rows], high[rows][::-1]])),
        "line": {"width": 0}, "fillcolor": f"rgba({red},{green},{blue},{strength})",
    }  # fmt: skip


def spans(start: float, until: float, end: float, *, before: str = "training", after: str = "beyond") -> dict[str, Any]:
    """Return the layout's shapes and words that shade what was fitted and name what lies beyond, if anything does."""
    shapes: list[Shape] = [
        {
            "type": "rect", "xref": "x", "yref": "paper", "x0": start, "x1": until, "y0": 0, "y1": 1,
            "fillcolor": _SHADE, "line": {"width": 0}, "layer": "below",
        }
    ]  # fmt: skip
    parts = [(start, before)] if until == end else [(start, before), (until, after)]
    words = [
        {
            "x": x, "y": 1.0, "xref": "x", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "text": text(word),
            "showarrow": False, "font": {"size": 11, "color": _FAINT},
        }
        for x, word in parts
    ]  # fmt: skip
    return {"shapes": shapes, "annotations": words}


def titled(x: str, y: str, *, log_y: bool = False, log_x: bool = False, equal: bool = False) -> dict[str, Any]:
    """Return a layout with titles of axes; `equal` keeps both at one scale."""
    found: dict[str, Any] = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    if log_y:
        found["yaxis"]["type"] = "log"
    if log_x:
        found["xaxis"]["type"] = "log"
    if equal:
        found["yaxis"] |= {"scaleanchor": "x", "constrain": "domain"}
        found["xaxis"] |= {"constrain": "domain"}
    return found


def histogram(values: ArrayLike, title: str, x: str, *, density: Sequence[float] = ()) -> Chart:
    """Return how values are distributed, as bars, beside a normal density of mean 0 where its deviation is given."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    heights, edges = np.histogram(finite, bins=min(_BINS, max(5, int(np.sqrt(len(finite))))), density=True)
    middles = 0.5 * (edges[1:] + edges[:-1])
    traces: list[Trace] = [
        {
            "type": "bar", "x": numbers(middles), "y": numbers(heights), "name": "residuals",
            "marker": {"color": COLOURS[5]}, "width": numbers(np.diff(edges) * 0.95),
        }
    ]  # fmt: skip
    for deviation in density:
        grid = np.linspace(edges[0], edges[-1], 200)
        bell = np.exp(-0.5 * (grid / deviation) ** 2) / (deviation * np.sqrt(2.0 * np.pi))
        traces.append(line(grid, bell, "normal", colour=1))
    return Chart(title, tuple(traces), {**titled(x, "density"), "bargap": 0})


def by_epoch(history: Sequence[Mapping[str, Any]], quantity: str, title: str, y: str, *, log: bool = True) -> Chart:
    """Return a quantity of a history by epoch: stages, where there are several, in colours of their own."""
    traces = []
    stages = sorted({int(entry.get("stage", 1)) for entry in history})
    for place, stage in enumerate(stages):
        rows = [entry for entry in history if int(entry.get("stage", 1)) == stage and entry.get(quantity) is not None]
        x, values = [entry["epoch"] for entry in rows], [entry[quantity] for entry in rows]
        name = f"stage {stage}" if len(stages) > 1 else y
        trace = line(x, values, name, colour=place)
        traces.append({**trace, "mode": "lines+markers", "marker": {"size": 5}} if len(x) <= 60 else trace)
    positive = log and all(entry[quantity] > 0 for entry in history if entry.get(quantity) is not None)
    return Chart(title, tuple(traces), titled("epoch", text(y), log_y=positive))


def compared(curves: Mapping[str, tuple[Sequence[float], Sequence[float | None]]], title: str, y: str) -> Chart:
    """Return one curve a run, by epoch."""
    traces = tuple(
        line(x, [np.nan if value is None else value for value in values], name, colour=place)
        for place, (name, (x, values)) in enumerate(curves.items())
    )
    every = [value for _, values in curves.values() for value in values if value is not None]
    return Chart(title, traces, titled("epoch", text(y), log_y=bool(every) and min(every) > 0), wide=True)


def _colour(colour: int | str) -> str:
    return colour if isinstance(colour, str) else COLOURS[colour % len(COLOURS)]
