"""The panels of Figs. 8 and 13-23, predicted over true paths in space, and all errors beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.comparison_plot import colour_of
from physode.experiments.report import Result, Row
from physode.experiments.table5.aggregate import EXAMPLE, OWN
from physode.experiments.table5.config import MODELS, cell_name
from physode.plotting.style import INK, MUTED, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

_BODIES = 3
_SHOWN = 0  # the body of the overview
_REACH = 0.5  # of a true path's extent: how far beyond it a predicted one is followed
_WIDE = 8  # panels in a row of the overview: the paper's columns
_SMALLEST = 1e-20  # error that an axis of logarithms shows: 0 has no place on it


def draw(result: Result) -> dict[str, Figure]:
    """Draw all errors (``errors``), one body by every model (Fig. 8), and all bodies by each (Figs. 13-20).

    Predictions are the accurate ones, of the first seed's fit where nothing else is said: of the published example
    where the model is fitted to it, else of a system of our own; of the latter ODE-ACA's by seed (Figs. 21-23).
    """
    series, config = result.series, result.config
    seeds = range(config["seed"], config["seed"] + config["repeats"])
    first = seeds[0]
    rows = {(row["model"], row["recipe"], row["data"]): row for row in result.rows}
    figures = {}
    with styled():
        if any(isinstance(row[f"seed {seed}"], float) for row in result.rows for seed in seeds if _is_model(row)):
            figures["errors"] = _errors(result, seeds)
        for name, data, keys in (("overview", OWN, config["models"]), ("overview-example", EXAMPLE, config["example"])):
            shown = [key for key in keys if cell_name(key, first, example=data == EXAMPLE) in series]
            if shown:
                figures[name] = _overview(result, shown, first, data)
            for key in shown:
                if data == EXAMPLE or key not in config["example"]:
                    figures[key] = _bodies(result, rows[_row_of(key, data)], first, key, data)
        for seed in seeds[1:]:
            if cell_name("ode-aca", seed) in series:
                row = rows[_row_of("ode-aca", OWN)]
                figures[f"ode-aca-seed-{seed}"] = _bodies(result, row, seed, "ode-aca", OWN)
    return figures


def _row_of(key: str, data: str) -> tuple[str, str, str]:
    return MODELS[key].label, MODELS[key].recipe, data


def _is_model(row: Row) -> bool:
    return bool(row["recipe"] != "-")


def _errors(result: Result, seeds: Sequence[int]) -> Figure:
    """Draw every run's error as a point, the mean as a line, the paper's mean and standard deviation beside them."""
    from matplotlib.lines import Line2D

    groups = [[row for row in result.rows if row["data"] == data] for data in (EXAMPLE, OWN)]
    groups = [rows for rows in groups if rows]
    height = 1.7 + 0.2 * sum(len(rows) for rows in groups)
    figure = new_figure(8.4, height)
    all_axes: Any = figure.subplots(
        len(groups), 1, sharex=True, squeeze=False, height_ratios=[len(rows) for rows in groups]
    )
    for axes, rows in zip(all_axes[:, 0], groups, strict=True):
        for place, row in enumerate(rows):
            _draw_errors(axes, place, row, seeds)
        constant = rows[0]["MSE, mean of coordinates"]
        axes.axvline(constant, color=MUTED, lw=1.0, ls=(0, (4, 2)))
        axes.set_yticks(range(len(rows)), [_line_of(row) for row in rows], fontsize=7)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xscale("log")
        axes.set_title(rows[0]["data"], loc="left", fontsize=9)
    until, end = (f"{result.config[name]:g}" for name in ("train_until", "t_end"))
    all_axes[-1, 0].set_xlabel(f"MSE of a coordinate on [0, {end}]")
    low, high = all_axes[-1, 0].get_xlim()
    all_axes[-1, 0].set_xlim(max(low, 0.3 * _SMALLEST), min(high, 1e6))
    title = f"Errors, trained on [0, {until}], predicted to {end}"
    figure.suptitle(_quick(result, title), x=0.01, ha="left", weight="bold")
    handles = [
        Line2D([], [], color=INK, marker="o", ls="", ms=4, label="one run"),
        Line2D([], [], color=INK, marker="|", ls="", ms=9, label="mean of the runs"),
        Line2D([], [], color=INK, marker="d", mfc="none", lw=1.0, ms=5, label="the paper, standard deviation"),
        Line2D([], [], color=MUTED, lw=1.0, ls=(0, (4, 2)), label="the mean position"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _line_of(row: Row) -> str:
    return f"{row['model']}, {row['recipe']}" if _is_model(row) else str(row["model"])


def _draw_errors(axes: Any, place: int, row: Row, seeds: Sequence[int]) -> None:
    colour = colour_of(row["model"])
    values = [row[f"seed {seed}"] for seed in seeds]
    known = [max(value, _SMALLEST) for value in values if isinstance(value, float)]
    axes.plot(known, [place - 0.12] * len(known), "o", color=colour, ms=3.5, alpha=0.8)
    if row["MSE, mean of coordinates"] is not None:
        axes.plot([row["MSE, mean of coordinates"]], [place - 0.12], "|", color=colour, ms=9)
    if row["paper"] is not None:
        mean, spread = row["paper"], row["paper's standard deviation"]
        axes.plot([mean - spread, mean + spread], [place + 0.22] * 2, color=INK, lw=1.0)
        axes.plot([mean], [place + 0.22], "d", mfc="white", mec=INK, ms=4)


def _overview(result: Result, keys: list[str], seed: int, data: str) -> Figure:
    columns = min(_WIDE, len(keys))
    lines = -(-len(keys) // columns)
    figure = new_figure(max(2.2 * columns, 5.0), 2.6 * lines + 0.9)
    truth = _truth(result, seed, data)
    for place, key in enumerate(keys, start=1):
        space: Any = figure.add_subplot(lines, columns, place, projection="3d")
        predicted = result.series[cell_name(key, seed, example=data == EXAMPLE)]
        _draw_path(space, truth, predicted, _SHOWN, colour_of(MODELS[key].label))
        space.set_title(f"{MODELS[key].label}\n{MODELS[key].recipe}", fontsize=8)
    _finish(figure, result, f"Body {_SHOWN + 1} by every model, {data}, seed {seed}")
    return figure


def _bodies(result: Result, row: Row, seed: int, key: str, data: str) -> Figure:
    true, predicted = _truth(result, seed, data), result.series[cell_name(key, seed, example=data == EXAMPLE)]
    figure = new_figure(3.4 * _BODIES, 4.0)
    for body in range(_BODIES):
        space: Any = figure.add_subplot(1, _BODIES, body + 1, projection="3d")
        _draw_path(space, true, predicted, body, colour_of(row["model"]))
        space.set_title(f"body {body + 1}", fontsize=10)
    mse = row[f"seed {seed}"]
    error = mse if isinstance(mse, str) else f"MSE of a coordinate {mse:.2g}"
    _finish(figure, result, f"{_line_of(row)}, {data}, seed {seed}: {error}", colour_of(row["model"]))
    return figure


def _truth(result: Result, seed: int, data: str) -> Array:
    return result.series["truth example" if data == EXAMPLE else f"truth seed {seed}"]


def _draw_path(space: Any, truth: Array, predicted: Array, body: int, colour: str) -> None:
    """Draw a body's true path, solid, and the predicted one, dashed, as far as it stays near."""
    columns = slice(3 * body, 3 * body + 3)
    true, near = truth[:, columns], predicted[:, columns].copy()
    low, high = true.min(0), true.max(0)
    reach = _REACH * float((high - low).max())
    near[~((near >= low - reach) & (near <= high + reach)).all(-1)] = np.nan
    space.plot(*true.T, color=MUTED, lw=1.6)
    space.plot(*near.T, color=colour, lw=1.6, ls=(0, (4, 2)))
    space.plot(*true[:1].T, "o", color=MUTED, ms=5)
    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.pane.set_facecolor("white")
        axis.set_major_locator(_few_ticks())
    for which in "xyz":
        getattr(space, f"set_{which}label")(which, labelpad=-7, fontsize=8)
    space.tick_params(labelsize=7, pad=-2)
    space.view_init(elev=24, azim=-58)
    space.set_box_aspect(None, zoom=0.9)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3)


def _quick(result: Result, title: str) -> str:
    preset = result.config["preset"]
    return title if preset == "full" else f"{title} ({preset})"


def _finish(figure: Figure, result: Result, title: str, colour: str = INK) -> None:
    from matplotlib.lines import Line2D

    config = result.config
    figure.suptitle(_quick(result, title), x=0.01, ha="left", weight="bold")
    trained = f"trained on [0, {config['train_until']:g}], predicted to {config['t_end']:g}"
    handles = [
        Line2D([], [], color=MUTED, lw=1.6, label="ground truth"),
        Line2D([], [], color=colour, lw=1.6, ls=(0, (4, 2)), label=trained),
        Line2D([], [], color=MUTED, marker="o", ls="", ms=5, label="start"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
