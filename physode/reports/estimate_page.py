"""A fit of an equation of the user's own, as a report shows it: from the tables of its folder."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physode.errors import DataError
from physode.estimation.run import EstimateRun
from physode.fit_status import CONVERGED, NO_PROGRESS
from physode.json_values import read_json, read_text
from physode.reports.blocks import Block, Chart, RunView, Tab, Table, Text, Verdict
from physode.reports.charts import axis, band, histogram, line, points, spans, titled
from physode.reports.common import citations, origin_tab, settings_of, short, told
from physode.reports.fit_page import correlation_matrix, overviewed
from physode.summary import rounded

_MOST_CURVES, _MOST_PROFILES, _MOST_STARTS = 12, 12, 200
_LARGEST = 64 * 2**20  # bytes of a table
_FLOOR = 1e-4  # of -log L above the best: what is nearer is drawn there

Rows = list[dict[str, str]]


def estimate_view(run: EstimateRun) -> RunView:
    """Return an estimate's run as a report shows it."""
    settings = settings_of(run.settings)
    what = f"Fit of an equation of one's own ({told(run.settings.get('kind'))})"
    if not run.ended:
        sentence = f"The search has not ended; go on with: physode fit --resume {run.path}"
        verdict = Verdict.of(failed=True, status="not ended", sentence=sentence)
        return RunView(run.path.name, what, verdict, {}, (_origin(run, {}),), settings)
    report = read_json(run.path / "report.json", largest=_LARGEST)
    if not (isinstance(report, dict) and isinstance(report.get("constants"), list)):
        raise DataError(f"{run.path / 'report.json'} is damaged: it does not hold what a report does")
    series = _curves(run, "observable")
    tabs = [Tab("Overview", (*_numbers(report), *overviewed(series)))]
    for name, charts in (
        ("Series", series),
        ("States", _curves(run, "state")),
        ("Residuals", _residuals(run)),
    ):
        if charts:
            tabs.append(Tab(name, tuple(charts)))
    correlations = report.get("correlations")
    if isinstance(correlations, dict) and len(correlations["names"]) > 1:
        tabs.append(Tab("Correlations", (correlation_matrix(correlations["names"], correlations["rows"]),)))
    if starts := _starts(run):
        tabs.append(Tab("Starts", (starts,)))
    if profiles := _profiles(run):
        tabs.append(Tab("Profiles", tuple(profiles)))
    tabs.append(_origin(run, report))
    values = {each["name"]: rounded(each["value"], each.get("error")) or "" for each in report["constants"]}
    return RunView(run.path.name, what, _verdict(report), _facts(report), tuple(tabs), settings, values)


def _verdict(report: Mapping[str, Any]) -> Verdict:
    status = str(report.get("status") or (CONVERGED if report.get("converged") else NO_PROGRESS))
    sentence = str(report.get("ended") or report.get("reason", ""))
    doubts = [str(doubt) for doubt in report.get("doubts") or ()]
    return Verdict.of(failed=status != CONVERGED, status=status, sentence=sentence, doubts=doubts)


def _facts(report: Mapping[str, Any]) -> dict[str, str]:
    found = {"starts that met": f"{report.get('met', '')} of {report.get('starts', '')}"}
    if report.get("chi_square") is not None:
        found["chi-square a degree of freedom"] = short(report["chi_square"], 4)
    found |= {f"spread of {name}": short(value, 4) for name, value in (report.get("spreads") or {}).items()}
    found |= {"values": str(report.get("values", "")), "-log likelihood": short(report.get("loss"))}
    return {**found, "AIC": short(report.get("aic")), "BIC": short(report.get("bic"))}


def _numbers(report: Mapping[str, Any]) -> list[Block]:
    rows = [
        [
            each["name"], rounded(each["value"], each.get("error")), short(each.get("error"), 2), each.get("unit"),
            rounded(each.get("low"), each.get("error")), rounded(each.get("high"), each.get("error")),
            each.get("remark"),
        ]
        for each in report["constants"]
    ]  # fmt: skip
    heads = ["name", "value", "± standard error", "unit", "95 % from", "to", "remark"]
    notes = tuple(str(note) for note in report.get("notes") or ())
    blocks: list[Block] = [Table.of("Constants", heads, rows)]
    return [*blocks, Text("What was tested", notes)] if notes else blocks


def _read(path: Path) -> Rows:
    """Return the rows of one of the run's tables; none where it is missing."""
    if not path.is_file():
        return []
    return list(csv.DictReader(read_text(path, largest=_LARGEST).splitlines()))


