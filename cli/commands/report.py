"""``physode report``: runs as one HTML page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from physode.cli.options import force_option, json_option
from physode.cli.paths import FITTED, PATH, SOURCE
from physode.cli.show import cell, show_json
from physode.cli.tables import SectionedCommand, table_options
from physode.progress import showing_progress

if TYPE_CHECKING:
    from physode.datasets import TableOptions

__all__ = ["command"]


@click.command(cls=SectionedCommand)
@click.argument("runs", nargs=-1, required=True, type=FITTED, metavar="RUN...")
@click.option("-o", "--out", type=PATH, default="report.html", show_default=True, help="The page to write.")
@click.option(
    "--data",
    type=SOURCE,
    multiple=True,
    help="The data of RUN, where they are no longer where it found them; repeat it.",
)
@force_option
@json_option
@table_options
def command(
    runs: tuple[Path, ...], out: Path, data: tuple[Path, ...], table: TableOptions, force: bool, as_json: bool
) -> None:
    """Write a page that shows RUN, the folder of a fit or of a training, to whoever has a browser.

    The page stands alone: one file of one to some megabytes, which loads nothing from anywhere. It begins with the
    verdict: whether the run converged, or why it is not to be trusted. Then come fitted constants with their errors and
    correlations, series and residuals to zoom into with the training span shaded, orbits, the loss stage by stage,
    profiles that were computed; of a classifier that was evaluated, the confusion matrix, whose numbers lead to images
    by name, classes and calibration; of a model of series, forecasts with bands. Settings, origin, the command to copy
    and what to cite stand at the end. Several runs stand side by side.

    \b
    Examples:
      physode report runs/threebody-physical
      physode report runs/threebody-physical --out orbits.html --force
      physode report runs/galaxy-node runs/galaxy-resnet --out classifiers.html
      physode report runs/cases-physical --data moved/cases.csv --dayfirst
    """
    from physode.datasets.files import check_output
    from physode.reports.page import MOST_RUNS, write_report
    from physode.reports.views import view_of

    if len(runs) > MOST_RUNS:
        raise click.UsageError(f"a page shows {MOST_RUNS} runs at most, not {len(runs)}; write several")
    if data and len(runs) > 1:
        raise click.UsageError("--data names the data of one RUN; report such runs one by one.")
    check_output(out, overwrite=force)
    views, options = [], table if table.given else None
    with showing_progress("reading runs") as tell:
        for done, run in enumerate(runs):
            share = partial(_tell_part, tell, done, len(runs))
            views.append(view_of(run, data=data, options=options, progress=share))
            share(1.0)
    size = write_report(out, views, overwrite=force)
    if as_json:
        told = [{"run": str(run), "status": view.verdict.status, "verdict": view.verdict.level}
                for run, view in zip(runs, views, strict=True)]  # fmt: skip
        show_json({"report": str(out), "bytes": size, "runs": told})
        return
    for run, view in zip(runs, views, strict=True):
        click.echo(cell(f"{run}: {view.verdict.status}, {view.verdict.words}"))
    click.echo(cell(f"{out}, {size / 1e6:.1f} MB"))


def _tell_part(tell: Callable[[float], object], done: int, count: int, part: float) -> None:
    """Tell the share of all runs that are read, from that of one."""
    tell((done + part) / count)
