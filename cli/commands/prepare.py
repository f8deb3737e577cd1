"""``physode prepare``: images of any source into one HDF5 file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.data import centre_option, conditional_option, show_classes, show_skipped, writing_images
from physode.cli.numbers import Whole
from physode.cli.options import force_option, json_option
from physode.cli.paths import PATH, SOURCE
from physode.cli.show import show_json, show_pairs
from physode.progress import progress_bar

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["KINDS", "command"]

# The library's own list would have to import h5py for `--help`; a test holds the two together.
KINDS = ("cifar10", "cifar100", "folder", "galaxy-zoo", "hdf5", "npz")


@click.command()
@click.argument("source", type=SOURCE)
@click.option("-o", "--out", type=PATH, default="images.h5", show_default=True, help="The file to write.")
@click.option("--size", type=Whole(1, 2048), default=32, show_default=True, help="Pixels along a side.")
@centre_option
@conditional_option
@click.option("--kind", type=click.Choice(KINDS), help="What SOURCE is, if it is not to be found out.")
@click.option("--cache/--no-cache", default=True, help="Keep decoded images in the user's cache folder.")
@click.option("--figure", type=PATH, help="Write a sheet of images of each class, too (PNG, PDF, ...).")
@force_option
@json_option
def command(out: Path, figure: Path | None, force: bool, as_json: bool, **arguments: Any) -> None:
    """Read labelled images of any kind, count their classes, and write them to HDF5.

    SOURCE is a folder with a folder of images for each class (also in folders train and test), a tar or zip archive of
    such a folder, the binary version of CIFAR-10 or CIFAR-100, a folder with Kaggle's Galaxy Zoo, .npz or HDF5.
    docs/data.md describes them. Images that cannot be read are left out, and named.

    \b
    Examples:
      physode prepare photographs/
      physode prepare cifar-10-binary.tar.gz --out cifar10.h5
      physode prepare galaxy-zoo/ --centre 0.5 --out galaxies.h5 --figure sheet.png
    """
    from physode.datasets.images import summarise_images

    with writing_images(out, figure, force=force) as write:
        images = _read(**arguments)
        write(images)
    summary = {"path": str(out), **summarise_images(images)}
    if as_json:
        show_json(summary)
    else:
        _show(summary)


def _read(*, source: Path, **options: Any) -> Images:
    from physode.datasets.images import read_images

    with progress_bar(f"reading {source.name}") as progress:
        return read_images(source, **options, progress=progress)


def _show(summary: dict[str, Any]) -> None:
    show_pairs(
        summary["path"],
        {
            "source": summary["attributes"].get("source"),
            "images": summary["images"],
            "pixels": f"{summary['width']} x {summary['height']}",
        },
    )
    show_classes(summary)
    show_skipped(summary)
