"""``physode profile``: how well data determine one fitted constant."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from physode.cli.numbers import Real, Whole
from physode.cli.open_run import profile_open
from physode.cli.options import force_option, given, json_option
from physode.cli.paths import FITTED, PATH
from physode.cli.show import precise, show_json, show_pairs, show_table
from physode.progress import showing_progress

if TYPE_CHECKING:
    from physode.fitting import Run
    from physode.fitting.profile_likelihood import Profile

__all__ = ["command"]


@click.command()
@click.argument("run", type=FITTED)
@click.argument("name")
@click.option(
    "--points",
    type=Whole(5, largest=10_001, why="each is a fit; give less"),
    default=21,
    show_default=True,
    help="At how many values to hold the constant.",
)
@click.option(
    "--range",
    "width",
    type=Real(
        above=0,
        largest=1e4,
        why="standard errors say nothing of what is so far; give less",
        smallest=1e-4,
        why_small="losses there differ by rounding only; give more",
    ),
    default=4.0,
    show_default=True,
    help="How far to go to either side at first, in standard errors.",
)
@click.option(
    "--data", type=PATH, multiple=True, help="The data, where they are no longer where the fit found them; repeat it."
)
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run: Path,
    name: str,
    points: int,
    width: float,
    data: tuple[Path, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Profile the likelihood of NAME, a constant such as mu or an element such as masses[2], that RUN has fitted.

    The constant is held at values around the fitted one, and all other unknowns are fitted again at each. The 95 %
    interval is where this makes the fit no worse than chance would; the range is widened where it reaches farther.
    Where the interval of the standard error is another, that one is not to be trusted. The figure goes into
    RUN/figures; of an equation of your own, a table goes into RUN/profiles.

    \b
    Examples:
      physode profile runs/threebody-physical masses[2]
      physode profile runs/vanderpol-physical mu --points 41 --range 6
      physode profile runs/threebody-physical masses[1] --json --force
    """
    from physode.datasets.files import check_output
    from physode.fitting import open_run
    from physode.plotting import plot_profile
    from physode.plotting.style import save
    from physode.training.folder import kind_of_run

    if kind_of_run(run) == "estimate":
        if "width" in given(ctx):
            raise click.UsageError(
                "--range has no part in a fit of an equation of your own: its profile goes on by itself"
            )
        profile_open(run, name, points=points, data=data, force=force, as_json=as_json)
        return
    opened = open_run(run)
    figure = opened.figures / f"profile_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}.png"
    check_output(figure, overwrite=force, make=True)
    found = _computed(opened, name, points=points, width=width, data=data)
    figure.parent.mkdir(exist_ok=True)
    save(plot_profile(found), figure, overwrite=force)
    if as_json:
        show_json({"run": str(run), "figure": str(figure), **found.as_dict()})
    else:
        _show(found, figure)


def _computed(run: Run, name: str, *, points: int, width: float, data: tuple[Path, ...]) -> Profile:
    from physode.fitting.profile_likelihood import profile
    from physode.fitting.state import read_checkpoint
    from physode.plotting.run import open_view

    observed = open_view(run, data=data).observed
    config = dataclasses.replace(run.config, trajectories=())  # those observed are chosen already
    best = read_checkpoint(run.path / "checkpoints" / "best.pt").best_model
    with showing_progress(f"profiling {name}") as progress:
        return profile(observed, config, name, points=points, width=width, best=best, progress=progress)


def _show(found: Profile, figure: Path) -> None:
    rows = [
        [precise(value), loss, delta, *(precise(others[index]) for others in found.others.values())]
        for index, (value, loss, delta) in enumerate(zip(found.values, found.losses, found.delta, strict=True))
    ]
    show_table(f"profile of {found.name}", [found.name, "loss", "Delta", *found.others], rows)
    parabola = found.parabola_interval or (None, None)
    show_table(
        f"95 % interval of {found.name}{f' ({found.unit})' if found.unit else ''}",
        ["by", "from", "to"],
        [["profile likelihood", *map(precise, found.interval)], ["standard error", *map(precise, parabola)]],
    )
    pairs = {
        "fitted": precise(found.fitted),
        "standard error": found.standard_error,
        "threshold of Delta": f"{found.threshold:.6g}, of {found.statistic}",
        "the standard error tells the same": found.parabola_holds,
        "figure": str(figure),
    }
    show_pairs("profile likelihood", {**pairs, **{f"note {i}": note for i, note in enumerate(found.notes, start=1)}})
