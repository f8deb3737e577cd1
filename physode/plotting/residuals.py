"""What a fit leaves unexplained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.plotting.comparison import Group, elapsed
from physode.plotting.style import COLOURS, INK, MUTED, finish, headline, label, mark_training, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = np.ndarray[Any, Any]

_ROOM = 1.25  # of the largest residual in training: where a panel ends


def plot_residuals(
    t: Array,
    residuals: Array,
    groups: Sequence[Group],
    *,
    train_until: float,
    standardised: bool = False,
    time_unit: str = "",
    most: int = 6,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    r"""Draw residuals over time, and beside them how those of the training span are distributed.

    The curve is the normal density: of mean 0 and variance 1 for residuals :math:`(y - \hat y) / \sigma`, else of mean
    0 and the residuals' own mean square. The panels' height goes by the training span; larger residuals beyond it
    become triangles at the edge.

    Parameters
    ----------
    t
        Times, (T,).
    residuals
        Observed minus fitted, (T, D); NaN where nothing was observed.
    groups
        Which columns share a panel.
    train_until
        End of the training span.
    standardised
        Whether the residuals are in units of their standard errors.
    time_unit
        Unit of `t`.
    most
        How many groups at most.
    path
        Where to write the figure, if anywhere.

    Raises
    ------
    ValueError
        If there are no groups.
    """
    if not groups:
        raise ValueError("`groups` must hold at least one group of columns, got none")
    shown = groups[:most]
    inside = elapsed(t, train_until)
    with styled():
        figure = new_figure(9.5, 1.0 + 1.8 * len(shown))
        panels = figure.subplots(len(shown), 2, sharex="col", sharey="row", squeeze=False, width_ratios=(4, 1))
        for group, (left, right) in zip(shown, panels, strict=True):
            values = residuals[:, list(group.columns)]
            limit = _limit(values, inside)
            mark_training(left, float(t[0]), train_until)
            _draw_points(left, t, values, group, limit)
            _draw_density(right, values[inside], limit, standardised=standardised)
            left.set(ylim=(-limit, limit), title=group.name)
            left.set_ylabel("residual / $\\sigma$" if standardised else label("residual", group.unit))
            left.margins(x=0.01)
        panels[-1, 0].set_xlabel(label("time", time_unit))
        panels[-1, 1].set_xlabel("density")
        panels[0, 1].set_title("Training span")
        more = f", the first {len(shown)} of {len(groups)}" if len(groups) > len(shown) else ""
        what = "Observed minus fitted, in standard errors" if standardised else "Observed minus fitted"
        headline(figure, what + more)
        return finish(figure, path)


def _limit(values: Array, inside: Array) -> float:
    """Return where a panel ends: at the largest residual in training and some room."""
    for part in (values[inside], values):
        known = np.abs(part[np.isfinite(part)])
        if known.size and known.max() > 0:
            return _ROOM * float(known.max())
    return 1.0


def _draw_points(axes: Any, t: Array, values: Array, group: Group, limit: float) -> None:
    size = 4.0 if len(t) <= 100 else 2.5 if len(t) <= 500 else 1.5
    axes.axhline(0.0, color=INK, lw=0.8)
    for index, name in enumerate(group.labels):
        colour, column = COLOURS[index % len(COLOURS)], values[:, index]
        axes.plot(
            t,
            np.where(np.abs(column) <= limit, column, np.nan),
            "o",
            ms=size,
            mew=0,
            color=colour,
            label=name,
            clip_on=False,
        )
        for sign, marker in ((1, "^"), (-1, "v")):
            far = t[sign * column > limit]
            axes.plot(far, np.full(len(far), 0.95 * sign * limit), marker, ms=4, mew=0, color=colour, alpha=0.5)
    if len(group.labels) > 1:
        dots = [line for line in axes.get_lines() if line.get_label() in group.labels]
        axes.legend(
            handles=dots,
            loc="lower right",
            bbox_to_anchor=(1.01, 0.96),
            ncols=3,
            markerscale=2,
            handletextpad=0.0,
            columnspacing=0.8,
        )
    known = np.abs(values[np.isfinite(values)])
    if known.size and known.max() > limit:
        axes.set_title(
            f"triangles: beyond the frame, to {known.max():.2g}", loc="center", size=9, color=MUTED, weight="normal"
        )


def _draw_density(axes: Any, values: Array, limit: float, *, standardised: bool) -> None:
    known = values[np.isfinite(values) & (values != 0)]  # a state given as exact has no residual to count
    axes.grid(visible=False)
    if known.size < 2:
        return
    rms = float(np.sqrt(np.mean(known**2)))
    bins = int(np.clip(np.sqrt(known.size), 8, 40))
    axes.hist(
        known, bins=bins, range=(-limit, limit), density=True, orientation="horizontal", color=COLOURS[5], alpha=0.6
    )
    scale = 1.0 if standardised else rms
    height = np.linspace(-limit, limit, 200)
    axes.plot(np.exp(-0.5 * (height / scale) ** 2) / (scale * np.sqrt(2 * np.pi)), height, color=INK, lw=1.2)
    axes.text(0.97, 0.9, f"rms {rms:.2g}", transform=axes.transAxes, ha="right", fontsize=9)
