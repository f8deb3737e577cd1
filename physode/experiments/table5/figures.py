"""The panels of Figs. 8 and 13-23: fitted over true paths in space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.report import Result, Row
from physode.experiments.table5.config import MODELS, cell_name
from physode.plotting.style import COLOURS, MUTED, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

_TRUE, _FITTED = COLOURS[0], COLOURS[1]
_BODIES = 3
_SHOWN = 0  # the body of the overview
_REACH = 0.5  # of a true path's extent: how far beyond it a fitted one is followed
_WIDE = 5  # panels in a row of the overview


def draw(result: Result) -> dict[str, Figure]:
    """Draw one body by every model (Fig. 8), all bodies by each (Figs. 13-20), and ODE-ACA's by seed (Figs. 21-23).

    What is drawn is the accurate prediction, of the first seed's fit where nothing else is said; of the published
    example, too.
    """
    rows = {row["model"]: row for row in result.rows}
    series, config = result.series, result.config
    seeds = range(config["seed"], config["seed"] + config["repeats"])
    first = seeds[0]
    keys = [key for key in config["models"] if cell_name(key, first) in series]
    figures = {}
    with styled():
        if keys:
            figures["overview"] = _overview(result, keys)
        for key in keys:
            figures[key] = _bodies(result, rows[MODELS[key].label], first, "truth", cell_name(key, first))
        for seed in seeds[1:]:
            if cell_name("ode-aca", seed) in series:
                row = rows[MODELS["ode-aca"].label]
                figures[f"ode-aca-seed-{seed}"] = _bodies(result, row, seed, "truth", cell_name("ode-aca", seed))
        for key in config["example"]:
            name = cell_name(key, first, example=True)
            if name in series:
                row = rows[f"{MODELS[key].label}: published example"]
                figures[f"{key}-example"] = _bodies(result, row, first, "truth example", name)
    return figures


def _overview(result: Result, keys: list[str]) -> Figure:
    columns = min(_WIDE, len(keys))
    lines = -(-len(keys) // columns)
    figure = new_figure(2.7 * columns, 3.0 * lines + 0.7)
    for place, key in enumerate(keys, start=1):
        space: Any = figure.add_subplot(lines, columns, place, projection="3d")
        seed = result.config["seed"]
        _draw_path(space, result.series[f"truth seed {seed}"], result.series[cell_name(key, seed)], _SHOWN)
        space.set_title(MODELS[key].label, fontsize=10)
    _finish(figure, result, f"Body {_SHOWN + 1} by every model, seed {result.config['seed']}")
    return figure


def _bodies(result: Result, row: Row, seed: int, truth: str, cell: str) -> Figure:
    true = result.series[truth if truth in result.series else f"{truth} seed {seed}"]
    figure = new_figure(3.4 * _BODIES, 4.0)
    for body in range(_BODIES):
        space: Any = figure.add_subplot(1, _BODIES, body + 1, projection="3d")
        _draw_path(space, true, result.series[cell], body)
        space.set_title(f"body {body + 1}", fontsize=10)
    name = f"seed {seed}"
    mse = row[name]
    _finish(figure, result, f"{row['model']}, {name}: {mse if isinstance(mse, str) else f'MSE {mse:.2g}'}")
    return figure


def _draw_path(space: Any, truth: Array, fitted: Array, body: int) -> None:
    """Draw a body's true path, solid, and the fitted one, dashed, as far as it stays near."""
    columns = slice(3 * body, 3 * body + 3)
    true, near = truth[:, columns], fitted[:, columns].copy()
    low, high = true.min(0), true.max(0)
    reach = _REACH * float((high - low).max())
    near[~((near >= low - reach) & (near <= high + reach)).all(-1)] = np.nan
    space.plot(*true.T, color=_TRUE, lw=1.6)
    space.plot(*near.T, color=_FITTED, lw=1.6, ls=(0, (4, 2)))
    space.plot(*true[:1].T, "o", color=_TRUE, ms=5)
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


def _finish(figure: Figure, result: Result, title: str) -> None:
    from matplotlib.lines import Line2D

    config = result.config
    quick = "" if config["preset"] == "full" else f" ({config['preset']})"
    figure.suptitle(title + quick, x=0.01, ha="left", weight="bold")
    handles = [
        Line2D([], [], color=_TRUE, lw=1.6, label=f"ground truth on [0, {config['t_end']:g}]"),
        Line2D([], [], color=_FITTED, lw=1.6, ls=(0, (4, 2)), label=f"fitted on [0, {config['train_until']:g}]"),
        Line2D([], [], color=MUTED, marker="o", ls="", ms=5, label="start"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
