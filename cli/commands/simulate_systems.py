"""``physode simulate threebody``, ``vanderpol`` and ``lotkavolterra``: systems that physode solves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.commands.simulate_shared import (
    count_option,
    output_options,
    solver_options,
    span_option,
    times_options,
    together,
    write,
)
from physode.cli.numbers import POSITIVE, Real

if TYPE_CHECKING:
    from physode.datasets import Trajectories
    from physode.typing import Progress

__all__ = ["PRESETS", "lotkavolterra", "threebody", "vanderpol"]

# The systems' own tables would have to import torch for `--help`; tests/cli/test_simulate.py holds the two together.
PRESETS = {"three_body": ("aca", "figure-eight", "pythagorean"), "van_der_pol": ("aca", "classic", "relaxation")}


def _options(file: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of every system; `file` is the default output."""
    return together(count_option(), span_option, times_options(), solver_options(), output_options(file))


@click.command()
@click.option(
    "--preset", type=click.Choice(PRESETS["three_body"]), help="A known problem; other options replace its parts."
)
@click.option(
    "--masses",
    type=Real(finite=False),
    nargs=3,
    metavar="M1 M2 M3",
    help="Masses; drawn between 0.5 and 1.5 by default.",
)
@click.option("--softening", type=Real(0, finite=False), help="Length below which attraction is weakened.")
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
      physode simulate threebody --n 100 --times random --points 200
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_three_body

        return simulate_three_body(**arguments, progress=progress)

    write(simulate, out, force=force, as_json=as_json)


@click.command()
@click.option(
    "--preset", type=click.Choice(PRESETS["van_der_pol"]), help="A known problem; other options replace its parts."
)
@click.option("--mu", type=Real(finite=False), help="Strength of the damping  [default: 1]")
@click.option(
    "--threshold", type=Real(finite=False), help="Value of y1^2 at which the damping changes sign  [default: 1]"
)
@_options("vanderpol.h5")
def vanderpol(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """Van der Pol's oscillator, dy2/dt = mu (threshold - y1^2) y2 - y1.

    Initial states are drawn between -3 and 3. The preset "aca" is Eqs. 81-82 of the ACA paper.

    \b
    Examples:
      physode simulate vanderpol --preset aca
      physode simulate vanderpol --mu 5 --n 100 --noise 0.01
      physode simulate vanderpol --n 1000 --times random --points 100 --noise 0.05
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_van_der_pol

        return simulate_van_der_pol(**arguments, progress=progress)

    write(simulate, out, force=force, as_json=as_json)


@click.command()
@click.option("--alpha", type=POSITIVE, default=1.5, show_default=True, help="Growth of the prey.")
@click.option("--beta", type=POSITIVE, default=1.0, show_default=True, help="Loss of prey to predators.")
@click.option("--delta", type=POSITIVE, default=1.0, show_default=True, help="Gain of predators from prey.")
@click.option("--gamma", type=POSITIVE, default=3.0, show_default=True, help="Death of the predators.")
@click.option(
    "--vary",
    type=Real(0, below=1, finite=False),
    default=0.0,
    show_default=True,
    help="Share by which the rates of a trajectory differ from these at most.",
)
@_options("lotkavolterra.h5")
def lotkavolterra(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """Predators and prey, dx/dt = x (alpha - beta y), dy/dt = y (delta x - gamma).

    Initial numbers are drawn between 0.5 and 5.

    \b
    Examples:
      physode simulate lotkavolterra
      physode simulate lotkavolterra --n 1000 --times random --points 100 --noise 0.1
      physode simulate lotkavolterra --n 100 --vary 0.2 --out varied.h5
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_lotka_volterra

        return simulate_lotka_volterra(**arguments, progress=progress)

    write(simulate, out, force=force, as_json=as_json)
