"""``physode cache``: the compiled kernels on disk."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from physode.cli.options import json_option
from physode.cli.show import show_json, show_pairs

__all__ = ["command", "describe"]


@click.group()
def command() -> None:
    """Show or empty the folder of compiled kernels.

    Solves that are repaid by it run as kernels, compiled once and kept: in $PHYSODE_CACHE, else in physode/kernels of
    your folder for caches ($XDG_CACHE_HOME, ~/.cache). The kernels used longest ago go when there are 256 MiB of them.

    \b
    Examples:
      physode cache show
      physode cache clear
      PHYSODE_COMPILE=never physode fit ...     # no kernels at all
    """


@command.command()
@json_option
def show(as_json: bool) -> None:
    """Show where kernels are kept, how many, and how much they take.

    \b
    Examples:
      physode cache show
      physode cache show --json
    """
    found = describe()
    if as_json:
        show_json(found)
    else:
        show_pairs("kernels", found)


@command.command()
def clear() -> None:
    """Remove all kernels; they are compiled again when they are needed.

    \b
    Examples:
      physode cache clear
    """
    from physode.fused.cache import Cache, cache_folder

    folder = cache_folder()
    count = Cache(folder).clear()
    click.echo(f"removed {count} kernel{'' if count == 1 else 's'} from {folder}")


def describe() -> dict[str, Any]:
    """Return the folder of kernels, and what is in it."""
    from physode.fused.cache import Cache, cache_folder

    folder = cache_folder()
    entries = Cache(folder).entries()
    last = None if not entries else datetime.fromtimestamp(entries[-1][2]).isoformat(" ", "seconds")
    return {
        "folder": str(folder),
        "kernels": len(entries),
        "size (MiB)": round(sum(size for _, size, _ in entries) / 2**20, 2),
        "last used": last,
    }
