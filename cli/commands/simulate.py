"""``physode simulate``: trajectories of a known system, toy series, or images of galaxies, into an HDF5 file."""

from __future__ import annotations

import click

from physode.cli.commands import simulate_galaxies, simulate_series, simulate_systems

__all__ = ["command"]


@click.group()
def command() -> None:
    """Make trajectories of a system, or images of galaxies, and write them to HDF5.

    Systems are three bodies, van der Pol's oscillator, predators and prey (lotkavolterra), and MuJoCo's hopper;
    periodic makes sinusoids.

    \b
    Examples:
      physode simulate threebody
      physode simulate threebody --preset aca --noise 1e-4
      physode simulate vanderpol --n 100 --mu 2 --out vdp.h5
      physode simulate lotkavolterra --n 100 --times random --noise 0.1
      physode simulate periodic
      physode simulate hopper --n 2000
      physode simulate galaxies --count 1000
      physode simulate threebody --help
    """


command.add_command(simulate_systems.threebody)
command.add_command(simulate_systems.vanderpol)
command.add_command(simulate_systems.lotkavolterra)
command.add_command(simulate_series.periodic)
command.add_command(simulate_series.hopper)
command.add_command(simulate_galaxies.command, "galaxies")
