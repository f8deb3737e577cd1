"""``physode simulate``: trajectories of a known system, or images of galaxies, into an HDF5 file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.commands import simulate_galaxies
from physode.cli.options import (
    ADAPTIVE_METHODS,
    PATH,
    POSITIVE,
    force_option,
    json_option,
    method_option,
    seed_option,
    tolerance_options,
)
from physode.cli.progress import progress_bar
from physode.cli.show import show_json, show_pairs, show_table

if TYPE_CHECKING:
    from physode.datasets import Trajectories
    from physode.typing import Progress

__all__ = ["PRESETS", "command"]

# The systems' own tables would have to import torch for `--help`; tests/cli/test_simulate.py holds the two together.
PRESETS = {"three_body": ("aca", "figure-eight", "pythagorean"), "van_der_pol": ("aca", "classic", "relaxation")}
_ROWS = 10

Simulate = Callable[["Progress | None"], "Trajectories"]


@click.group()
def command() -> None:
    """Make trajectories of a system, or images of galaxies, and write them to HDF5.

    \b
    Examples:
      physode simulate threebody
      physode simulate threebody --preset aca --noise 1e-4
      physode simulate vanderpol --n 100 --mu 2 --out vdp.h5
      physode simulate galaxies --count 1000
      physode simulate threebody --help
    """


command.add_command(simulate_galaxies.command, "galaxies")


def _options(file: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of every simulation; `file` is the default output."""
    decorators = [
        click.option("--n", type=click.IntRange(1), default=1, show_default=True, help="Number of trajectories."),
        click.option("--t-end", type=POSITIVE, help="End of the time span, which begins at 0."),
        click.option("--points", type=click.IntRange(2), help="Number of output times, both ends included."),
        click.option(
            "--noise",
            type=click.FloatRange(0.0),
            default=0.0,
            show_default=True,
            help="Standard deviation of the noise on every observed value.",
        ),
        seed_option,
        method_option("dopri8", methods=ADAPTIVE_METHODS),
        tolerance_options(rtol=1e-10, atol=1e-12),
        click.option(
            "--max-steps", type=click.IntRange(1), default=20_000, show_default=True, help="Most steps a trajectory."
        ),
        click.option("--out", type=PATH, default=file, show_default=True, help="The file to write."),
        force_option,
        json_option,
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


@command.command()
@click.option(
    "--preset", type=click.Choice(PRESETS["three_body"]), help="A known problem; other options replace its parts."
)
@click.option("--masses", type=float, nargs=3, metavar="M1 M2 M3", help="Masses; drawn between 0.5 and 1.5 by default.")
@click.option("--softening", type=click.FloatRange(0.0), help="Length below which attraction is weakened.")
@click.option(
    "--encounter-distance", type=POSITIVE, help="Report pairs nearer than this  [default: 0.1 of their first distance]"
)
@_options("threebody.h5")
def threebody(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """Three bodies under gravitation, in AU, years and solar masses.

    Initial states are drawn: bound, with the centre of mass at rest. Close encounters are reported.

    \b
    Examples:
      physode simulate threebody
      physode simulate threebody --preset aca --t-end 2 --points 2000
      physode simulate threebody --masses 1 2 0.5 --n 10 --seed 3 --out ten.h5
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_three_body

        return simulate_three_body(**arguments, progress=progress)

    _write(simulate, out, force=force, as_json=as_json)


@command.command()
@click.option(
    "--preset", type=click.Choice(PRESETS["van_der_pol"]), help="A known problem; other options replace its parts."
)
@click.option("--mu", type=float, help="Strength of the damping  [default: 1]")
@click.option("--threshold", type=float, help="Value of y1^2 at which the damping changes sign  [default: 1]")
@_options("vanderpol.h5")
def vanderpol(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """Van der Pol's oscillator, dy2/dt = mu (threshold - y1^2) y2 - y1.

    Initial states are drawn between -3 and 3. The preset "aca" is Eqs. 81-82 of the ACA paper.

    \b
    Examples:
      physode simulate vanderpol --preset aca
      physode simulate vanderpol --mu 5 --n 100 --noise 0.01
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_van_der_pol

        return simulate_van_der_pol(**arguments, progress=progress)

    _write(simulate, out, force=force, as_json=as_json)


def _write(simulate: Simulate, out: Path, *, force: bool, as_json: bool) -> None:
    from physode.datasets import write_trajectories
    from physode.datasets.atomic import replacing

    # The name is claimed before the work, so that a file in the way is found at once and not after it.
    with replacing(out, overwrite=force) as part:
        with progress_bar("simulating") as progress:
            trajectories = simulate(progress)
        write_trajectories(part, trajectories)
    summary = _summary(out, trajectories)
    if as_json:
        show_json(summary)
    else:
        _show(summary)


def _summary(out: Path, trajectories: Trajectories) -> dict[str, Any]:
    import numpy as np

    attrs, params = trajectories.attrs, trajectories.params
    measured = {}
    if "min_distance" in params:
        measured = {
            "min_distance": float(np.nanmin(params["min_distance"])),
            "max_energy_drift": float(np.nanmax(params["energy_drift"])),
        }
    return {
        "path": str(out),
        "system": attrs["system"],
        "trajectories": len(trajectories),
        "times": int(trajectories.t.size),
        "span": [float(trajectories.t[0]), float(trajectories.t[-1])],
        "noise": attrs["noise"],
        **measured,
        "close_encounters": attrs.get("close_encounters", []),
        "failures": attrs["failures"],
    }


def _show(summary: dict[str, Any]) -> None:
    encounters, failures = summary.pop("close_encounters"), summary.pop("failures")
    pairs = {name.replace("_", " "): value for name, value in summary.items() if name != "path"}
    show_pairs(summary["path"], {**pairs, "close encounters": len(encounters), "failed": len(failures)})
    for title, rows in (("close encounters", encounters), ("ended early (NaN from there on)", failures)):
        if rows:
            shown = f"{title}, the first {_ROWS} of {len(rows)}" if len(rows) > _ROWS else title
            show_table(shown, list(rows[0]), [list(row.values()) for row in rows[:_ROWS]])