def _column(rows: Rows, name: str) -> list[float]:
    try:
        return [float(row[name]) if row[name] else math.nan for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a table of the run is damaged: {error!r}") from error


def _by(rows: Rows, *names: str) -> dict[tuple[str, ...], Rows]:
    """Sort rows by some of their columns."""
    found: dict[tuple[str, ...], Rows] = {}
    for row in rows:
        found.setdefault(tuple(row.get(name, "") for name in names), []).append(row)
    return found


def _curves(run: EstimateRun, kind: str) -> list[Block]:
    curves = _by([row for row in _read(run.path / "curves.csv") if row.get("kind") == kind], "experiment", "name")
    measured = _by(_read(run.path / "residuals.csv"), "experiment", "observable")
    several, charts = len({experiment for experiment, _ in curves}) > 1, []
    for (experiment, name), rows in list(curves.items())[:_MOST_CURVES]:
        t, mean = _column(rows, "time"), _column(rows, "mean")
        traces = [
            band(t, _column(rows, "lowest"), _column(rows, "highest"), "new measurements, 95 %", colour=5),
            band(t, _column(rows, "low"), _column(rows, "high"), "mean, 95 %", colour=0, strength=0.35),
        ]
        traces = [trace for trace in traces if trace["x"]]
        data = measured.get((experiment, name), []) if kind == "observable" else []
        if data:
            traces.append(points(_column(data, "time"), _column(data, "value"), "data"))
        traces.append(line(t, mean, "fit"))
        until = max(_column(data, "time"), default=t[-1])
        title = f"{name}, {experiment}" if several else name
        layout = spans(t[0], min(until, t[-1]), t[-1], before="measured", after="extrapolated")
        charts.append(Chart(title, tuple(traces), {**layout, **titled("time", axis(name))}))
    more = len(curves) - len(charts)
    return [*charts, *([Text("", (f"{more} more curves are in curves.csv.",))] if more else [])]


def _residuals(run: EstimateRun) -> list[Block]:
    charts: list[Block] = []
    for (name,), rows in list(_by(_read(run.path / "residuals.csv"), "observable").items())[: _MOST_CURVES // 2]:
        traces = [
            points(_column(own, "time"), _column(own, "residual"), experiment or "residuals", colour=place)
            for place, ((experiment,), own) in enumerate(_by(rows, "experiment").items())
        ]
        charts.append(Chart(f"Residuals of {name}", tuple(traces), titled("time", "residual, in spreads")))
        values = np.asarray(_column(rows, "residual"))
        if len(values) > 4 and np.ptp(values[np.isfinite(values)]) > 0:
            charts.append(histogram(values, f"How residuals of {name} are distributed", "residual, in spreads",
                                    density=[1.0]))  # fmt: skip
    return charts


def _starts(run: EstimateRun) -> Chart | None:
    rows = _read(run.path / "starts.csv")[:_MOST_STARTS]
    loss = sorted(value for value in _column(rows, "loss") if math.isfinite(value)) if rows else []
    if len(loss) < 2:
        return None
    above = [max(value - loss[0], _FLOOR) for value in loss]
    traces = (points(range(1, len(above) + 1), above, "start", colour=0),)
    note = f"Starts sorted by where they ended; differences below {_FLOOR:g} are drawn there."
    return Chart("Where the starts ended", traces, titled("start", "-log L above the best", log_y=True), note=note)


def _profiles(run: EstimateRun) -> list[Chart]:
    charts = []
    for file in sorted((run.path / "profiles").glob("*.csv"))[:_MOST_PROFILES]:
        rows = _read(file)
        if not rows or "delta" not in rows[0]:
            continue
        name = next(iter(rows[0]))
        values, delta = _column(rows, name), _column(rows, "delta")
        traces = (line(values, delta, "profile", colour=0, mode="lines+markers"),
                  line([min(values), max(values)], [1.92, 1.92], "95 %", colour="#8A8A8A", dash="dot"))  # fmt: skip
        charts.append(Chart(f"Profile of {name}", traces, titled(axis(name), "-log L above the estimate")))
    return charts


def _origin(run: EstimateRun, report: Mapping[str, Any]) -> Tab:
    cited = citations("scoring", method=report.get("method"))
    data: Sequence[Any] = run.settings.get("data") or ()
    return origin_tab(run, settings_of(run.settings), [Path(str(path)) for path in data], run.digest, cited)
