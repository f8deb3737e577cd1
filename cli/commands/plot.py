"""``physode plot``: a run's figures."""

from __future__ import annotations

from pathlib import Path

import click

from physode.cli.options import PATH, force_option, json_option
from physode.cli.show import show_json

__all__ = ["command"]


@click.command()
@click.argument("run", type=PATH)
@click.option("--data", type=PATH, help="The trajectory file, where it is no longer where the fit found it.")
@click.option("--trajectory", type=click.IntRange(0), default=0, show_default=True, help="Which one to draw.")
@force_option
@json_option
def command(run: Path, data: Path | None, trajectory: int, force: bool, as_json: bool) -> None:
    """Draw the figures of RUN, the folder of a fit, into RUN/figures.

    Fitted against true trajectories (orbits in space for bodies, the phase portrait of two components), the loss and
    the solver's steps by epoch, and the drift of energy and momentum where there are any.

    \b
    Examples:
      physode plot runs/threebody-physical
      physode plot runs/threebody-physical --force
    """
    from physode.plotting import draw_run
    from physode.training import open_run

    paths = draw_run(open_run(run), data=data, trajectory=trajectory, overwrite=force)
    if as_json:
        show_json({"run": str(run), "figures": [str(path) for path in paths]})
    else:
        for path in paths:
            click.echo(path)
