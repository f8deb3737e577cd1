"""``physode info``: what this installation is and can do."""

from __future__ import annotations

import click

from physode.cli.options import json_option
from physode.cli.show import show_json, show_pairs, show_table

__all__ = ["command"]


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Show versions, devices, threads, compilers and methods of this installation.

    \b
    Examples:
      physode info
      physode info --json
    """
    from physode.cli.environment import describe

    found = describe()
    if as_json:
        show_json(found)
        return
    methods = found.pop("methods")
    devices = found.pop("devices")
    for title, pairs in found.items():
        show_pairs(title, pairs)
    show_table("devices", ["name", "description", "memory (GiB)"], [list(device.values()) for device in devices])
    show_table("methods", ["name", "kind", "order", "steps"], [list(method.values()) for method in methods])
