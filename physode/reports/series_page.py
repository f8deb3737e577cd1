"""A model of irregular series as a report shows it: forecasts with bands, errors, how it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.errors import DataError, PhysodeError
from physode.fit_status import DOUBTFUL, EXPLAINS_NOTHING, percent
from physode.json_values import read_json
from physode.reports.blocks import Block, Chart, RunView, Tab, Table, Text, Verdict
from physode.reports.charts import axis, band, by_epoch, line, points, spans, titled
from physode.reports.common import citations, origin_tab, settings_of, short
from physode.series.config import TASKS
from physode.series.run import SeriesRun
from physode.training.evaluation_files import evaluation_paths

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries
    from physode.series.reconstruction import Reconstruction

_MOST_SERIES, _MOST_CHANNELS, _MOST_ROWS = 6, 4, 20
_NORMAL = 1.959964  # standard deviations of a 95 % band


def series_view(run: SeriesRun, series: IrregularSeries | None, why: str = "") -> RunView:
    """Return a training's run on series as a report shows it.

    Parameters
    ----------
    run
        The training.
    series
        Those that it was trained on; None where they cannot be shown.
    why
        They cannot, in words.
    """
    history, settings = run.history(), settings_of(run.config.as_dict())
    found = _evaluation(run)
    tabs: list[Tab] = []
    if series is not None and run.has_checkpoint:
        try:
            tabs += _forecasts(run, series)
        except PhysodeError as error:
            why = f"{error}."
    if why:
        tabs.append(Tab("Forecasts", (Text("No forecasts are shown", (why,)),)))
    if found:
        tabs.append(Tab("Errors", tuple(_errors(run, found))))
    tabs += [Tab("Training", tuple(_learning(history))), _origin(run)]
    return RunView(
        run.path.name, f"Model of series, {run.config.model}", _verdict(run, history, found), _facts(history, found),
        tuple(tabs), settings, _values(found), _curve(history),
    )  # fmt: skip


def _evaluation(run: SeriesRun) -> dict[str, Any] | None:
    """Return what the evaluation of the run's own test series says; None where there is none."""
    path = evaluation_paths(run, "test")["json"]
    if not path.is_file():
        return None
    content = read_json(path, largest=1 << 26)
    if not (isinstance(content, dict) and isinstance(content.get("tasks"), dict)):
        raise DataError(f"{path} is damaged; evaluate the run again (physode evaluate --force)")
    return content


def _verdict(run: SeriesRun, history: Sequence[Mapping[str, Any]], found: Mapping[str, Any] | None) -> Verdict:
    done, asked = (history[-1]["epoch"] if history else 0), run.config.epochs
    if not history:
        return Verdict.of(failed=True, status="not trained", sentence="no epoch has ended yet")
    left = _left(run) if found else None
    of = "training series'" if left is None else "test series' own"
    left = history[-1]["test_mse"] if left is None else left
    if left is None:
        return Verdict.of(failed=True, status="diverged", sentence="the test error is not finite")
    sentence = f"{run.config.task} of the test series leaves {percent(left)} of the {of} variance"
    if left >= 1.0:
        status = EXPLAINS_NOTHING
        return Verdict.of(failed=True, status=status, sentence=f"{sentence}: their means say as much as the model")
    doubts = [f"only {done} of {asked} epochs are done"] if done < asked else []
    errors = [entry["test_mse"] for entry in history if entry["test_mse"] is not None]
    if errors and errors[-1] > 1.2 * min(errors):
        doubts.append("an earlier epoch tested better: try --checkpoint best")
    if left > DOUBTFUL:
        doubts.append("more than half of the variance is left")
    doubts += [
        f"of {task}, which it was not trained for, it knows less than the means of the training series do "
        f"(error {short(each['mse'], 3)})"
        for task, each in (found["tasks"] if found else {}).items()
        if task != run.config.task and (each["mse"] is None or each["mse"] >= 1.0)
    ]
    if found is None:
        doubts.append(f"the last epoch's test says so; errors by channel come with: physode evaluate {run.path}")
    return Verdict.of(
        failed=False, status="trained" if done >= asked else "cut short", sentence=sentence, doubts=doubts
    )


def _left(run: SeriesRun) -> float | None:
    """Return the share of the test series' squares about their channels' means that predictions leave.

    Channels count alike. None where the evaluation has no predictions of the run's task.
    """
    import h5py

    path = evaluation_paths(run, "test")["h5"]
    try:
        with h5py.File(path) as file:
            group = file[run.config.task]
            y, mean = (np.asarray(group[name], np.float64).reshape(-1, len(run.channels)) for name in ("y", "mean"))
    except (OSError, KeyError, ValueError):
        return None
    there = np.isfinite(y) & np.isfinite(mean)
    y, mean = np.where(there, y, np.nan), np.where(there, mean, np.nan)
    left, total = np.nansum((y - mean) ** 2, 0), np.nansum((y - np.nanmean(y, 0)) ** 2, 0)
    shares = left[total > 0] / total[total > 0]
    return float(shares.mean()) if len(shares) else None


