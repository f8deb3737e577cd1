"""Figures of results, in the project's style."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.ticker import NullFormatter

from benchmarks.race import Heat
from physode.plotting.style import COLOURS, INK, MUTED, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curves", "bars", "curves"]

OURS = COLOURS[0]


def bars(heats: Sequence[Heat], columns: int = 2) -> Figure:
    """Draw each heat's medians as bars on a logarithmic scale, physode's in colour."""
    shown = [heat for heat in heats if heat.placings]
    columns = min(columns, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    most = max((len(heat.placings) for heat in shown), default=1)
    with styled():
        figure = new_figure(6.4 * columns, rows * (1.1 + 0.27 * most))
        for place, heat in enumerate(shown):
            _bars(figure.add_subplot(rows, columns, place + 1), heat)
        return figure


def _bars(axes: Axes, heat: Heat) -> None:
    names = [placing.name for placing in heat.placings]
    medians = [placing.median * 1e3 for placing in heat.placings]
    colours = [OURS if name.startswith("physode") else MUTED for name in names]
    axes.barh(range(len(names)), medians, color=colours, height=0.68)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(medians) / 2, max(medians) * 4)
    axes.grid(False, axis="y")
    axes.set_xlabel("median time (ms)")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(textwrap.fill(heat.title, 42), fontsize=10)
    for row, median in enumerate(medians):
        text = f" {median:,.0f}" if median >= 100 else f" {median:.3g}"
        axes.annotate(text, (median, row), va="center", fontsize=8, color=INK)


@dataclass(frozen=True)
class Curves:
    """One panel of costs over a size, both logarithmic: name to points ``(size, cost)``."""

    title: str
    xlabel: str
    ylabel: str
    points: Mapping[str, Sequence[tuple[float, float]]]


def curves(panels: Sequence[Curves], columns: int = 3) -> Figure:
    """Draw the panels in rows, each with a legend beside it."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with styled():
        figure = new_figure(7.2 * columns, 4.2 * rows)
        for place, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, place + 1)
            for number, (name, points) in enumerate(panel.points.items()):
                line = "-" if name.startswith("physode") else "--"
                x, y = zip(*points, strict=True)
                axes.plot(x, y, line, marker="o", markersize=4, color=COLOURS[number % len(COLOURS)], label=name)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel(panel.xlabel)
            axes.set_ylabel(panel.ylabel)
            axes.set_title(panel.title)
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return figure
