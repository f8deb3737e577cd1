"""``physode plot``: a run's figures."""

from __future__ import annotations

from pathlib import Path

import click

from physode.cli.options import PATH, force_option, json_option
from physode.cli.show import show_json
from physode.plotting.names import FIGURES

__all__ = ["command"]


@click.command()
@click.argument("run", type=PATH)
@click.option("--only", type=click.Choice(FIGURES), multiple=True, help="Draw this figure; repeat it.  [default: all]")
@click.option(
    "--data", type=PATH, multiple=True, help="The data, where they are no longer where the fit found them; repeat it."
)
@click.option("--trajectory", type=click.IntRange(0), default=0, show_default=True, help="Which one to draw.")
@force_option
@json_option
def command(
    run: Path, only: tuple[str, ...], data: tuple[Path, ...], trajectory: int, force: bool, as_json: bool
) -> None:
    """Draw the figures of RUN, the folder of a fit, into RUN/figures.

    Those that suit the run: fitted against true trajectories (orbits in space for bodies, the phase portrait, else
    series over time), the loss and the solver's steps by epoch, fitted constants by epoch, residuals over time and
    their distribution, the drift of energy, momentum and angular momentum, and for hybrid models the learnt residual.

    \b
    Examples:
      physode plot runs/threebody-physical
      physode plot runs/threebody-physical --only residuals --only constants --force
    """
    from physode.plotting import draw_run
    from physode.training import open_run

    paths = draw_run(open_run(run), data=data, trajectory=trajectory, only=only, overwrite=force)
    if as_json:
        show_json({"run": str(run), "figures": [str(path) for path in paths]})
    else:
        for path in paths:
            click.echo(path)
