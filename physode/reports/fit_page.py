"""A fit of a system, a network or a hybrid, as a report shows it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physode.datasets import TableOptions
from physode.errors import DataError
from physode.fit_status import FAILED, MAX_EPOCHS, OUT_OF_TIME, status_of
from physode.fitting.data import observed_columns
from physode.fitting.run import Run
from physode.plotting.comparison import Group, elapsed, group_columns
from physode.plotting.run import RunView as FitView
from physode.plotting.run import open_view
from physode.reports.blocks import Block, Cell, Chart, Gallery, Matrix, Picture, RunView, Tab, Table, Text, Verdict
from physode.reports.charts import axis, by_epoch, histogram, line, points, spans, text, titled
from physode.reports.common import citations, origin_tab, settings_of, short
from physode.summary import rounded

_MOST_GROUPS, _MOST_STATES, _MOST_NAMES = 12, 24, 40
_FIRST = 2  # charts beside the constants
_MOST_PROFILES, _LARGEST_FIGURE = 12, 400_000  # bytes


def fit_view(run: Run, *, data: Sequence[Path] = (), options: TableOptions | None = None) -> RunView:
    """Return a fit's run as a report shows it; what its data would show is left out, in words, where they are gone."""
    history = run.history()
    try:
        report = run.report()
    except DataError as error:
        return _unfinished(run, history, error)
    verdict = _verdict(report)
    try:
        drawn = _drawn(open_view(run, data=data, options=options), report)
    except DataError as error:
        drawn = [Tab("Series", (Text("No figures of the data", (f"{error}.",)),))]
    tabs = [Tab("Overview", (*_numbers(report), *overviewed(drawn[0].blocks))), *drawn]
    if correlations := _correlations(report.get("correlations")):
        tabs.append(Tab("Correlations", (correlations,)))
    tabs.append(Tab("Convergence", tuple(_convergence(history, report))))
    if profiles := _profiles(run.figures):
        tabs.append(Tab("Profiles", (profiles,)))
    tabs.append(_origin(run))
    values = {each["name"]: rounded(each["fitted"], each.get("standard_error")) or "" for each in report["constants"]}
    return RunView(
        run.path.name, _what(run), verdict, _facts(report), tuple(tabs), settings_of(run.config.as_dict()),
        values, _curve(history),
    )  # fmt: skip


def _what(run: Run) -> str:
    config = run.config
    of = config.system or "the data's own system"
    fitted = {"physical": f"constants of {of}", "hybrid": f"{of} and a network for what it lacks"}
    how = {"lm": "Levenberg-Marquardt", "lbfgs": "L-BFGS"}.get(config.optimizer or "", config.optimizer)
    return f"Fit of {fitted.get(config.rhs, f'a network ({config.rhs})')}, by {how}"


def _unfinished(run: Run, history: Sequence[Mapping[str, Any]], error: DataError) -> RunView:
    verdict = Verdict.of(failed=True, status="not ended", sentence=f"{error}.")
    tabs = (Tab("Convergence", tuple(_convergence(history, {"constants": []}))), _origin(run))
    return RunView(run.path.name, _what(run), verdict, {}, tabs, settings_of(run.config.as_dict()), {}, _curve(history))


def _verdict(report: Mapping[str, Any]) -> Verdict:
    ended = str(report.get("ended", ""))
    status = str(report.get("status") or status_of(ended))
    doubts = [str(note) for note in report.get("notes") or ()]
    if status in (MAX_EPOCHS, OUT_OF_TIME):
        doubts.insert(0, "the search was cut short: more epochs may lead to a better fit")
    return Verdict.of(failed=status in FAILED, status=status, sentence=ended, doubts=doubts)


def _facts(report: Mapping[str, Any]) -> dict[str, str]:
    spans_by_name = {each["span"]: each for each in report["errors"]}
    found = {"mean squared error, training": short(report.get("loss"), 4)}
    if beyond := spans_by_name.get("beyond"):
        found["mean squared error, beyond"] = short(beyond["mse"], 4)
    if report.get("chi_square") is not None:
        found["chi-square a degree of freedom"] = short(report["chi_square"], 4)
    return {**found, "epochs": str(report.get("epochs", "")), "free numbers": str(report.get("parameters", ""))}


