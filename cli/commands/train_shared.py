"""What the commands of ``physode train`` share."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import click

from physode.cli.numbers import WIDTH
from physode.cli.progress import Words
from physode.cli.show import is_terminal, visible

__all__ = [
    "given_settings",
    "numbers_between_commas",
    "refuse_beside_resume",
    "resumed_changes",
    "showing_training",
    "with_tensorboard",
]

Number = TypeVar("Number", int, float)


def numbers_between_commas(
    number: type[Number], example: str
) -> Callable[[click.Context, click.Parameter, str | None], tuple[Number, ...] | None]:
    """Return a callback that reads numbers with commas between: finite ones, or whole ones, which are widths."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Number, ...] | None:
        if value is None:
            return None
        try:
            found = tuple(number(part) for part in value.split(",") if part.strip())
        except ValueError as error:
            what = "whole numbers" if number is int else "numbers"
            raise click.BadParameter(f"{value!r} is not {what} with commas between, such as {example}.") from error
        for each in found:
            _check_number(each, value, width=number is int)
        return found

    return read


def _check_number(number: float, text: str, *, width: bool) -> None:
    if width and not 1 <= number <= WIDTH.largest:
        where = "below 1" if number < 1 else f"above {WIDTH.largest}: {WIDTH.why}"
        raise click.BadParameter(f"{text!r} has a width {where}.")
    if not math.isfinite(number):
        raise click.BadParameter(f"{text!r} has a number that is not finite.")


def given_settings(options: dict[str, Any], others: Collection[str]) -> dict[str, Any]:
    """Return the options that are settings of a training and were given."""
    return {name: value for name, value in options.items() if name not in others and value is not None}


def refuse_beside_resume(ctx: click.Context, options: dict[str, Any], *, allowed: Collection[str]) -> None:
    """Raise a usage error where options were given with ``--resume`` that do not go with it."""
    commandline = click.core.ParameterSource.COMMANDLINE
    others = [name for name in options if ctx.get_parameter_source(name) is commandline and name not in allowed]
    if others:
        raise click.UsageError(
            f"--resume and --{others[0].replace('_', '-')} do not go together; a run goes on with its own settings, "
            "but for --epochs and --device",
            ctx,
        )


def resumed_changes(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return what a resumed run is to have otherwise: more epochs, another device."""
    commandline = click.core.ParameterSource.COMMANDLINE
    changes = {"device": options["device"]} if ctx.get_parameter_source("device") is commandline else {}
    return changes if options["epochs"] is None else {**changes, "epochs": options["epochs"]}


def with_tensorboard(wanted: bool | None) -> bool:
    """Whether to write curves for TensorBoard: as asked, or where it is installed."""
    return importlib.util.find_spec("tensorboard") is not None if wanted is None else wanted


@contextmanager
def showing_training(
    name: str, *, epochs: int, told: Callable[[Any], str], shown: bool = True
) -> Iterator[tuple[Callable[[Any, Any], None], Callable[[float, str], None]]]:
    """Show how far a training is on stderr, where somebody looks.

    Parameters
    ----------
    name
        Of the run.
    epochs
        How many there will be.
    told
        What to say of an epoch that is over.
    shown
        Whether to show anything at all.

    Yields
    ------
    tuple
        What a training tells of its epochs, and of its updates.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[last]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = not (shown and is_terminal(sys.stderr))
    with (
        Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True) as bar,
        Words(f"training {name}") if hidden and shown else nullcontext() as words,
    ):
        task = bar.add_task(f"training {escape(visible(name))}", total=1.0, last="")

        def on_epoch(epoch: Any, state: Any) -> None:
            bar.update(task, completed=epoch.epoch / epochs, last=told(epoch))

        def progress(share: float, where: str) -> None:
            bar.update(task, completed=share, description=where)
            if words is not None:
                words.tell(share, where)

        yield on_epoch, progress
