"""``physode train``: models of many samples, each kind of data a command of its own."""

from __future__ import annotations

import click

from physode.cli.commands import train_images, train_series

__all__ = ["command"]


class _Kinds(click.Group):
    """A group whose commands are kinds of data; anything else is a path to images."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in self.commands:
            return super().resolve_command(ctx, args)
        late = [word for word, before in zip(args[1:], args, strict=False) if word in self.commands and _free(before)]
        if args and args[0].startswith("-") and late:
            raise click.UsageError(f"the kind of data comes first: physode train {late[0]} {args[0]} ...", ctx)
        return "images", self.commands["images"], args


def _free(word: str) -> bool:
    """Whether what follows a word is not its value: the word is a value itself, or a flag."""
    return not word.startswith("-") or word in ("--json", "--force", "--compile")


@click.group(cls=_Kinds, context_settings={"ignore_unknown_options": True})
def command() -> None:
    """Train a classifier of images, or a model of irregular time series.

    Images are CIFAR's binary archives, folders with a folder a class, a Galaxy Zoo table with its images, or HDF5 that
    `physode prepare` or `physode simulate galaxies` made. On several GPUs or machines: torchrun -m physode train ...
    Series are tables, HDF5, or folders of records, see: physode train timeseries --help

    \b
    Examples:
      physode train galaxy
      physode train cifar10 --data cifar-10-binary.tar.gz --device cuda --precision bfloat16
      physode train my-images/ --model node18 --epochs 20
      physode train --resume runs/galaxy-node
      physode train timeseries hopper.h5 --observed 0.1
      torchrun --nproc-per-node 4 -m physode train cifar10 --device cuda
      physode train galaxy --help
    """


for _kind, _help in train_images.KINDS.items():
    command.add_command(train_images.make(_kind, _help), _kind)
command.add_command(train_series.command, "timeseries")