def _values(found: Mapping[str, Any] | None) -> dict[str, str]:
    tasks = {} if found is None else found["tasks"]
    return {f"mean squared error, {task}": short(each["mse"], 4) for task, each in tasks.items()}


def _facts(history: Sequence[Mapping[str, Any]], found: Mapping[str, Any] | None) -> dict[str, str]:
    facts = {"epochs": str(history[-1]["epoch"])} if history else {}
    if found is None:
        return facts | ({"test error": short(history[-1]["test_mse"], 4)} if history else {})
    more = {"parameters": str(found.get("parameters", "")), "solver": str(found.get("solver") or "")}
    return {**facts, **_values(found), **{name: value for name, value in more.items() if value}}


def _forecasts(run: SeriesRun, series: IrregularSeries) -> list[Tab]:
    from physode.series.evaluation import held_out_series, trained_forecaster
    from physode.series.reconstruction import reconstruct

    testing = held_out_series(run, series)
    forecaster = trained_forecaster(run, device="cpu")
    rows = range(min(_MOST_SERIES, len(testing)))
    tabs = []
    for task in TASKS:
        found = reconstruct(forecaster, testing, replace(run.config, task=task), rows=rows)
        charts = [
            _chart(run, each, channel)
            for each in found
            for channel in range(min(len(run.channels), _MOST_CHANNELS if len(run.channels) < 8 else 2))
        ]
        tabs.append(Tab(task.capitalize(), tuple(charts)))
    return tabs


def _chart(run: SeriesRun, found: Reconstruction, channel: int) -> Chart:
    """Return what a model says of one channel of a series, beside what was observed, and what it was told of it."""
    path = found.path
    t, mean = np.asarray(path.t)[0], np.asarray(path.mean)[0, :, channel]
    std = np.asarray(path.std)[0, :, channel]
    y, told = found.y[:, channel], found.told
    traces = [
        band(t, mean - _NORMAL * std, mean + _NORMAL * std, "95 %", colour=0),
        line(t, mean, "forecast"),
        points(found.t[~told], y[~told], "not told", colour=1),
        points(found.t[told], y[told], "told", colour="#444444"),
    ]
    name, unit = run.channels[channel], run.units[channel]
    first, last = float(found.t[0]), float(found.t[-1])
    until = last if found.until is None else float(found.until)
    layout = spans(first, until, last, before="told", after="asked for") if until < last else {}
    axes = titled(axis("time", run.time_unit), axis(name, unit))
    return Chart(f"{name} of {found.name}", tuple(traces), {**layout, **axes})


def _errors(run: SeriesRun, found: Mapping[str, Any]) -> list[Block]:
    heads = ["task", "series", "values", "MSE", "MSE by range", "points not told", "log-likelihood"]
    names = ("mse", "mse_by_range", "unseen_by_range", "log_likelihood")
    rows = [
        [task, str(each.get("series", "")), str(each.get("values", "")), *(short(each.get(name), 4) for name in names)]
        for task, each in found["tasks"].items()
    ]
    tasks = found["tasks"]
    by_channel = [
        [channel, unit, *(short(tasks[task]["rmse"].get(channel), 4) for task in tasks)]
        for channel, unit in list(zip(run.channels, run.units, strict=True))[:_MOST_ROWS]
    ]
    note = f"The first {_MOST_ROWS} of {len(run.channels)} channels." if len(run.channels) > _MOST_ROWS else ""
    return [
        Table.of("Errors by task", heads, rows, note="MSE is relative to the training series' variance."),
        Table.of("Root mean square error by channel", ["channel", "unit", *tasks], by_channel, note=note),
    ]


def _learning(history: Sequence[Mapping[str, Any]]) -> list[Block]:
    if not history:
        return [Text("No epoch has ended", ("Charts of the training come with its first epoch.",))]
    return [
        by_epoch(history, "loss", "Loss by epoch", "nats a value", log=False),
        by_epoch(history, "test_mse", "Error of the test series by epoch", "MSE, of the variance"),
        by_epoch(history, "lr", "Learning rate by epoch", "learning rate"),
        by_epoch(history, "rhs_forward", "Evaluations of right-hand sides a batch", "evaluations", log=False),
    ]


def _curve(history: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[float, ...], tuple[float | None, ...]] | None:
    if not history:
        return None
    return "test error", tuple(e["epoch"] for e in history), tuple(e["test_mse"] for e in history)


def _origin(run: SeriesRun) -> Tab:
    config = run.config
    ode = "ode" in config.model
    cited = citations("latent-ode" if ode else None, (config.gradient or "aca") if ode else None, method=config.method)
    return origin_tab(run, settings_of(config.as_dict()), [run.data], run.digest, cited)


def read_series_of(run: SeriesRun, data: Path | None) -> tuple[IrregularSeries | None, str]:
    """Return the series of a run, or None and why they cannot be shown."""
    try:
        return run.read(data), ""
    except (PhysodeError, OSError) as error:
        return None, f"{error}."
