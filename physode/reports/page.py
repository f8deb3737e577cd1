"""Runs as one HTML page that needs nothing else: no network, no other file, no server.

Whatever came from a file is escaped. A content security policy keeps the page from loading or sending anything. The
plotting library (Plotly's basic bundle, MIT, 1.2 MB) stands in it once, for all runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import physode
from physode import json_values
from physode.datasets.atomic_write import write_text
from physode.errors import DataError
from physode.reports.blocks import Block, Chart, RunView, Tab, Table
from physode.reports.charts import compared

__all__ = ["LARGEST", "MOST_RUNS", "page", "write_report"]

MOST_RUNS = 12
"""Of one page."""
LARGEST = 32 * 2**20
"""Bytes of a page."""
_MOST_VALUES = 40


def write_report(path: str | os.PathLike[str], runs: Sequence[RunView], *, overwrite: bool = False) -> int:
    """Write a report, which appears whole or not at all; return its size in bytes.

    Parameters
    ----------
    path
        The file, by habit ``report.html``.
    runs
        One, or several to be seen side by side.
    overwrite
        Whether to replace a file.

    Raises
    ------
    DataError
        If the file exists, unless `overwrite` is set, or the page would be too large.
    """
    content = page(runs)
    size = len(content.encode())
    if size > LARGEST:
        raise DataError(f"the report would have {size / 2**20:.0f} MB; report fewer runs at a time")
    write_text(path, content, overwrite=overwrite)
    return size


def page(runs: Sequence[RunView]) -> str:
    """Return runs as the text of an HTML page.

    Raises
    ------
    ValueError
        If there are none, or too many.
    """
    if not 0 < len(runs) <= MOST_RUNS:
        raise ValueError(f"`runs` must be 1 to {MOST_RUNS}, got {len(runs)}")
    charts: list[dict[str, Any]] = []
    places: dict[int, int] = {}

    def placed(chart: Chart) -> int:
        """Keep what a chart draws, once; return its place among them."""
        if id(chart.traces) not in places:
            places[id(chart.traces)] = len(charts)
            charts.append({"traces": chart.traces, "layout": chart.layout})
        return places[id(chart.traces)]

    names = _distinct([run.name for run in runs])
    title = names[0] if len(names) == 1 else f"{len(names)} runs"
    body = _environment().get_template("report.html.j2").render(
        title=title, runs=list(zip(names, runs, strict=True)), together=_together(names, runs), placed=placed,
        charts=charts, embedded=_embedded, version=physode.__version__, style=_static("report.css"),
        script=_static("report.js"), library=_static("plotly-basic.min.js"),
    )  # fmt: skip
    return str(body)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names with numbers behind those that stand twice."""
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _together(names: Sequence[str], runs: Sequence[RunView]) -> Tab | None:
    """Return several runs side by side: a column each, what differs in how they were made, and one chart."""
    if len(runs) < 2:
        return None
    first = [
        ["status", *(run.verdict.status for run in runs)],
        ["verdict", *(run.verdict.words for run in runs)],
        ["what", *(run.what for run in runs)],
    ]
    differing = [row for row in _compared(runs, "settings") if len(set(row[1:])) > 1]
    blocks: list[Block] = [Table.of("Side by side", ["", *names], [*first, *_compared(runs, "facts")])]
    for what in dict.fromkeys(run.curve[0] for run in runs if run.curve is not None):
        curves = {
            name: run.curve[1:] for name, run in zip(names, runs, strict=True) if run.curve and run.curve[0] == what
        }
        blocks.append(compared(curves, f"{what[0].upper()}{what[1:]} by epoch", what))
    for name, run in zip(names, runs, strict=True):
        if (chart := run.first_chart) is not None:
            blocks.append(replace(chart, title=f"{name}: {chart.title}", repeated=True, wide=False))
    tables = (
        Table.of("Values", ["", *names], list(_compared(runs, "values"))[:_MOST_VALUES]),
        Table.of("Settings that differ", ["setting", *names], differing),
    )
    return Tab("Side by side", (*blocks, *(table for table in tables if table.rows)))


def _compared(runs: Sequence[RunView], what: str) -> Iterator[list[str]]:
    """Yield rows of a table of runs, one for each name that any of them has among its `what`."""
    parts = [getattr(run, what) for run in runs]
    for name in dict.fromkeys(name for part in parts for name in part):
        yield [name, *(part.get(name, "") for part in parts)]


def _embedded(value: Any) -> Any:
    """Return JSON that may stand inside of a script element: no text in it ends the element, or begins a comment."""
    from markupsafe import Markup

    text = json_values.dumps(value)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _static(name: str) -> Any:
    """Return one of the package's own files, as it stands."""
    from markupsafe import Markup

    return Markup(files("physode.reports").joinpath("static", name).read_text(encoding="utf-8"))


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("physode.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