def _numbers(report: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    for title, rows in (("Constants", report["constants"]), ("Initial states", report.get("initial_states") or [])):
        if rows:
            note = f"The first {_MOST_STATES} of {len(rows)}." if len(rows) > _MOST_STATES else ""
            blocks.append(_fitted(title, rows[:_MOST_STATES], note))
    heads = ["span", "from", "to", "values", "mean squared error", "against states without noise"]
    errors = [
        [
            each["span"], short(each["start"]), short(each["end"]), str(each["values"]),
            short(each["mse"], 4) or "the prediction ended", short(each.get("mse_clean"), 4),
        ]
        for each in report["errors"]
    ]  # fmt: skip
    return [*blocks, Table.of("Errors", heads, errors)]


def overviewed(blocks: Sequence[Block]) -> list[Chart]:
    """Return the first charts among some blocks, to stand beside the numbers, too."""
    return [replace(block, repeated=True) for block in blocks if isinstance(block, Chart)][:_FIRST]


def _fitted(title: str, rows: Sequence[Mapping[str, Any]], note: str) -> Table:
    heads = ["name", "fitted", "± standard error", "unit", "95 % from", "to", "true", "error in standard errors"]
    cells = []
    for each in rows:
        value, error, true = each["fitted"], each.get("standard_error"), each.get("true")
        low, high = each.get("interval") or (None, None)
        pull = None if not error or true is None or value is None else (value - true) / error
        cells.append(
            [
                each["name"], rounded(value, error), short(error, 2), each.get("unit") or "", rounded(low, error),
                rounded(high, error), rounded(true, error), short(pull, 2),
            ]
        )  # fmt: skip
    return Table.of(title, heads, cells, note=note)


def correlation_matrix(names: Sequence[str], rows: Sequence[Sequence[float | None]]) -> Matrix:
    """Return correlations as a shaded matrix; strong ones are dark."""
    shown, more = list(names[:_MOST_NAMES]), len(names) > _MOST_NAMES
    cells = tuple(
        tuple(Cell("" if value is None else f"{value:.2f}", value or 0.0) for value in row[: len(shown)])
        for row in rows[: len(shown)]
    )
    note = "Near 1 or -1 the data determine a combination of two numbers far better than either."
    if more:
        note = f"The first {_MOST_NAMES} of {len(names)}. {note}"
    return Matrix("Correlations of what was fitted", tuple(shown), tuple(shown), cells, note=note)


def _correlations(found: Mapping[str, Any] | None) -> Matrix | None:
    if not found or len(found.get("names") or ()) < 2:
        return None
    return correlation_matrix(found["names"], found["rows"])


def _drawn(view: FitView, report: Mapping[str, Any]) -> list[Tab]:
    shown, config = view.comparison, view.run.config
    chosen = observed_columns(tuple(view.observed.columns), config.loss)
    seen = np.isfinite(view.observed.y[view.trajectory]).any(axis=0)
    columns, units = view.observed.columns, view.observed.units
    layout = spans(float(shown.t[0]), shown.train_until, float(shown.t[-1]))
    count = len(view.predicted)
    note = f"Trajectory 1 of {count}." if count > 1 else ""
    groups = group_columns(columns, units, chosen | seen, bodies=view.names)
    series = [_series(view, group, layout) for group in groups[:_MOST_GROUPS]]
    residuals = _residuals(view, groups, chosen & seen, layout)
    tabs = [Tab("Series", (*series, *([Text("", (note,))] if note else [])))]
    if paths := _paths(view):
        tabs.append(Tab("Orbits" if view.bodies else "Phase plane", tuple(paths)))
    return [*tabs, Tab("Residuals", tuple(residuals))] if residuals else tabs


def _name(view: FitView, group: Group) -> str:
    """Return a group's name letter by letter: panels of other figures have theirs made safe for mathematics."""
    return group.name.replace("\\$", "$") if view.names else view.observed.columns[group.columns[0]]


def _series(view: FitView, group: Group, layout: Mapping[str, Any]) -> Chart:
    shown, traces = view.comparison, []
    t, fitted = shown.fine
    observed = np.asarray(view.observed.y[view.trajectory], np.float64)
    for place, (column, label) in enumerate(zip(group.columns, group.labels, strict=True)):
        several = len(group.columns) > 1
        traces.append(points(shown.t, observed[:, column], f"{label} observed" if several else "observed",
                             colour=place if several else "#8A8A8A"))  # fmt: skip
        traces.append(line(t, fitted[:, column], f"{label} fitted" if several else "fitted", colour=place))
    name = _name(view, group)
    axes = titled(axis("time", shown.time_unit), axis("" if len(group.columns) > 1 else name, group.unit))
    return Chart(name, tuple(traces), {**layout, **axes})


def _paths(view: FitView) -> list[Chart]:
    """Return paths in planes: two columns against one another, or the positions of bodies, or of one point in space."""
    shown = view.comparison
    columns, units = list(shown.columns), list(shown.units)
    planes: tuple[tuple[int, int], ...] = ((0, 1), (0, 2))
    if view.bodies:
        starts = [3 * body for body in range(shown.bodies)]
        names = [shown.name(body).replace("\\$", "$") for body in range(shown.bodies)]
        letters = ["x", "y", "z"]
    elif len(columns) in (2, 3):
        starts, names, letters = [0], [""], columns
        planes = planes[: len(columns) - 1]
    else:
        return []
    _, fine = shown.fine
    fitted, observed = shown.near(fine), np.asarray(shown.observed, np.float64)
    inside, charts = shown.inside(shown.fine[0]), []
    for one, other in planes:
        traces = []
        for place, (start, name) in enumerate(zip(starts, names, strict=True)):
            what = f"{name}, " if name else ""
            a, b = start + one, start + other
            traces.append(points(observed[:, a], observed[:, b], f"{what}{shown.observed_is}", colour=place))
            for part, dash, word in ((inside, "solid", "fitted"), (~inside, "dot", "beyond training")):
                if part.any():
                    traces.append(line(fitted[part, a], fitted[part, b], what + word, colour=place, dash=dash))
        layout = titled(axis(letters[one], units[one]), axis(letters[other], units[other]), equal=view.bodies)
        charts.append(Chart(f"{letters[other]} against {letters[one]}", tuple(traces), {**layout, "height": 460}))
    return charts


def _residuals(view: FitView, groups: Sequence[Group], counted: Any, layout: Mapping[str, Any]) -> list[Chart]:
    shown, sigma = view.comparison, view.sigma
    left = view.residuals if sigma is None else view.residuals / sigma
    inside, charts = elapsed(shown.t, shown.train_until), []
    for group in [each for each in groups if any(counted[list(each.columns)])][: _MOST_GROUPS // 2]:
        name, unit = _name(view, group), "standard deviations" if sigma is not None else group.unit
        several = len(group.columns) > 1
        traces = [
            points(shown.t, left[:, column], label if several else "residual", colour=place)
            for place, (column, label) in enumerate(zip(group.columns, group.labels, strict=True))
        ]
        axes = titled(axis("time", shown.time_unit), axis("observed minus fitted", unit))
        charts.append(Chart(f"Residuals of {name}", tuple(traces), {**layout, **axes}))
        values = left[inside][:, list(group.columns)]
        finite = values[np.isfinite(values)]
        if len(finite) > 4 and np.ptp(finite) > 0:
            deviation = 1.0 if sigma is not None else float(np.sqrt(np.mean(finite**2)))
            title = f"How residuals of {name} are distributed, training"
            charts.append(histogram(finite, title, axis("residual", unit), density=[deviation]))
    return charts


def _convergence(history: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> list[Chart]:
    if not history:
        return []
    charts = [by_epoch(history, "loss", "Loss by epoch, stage by stage", "loss")]
    true = {each["name"]: each.get("true") for each in report["constants"]}
    names = list(dict.fromkeys(name for entry in history for name in entry.get("constants") or {}))
    for name in names[:_MOST_GROUPS]:
        rows = [entry for entry in history if (entry.get("constants") or {}).get(name)]
        epochs = [entry["epoch"] for entry in rows]
        width = min(len(rows[0]["constants"][name]), 8)
        traces = []
        for i in range(width):
            label = name if width == 1 else f"{name}[{i + 1}]"
            values = [np.nan if (value := entry["constants"][name][i]) is None else value for entry in rows]
            traces.append(line(epochs, values, label, colour=i))
            if (known := true.get(label)) is not None:
                traces.append(line([epochs[0], epochs[-1]], [known, known], f"{label}, true", colour=i, dash="dot"))
        charts.append(Chart(f"{name} by epoch", tuple(traces), titled("epoch", text(name))))
    return charts


def _curve(history: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[float, ...], tuple[float | None, ...]] | None:
    if not history:
        return None
    return "loss", tuple(entry["epoch"] for entry in history), tuple(entry.get("loss") for entry in history)


def _profiles(folder: Path) -> Gallery | None:
    """Return the figures of profile likelihoods that were drawn already."""
    files = sorted(folder.glob("profile_*.png"))[:_MOST_PROFILES]
    pictures = tuple(
        Picture(f"data:image/png;base64,{b64encode(file.read_bytes()).decode()}", file.stem.removeprefix("profile_"))
        for file in files
        if file.stat().st_size <= _LARGEST_FIGURE
    )
    return Gallery("Profile likelihoods", pictures, large=True) if pictures else None


def _origin(run: Run) -> Tab:
    config = run.config
    gradient = None if config.optimizer == "lm" else config.gradient
    cited = citations(config.optimizer, gradient, method=config.method)
    return origin_tab(run, settings_of(config.as_dict()), run.data, run.digest, cited)
