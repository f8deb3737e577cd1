"""``physode plot``: a run's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from physode.cli.data import read_as_run
from physode.cli.numbers import Whole
from physode.cli.open_run import draw_open
from physode.cli.options import force_option, json_option
from physode.cli.paths import FITTED, PATH
from physode.cli.show import cell, show_json
from physode.cli.tables import SectionedCommand, merged, say_understood, series_table_options
from physode.plotting import ESTIMATE_FIGURES, FIGURES, SERIES_FIGURES

if TYPE_CHECKING:
    from physode.datasets import TableOptions


@click.command(cls=SectionedCommand)
@click.argument("run", type=FITTED)
@click.option(
    "--only",
    type=click.Choice(tuple(dict.fromkeys(FIGURES + SERIES_FIGURES + ESTIMATE_FIGURES))),
    multiple=True,
    help="Draw this figure; repeat it.",
)
@click.option(
    "--data", type=PATH, multiple=True, help="The data, where they are no longer where the fit found them; repeat it."
)
@click.option("--trajectory", type=Whole(0), default=0, show_default=True, help="Which one to draw.")
@force_option
@json_option
@series_table_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run: Path,
    only: tuple[str, ...],
    data: tuple[Path, ...],
    trajectory: int,
    table: TableOptions,
    force: bool,
    as_json: bool,
) -> None:
    """Draw the figures of RUN, the folder of a fit or of a training on series, into RUN/figures.

    Those that suit a fit: fitted against true trajectories (orbits in space for bodies, the phase portrait, else
    series over time), the loss and the solver's steps by epoch, fitted constants by epoch, residuals over time and
    their distribution, the drift of energy, momentum and angular momentum, and for hybrid models the learnt residual.

    Of an equation of your own: fit (data and curves with bands), residuals, starts, correlations; and, where --only
    asks for it, states.

    Of a model of series: interpolation and extrapolation of test series, latent paths, samples from the prior, the
    loss and the test error by epoch. Those of classifiers are drawn by: physode evaluate

    \b
    Examples:
      physode plot runs/threebody-physical
      physode plot runs/threebody-physical --only residuals --only constants --force
      physode plot runs/swing --only states
      physode plot runs/hopper-latent-ode --only interpolation
      physode plot runs/cases-physical --data moved/cases.csv --dayfirst
    """
    from physode.training.folder import kind_of_run

    kind = kind_of_run(run)
    given_trajectory = ctx.get_parameter_source("trajectory") is click.core.ParameterSource.COMMANDLINE
    if kind == "estimate":
        if given_trajectory:
            raise click.UsageError("--trajectory has no part in the figures of an equation of your own.")
        paths = draw_open(run, data=data, table=table, only=only, force=force)
    elif kind == "series":
        if given_trajectory or len(data) > 1:
            which = "a second --data" if len(data) > 1 else "--trajectory"
            raise click.UsageError(f"{which} has no part in the figures of a model of series.")
        paths = _draw_series(run, only=only, data=data[0] if data else None, table=table, force=force)
    else:
        from physode.fitting import open_run
        from physode.plotting import draw_run

        fit = open_run(run)
        paths = draw_run(
            fit,
            data=data,
            options=merged(fit.table, table),
            trajectory=trajectory,
            only=only,
            overwrite=force,
            tell=say_understood,
        )
    if as_json:
        show_json({"run": str(run), "figures": [str(path) for path in paths]})
    else:
        for path in paths:
            click.echo(cell(str(path)))


def _draw_series(
    path: Path, *, only: tuple[str, ...], data: Path | None, table: TableOptions, force: bool
) -> list[Path]:
    from physode.plotting.series import draw_series_run
    from physode.series import open_series_run
    from physode.series.evaluation import held_out_series, trained_forecaster

    run = open_series_run(path)
    series = held_out_series(run, read_as_run(run, data, table))
    forecaster = trained_forecaster(run, device="cpu")
    return list(draw_series_run(run, forecaster, series, run.figures, only=only, overwrite=force).values())
