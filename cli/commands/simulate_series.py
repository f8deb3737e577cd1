"""``physode simulate periodic`` and ``hopper``: series that need none of physode's solvers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.commands.simulate_shared import count_option, output_options, span_option, times_options, write
from physode.cli.numbers import POSITIVE, Whole

if TYPE_CHECKING:
    from physode.datasets import Trajectories
    from physode.typing import Progress

__all__ = ["hopper", "periodic"]


@click.command()
@click.option(
    "--amplitude",
    type=POSITIVE,
    nargs=2,
    default=(0.5, 1.5),
    show_default=True,
    metavar="LOW HIGH",
    help="Bounds of the amplitude.",
)
@click.option(
    "--frequency",
    type=POSITIVE,
    nargs=2,
    default=(0.2, 0.8),
    show_default=True,
    metavar="LOW HIGH",
    help="Bounds of the frequency, in turns a unit of time.",
)
@count_option(1000)
@span_option
@times_options(points=100, times="random")
@output_options("periodic.h5", noise=0.05)
def periodic(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """Sinusoids of random amplitude, frequency and phase, at random times.

    The span ends at 5 unless told otherwise. What each series was made from stands in the file, under /params.

    \b
    Examples:
      physode simulate periodic
      physode simulate periodic --n 200 --points 50 --noise 0
      physode simulate periodic --frequency 0.5 0.5 --times grid --out one_frequency.h5
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_periodic

        return simulate_periodic(**arguments)

    write(simulate, out, force=force, as_json=as_json)


@click.command()
@click.option(
    "--steps",
    type=Whole(2, largest=1_000_000, why="the hopper has long come to rest; give less"),
    default=200,
    show_default=True,
    help="States of the run a sequence is cut from.",
)
@count_option(10_000)
@times_options(points=100)
@output_options("hopper.h5")
def hopper(out: Path, force: bool, as_json: bool, **arguments: Any) -> None:
    """A planar hopper, thrown, without motors (needs MuJoCo).

    It has the measures of the DeepMind Control Suite's. Initial states are drawn as by Rubanova et al. (2019). A
    sequence is cut from a run at a random place, or with --times random made of random states of it; times are in
    seconds, 0.005 apart. To install MuJoCo: pip install 'physode[mujoco]'

    \b
    Examples:
      physode simulate hopper
      physode simulate hopper --n 2000 --seed 1 --out test.h5
      physode simulate hopper --n 500 --steps 400 --points 200
    """

    def simulate(progress: Progress | None) -> Trajectories:
        from physode.simulators import simulate_hopper

        return simulate_hopper(**arguments, progress=progress)

    write(simulate, out, force=force, as_json=as_json)
