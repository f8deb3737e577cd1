"""The ``physode`` command: finds its commands when they are called, and turns errors into one line."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

import physode
from physode.cli.errors import reporting

__all__ = ["COMMANDS", "cli", "main"]

COMMANDS = {
    "simulate": "Make trajectories of a system, or images of galaxies.",
    "prepare": "Read images of any kind, and write them to HDF5.",
    "fit": "Fit a right-hand side to observed trajectories.",
    "sweep": "Fit or simulate thousands of members, in one table.",
    "model": "Make, check and show files of your own equations.",
    "train": "Train a classifier of images, or a model of time series.",
    "evaluate": "Test trained models.",
    "predict": "Apply a trained classifier to new images.",
    "export": "Export a trained classifier to PyTorch's or ONNX's programs.",
    "plot": "Draw the figures of a run.",
    "report": "Write runs as one HTML page.",
    "profile": "Profile the likelihood of a fitted constant.",
    "animate": "Animate a run: fitted against true trajectories.",
    "inspect": "Describe a file of trajectories or images.",
    "gradcheck": "Check gradients of your own right-hand side.",
    "info": "Show versions, devices and methods.",
    "cache": "Show or empty the folder of compiled kernels.",
    "reproduce": "Reproduce figures and tables of the papers.",
}
"""One line of help by name; the command itself is ``physode.cli.commands.<name>.command``."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"physode.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with reporting(debug=False):
            return super().parse_args(ctx, _debug_first(args))

    def invoke(self, ctx: click.Context) -> Any:
        with reporting(debug=bool(ctx.params["debug"])):
            return super().invoke(ctx)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the traceback of an error. May stand anywhere on the line.")
@click.version_option(physode.__version__, prog_name="physode")
def cli(debug: bool) -> None:
    """Differential equations from neural networks to pure physics.

    \b
    Examples:
      physode simulate threebody --preset aca
      physode fit --rhs physical
      physode inspect threebody.h5
      physode COMMAND --help
    """


def main() -> None:
    """Run the command line; the entry point of the console script."""
    _hold_standard_streams()
    cli(prog_name="physode")


def _hold_standard_streams() -> None:
    """Open what the caller has closed of stdin, stdout and stderr: else a data file would get its number.

    What a library then prints would be written into the data.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def _debug_first(args: list[str]) -> list[str]:
    """Put ``--debug`` before the command, where click expects it, from wherever the user has put it."""
    end = args.index("--") if "--" in args else len(args)
    if "--debug" not in args[:end]:
        return args
    return ["--debug", *(word for word in args[:end] if word != "--debug"), *args[end:]]
