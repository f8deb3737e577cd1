"""``physode animate``: a fit in motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from physode.cli.numbers import POSITIVE, SECONDS, Real, Whole
from physode.cli.options import force_option, json_option
from physode.cli.paths import FITTED, PATH
from physode.cli.show import cell, show_json
from physode.progress import progress_bar


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Width and height with an x between them."""
    if value is None:
        return None
    width, _, height = value.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{value!r} is not of the form WIDTHxHEIGHT, such as 800x720.")
    return int(width), int(height)


@click.command()
@click.argument("run", type=FITTED)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["mp4", "gif"]),
    help="MP4 needs ffmpeg.  [default: by the name of --out, else mp4 where ffmpeg is found]",
)
@click.option("--out", type=PATH, metavar="FILE", help="The file.  [default: RUN/figures/animation.FORMAT]")
@click.option("--fps", type=Whole(1, 60), default=20, show_default=True, help="Frames a second; a GIF's to 50.")
@click.option("--seconds", type=SECONDS, default=10.0, show_default=True, help="Length of the animation.")
@click.option(
    "--tail", type=POSITIVE, metavar="TIME", help="Length of the trails.  [default: a sixth of the data's span]"
)
@click.option(
    "--rotate",
    type=Real(largest=1e6, why="the camera would only whirl; give less", finite=False),
    default=60.0,
    show_default=True,
    help="Degrees by which the camera goes round bodies.",
)
@click.option("--size", callback=_size, metavar="WIDTHxHEIGHT", help="Size in pixels.  [default: by system]")
@click.option(
    "--dpi", type=Whole(1), default=100, show_default=True, help="Pixels an inch: how large text and lines are."
)
@click.option(
    "--data", type=PATH, multiple=True, help="The data, where they are no longer where the fit found them; repeat it."
)
@click.option("--trajectory", type=Whole(0), default=0, show_default=True, help="Which one to show.")
@force_option
@json_option
def command(
    run: Path,
    kind: str | None,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Animate RUN, the folder of a fit: the fitted against the true trajectory.

    Bodies move in space with their trails, and below grows their distance from the true ones; a system of two
    components moves through its phase portrait; others are series over time. The training span is shaded, and what
    lies beyond it is said to.

    \b
    Examples:
      physode animate runs/threebody-physical
      physode animate runs/threebody-physical --format gif --seconds 5 --rotate 0
      physode animate runs/vanderpol-physical --out oscillation.mp4 --size 1280x720 --fps 30
    """
    from physode.fitting import open_run
    from physode.plotting import animate_run

    with progress_bar("animating") as progress:
        path = animate_run(open_run(run), format=kind, overwrite=force, progress=progress, **settings)
    if as_json:
        show_json({"run": str(run), "animation": str(path)})
    else:
        click.echo(cell(str(path)))
