"""``physode simulate galaxies``: images of galaxies in five classes, into an HDF5 file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.data import writing_images
from physode.cli.numbers import Real, Whole
from physode.cli.options import force_option, json_option, seed_option
from physode.cli.paths import PATH
from physode.cli.show import show_json, show_pairs, show_table
from physode.progress import showing_progress

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["command"]


@click.command()
@click.option("--count", type=Whole(1), default=10_000, show_default=True, help="Number of galaxies.")
@click.option("--size", type=Whole(8, 256), default=32, show_default=True, help="Pixels along a side.")
@click.option(
    "--noise",
    type=Real(0, 1, smallest=1e-6, why_small="of its kind nothing is left in 8 bits; give 0", finite=False),
    default=0.03,
    show_default=True,
    help="Standard deviation of an empty pixel, of full scale.",
)
@click.option("--balanced", is_flag=True, help="As many galaxies of each class, not the shares of Galaxy Zoo.")
@click.option(
    "--test-fraction",
    type=Real(0, below=1, finite=False),
    default=0.1,
    show_default=True,
    help="Share of each class that is for testing.",
)
@seed_option
@click.option("-o", "--out", type=PATH, default="galaxies.h5", show_default=True, help="The file to write.")
@click.option("--figure", type=PATH, help="Write a sheet of images of each class, too (PNG, PDF, ...).")
@force_option
@json_option
def command(out: Path, figure: Path | None, force: bool, as_json: bool, **arguments: Any) -> None:
    """Galaxies of five classes: round, in-between, cigar-shaped, edge-on, spiral.

    Sersic profiles, edge-on discs, and inclined discs with bulge, bar and arms, seen through the atmosphere, with
    noise. What each galaxy was made from stands in the file, under /params. A smaller set is the beginning of a
    larger one.

    \b
    Examples:
      physode simulate galaxies
      physode simulate galaxies --count 28790 --out all.h5
      physode simulate galaxies --count 500 --balanced --noise 0.06 --figure sheet.png
    """
    from physode.simulators.galaxies import PARAMETERS, simulate_galaxies_with_parameters

    with writing_images(out, figure, force=force) as write:
        with showing_progress("simulating") as progress:
            images, parameters = simulate_galaxies_with_parameters(**arguments, progress=progress)
        params = {
            name: (values, PARAMETERS[name]["unit"], PARAMETERS[name]["description"])
            for name, values in parameters.items()
        }
        write(images, params)
    summary = _summary(out, images)
    if as_json:
        show_json(summary)
    else:
        _show(summary)


def _summary(out: Path, images: Images) -> dict[str, Any]:
    training, testing = images.training().counts(), images.testing().counts()
    return {
        "path": str(out),
        "galaxies": len(images),
        "size": int(images.x.shape[-1]),
        "noise": images.attrs["noise"],
        "seed": images.attrs["seed"],
        "classes": [
            {"class": number, "name": name, "training": training[number], "test": testing[number]}
            for number, name in enumerate(images.classes)
        ],
    }


def _show(summary: dict[str, Any]) -> None:
    classes = summary.pop("classes")
    path = summary.pop("path")
    show_pairs(path, summary)
    show_table("classes", list(classes[0]), [list(row.values()) for row in classes])
