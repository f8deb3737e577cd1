"""``physode simulate``: trajectories of a known system, toy series, images of galaxies, or a PEtab problem."""

from __future__ import annotations

import click

from physode.cli.commands import simulate_galaxies, simulate_petab, simulate_series, simulate_systems

__all__ = ["command"]


class SystemGroup(click.Group):
    """A group that has a command for every physical system, made from its declarations when it is called.

    Names are the systems'; underscores and hyphens may be left out, as in the older commands' names. One that ends in
    .yaml is that of a PEtab problem.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._derived()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if simulate_petab.is_problem(cmd_name):
            return simulate_petab.problem_command(cmd_name)
        name = _joined(cmd_name)
        derived = {_joined(each): each for each in self._derived()}
        if name in derived:
            return simulate_systems.derived_command(derived[name])
        return self.commands.get(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        derived = self._derived()
        rows = [
            (name, derived[name] if name in derived else self.commands[name].get_short_help_str(limit=200))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _derived(self) -> dict[str, str]:
        """Return the systems that have no command of their own, with a line about each."""
        return {
            name: about
            for name, about in simulate_systems.physical_systems().items()
            if _joined(name) not in self.commands
        }


def _joined(name: str) -> str:
    return name.replace("_", "").replace("-", "")


@click.group(cls=SystemGroup)
def command() -> None:
    """Make trajectories of a system, or images of galaxies, and write them to HDF5.

    Of every system of physode, and of MuJoCo's hopper; periodic makes sinusoids. The .yaml file of a PEtab problem, in
    place of a system, is simulated at its nominal parameters, into PEtab's simulation table.

    \b
    Examples:
      physode simulate threebody
      physode simulate threebody --preset aca --noise 1e-4
      physode simulate vanderpol --n 100 --mu 2 --out vdp.h5
      physode simulate lotkavolterra --n 100 --times random --noise 0.1
      physode simulate pendulum --length 0.5 --damping 0.1
      physode simulate periodic
      physode simulate hopper --n 2000
      physode simulate galaxies --count 1000
      physode simulate problem.yaml
      physode simulate threebody --help
    """


command.add_command(simulate_systems.threebody)
command.add_command(simulate_systems.vanderpol)
command.add_command(simulate_systems.lotkavolterra)
command.add_command(simulate_series.periodic)
command.add_command(simulate_series.hopper)
command.add_command(simulate_galaxies.command, "galaxies")
