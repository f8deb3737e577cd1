"""``physode predict``: what was trained, applied to data that nobody has labelled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.data import say, warn_of_skipped
from physode.cli.numbers import Whole
from physode.cli.options import PATH, force_option, json_option, other_device_option
from physode.cli.show import show_json, show_pairs, show_table
from physode.progress import progress_bar

if TYPE_CHECKING:
    from physode.datasets.images import Images
    from physode.images.run import TrainRun

__all__ = ["command"]

_SHOWN = 10  # rows


@click.command()
@click.argument("run", type=PATH)
@click.argument("data", nargs=-1, required=True, type=PATH, metavar="IMAGES...")
@click.option("--out", type=PATH, default=Path("catalogue.csv"), show_default=True, help="Ends in .csv or .parquet.")
@click.option(
    "--checkpoint",
    "which",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="Weights after the last epoch, or after that of the best test.",
)
@click.option("--calibrate/--raw", default=True, show_default=True, help="Make probabilities honest, or leave them.")
@click.option("--batch", type=Whole(1), help="Images at once.  [default: as in training]")
@other_device_option
@force_option
@json_option
def command(
    run: Path,
    data: tuple[Path, ...],
    out: Path,
    which: str,
    calibrate: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Classify images that have no labels by what `physode train` made.

    IMAGES are image files, folders of any depth, archives, or files that hold images (HDF5, npz). The catalogue has a
    row an image: its file's name, the likeliest class with its probability, the entropy of all classes in bits (0 where
    one is certain), and the probability of each class.

    Networks are surer than they are right. Probabilities are calibrated by one number, the temperature, found on the
    images that the training had set aside (Guo et al. 2017); --raw leaves them as they are.

    \b
    Examples:
      physode predict runs/galaxy-node new-images/
      physode predict runs/galaxy-node one.jpg more/ survey.tar --out catalogue.parquet
      physode predict runs/images-node18 unlabelled.h5 --raw --json
    """
    from physode.errors import DataError
    from physode.images import open_train_run, predict_images
    from physode.sweeps.table import Table, check_table

    opened = open_train_run(run)
    check_table(out, overwrite=force)
    for source in data:
        if not source.exists():
            raise DataError(f"{source} does not exist")
    temperature, why = _temperature(opened, which) if calibrate else (None, "--raw")
    if calibrate:
        say(why if temperature is not None else f"probabilities are not calibrated: {why}")
    images = _read(data, opened)
    with progress_bar(f"classifying {len(images)} images") as progress:
        found = predict_images(opened, images, which=which, temperature=temperature, progress=progress, **options)
    table = Table.of(found.rows())
    table.write(out, overwrite=force)
    if as_json:
        show_json({"run": str(run), "images": len(images), "classes": found.counts(), "temperature": temperature,
                   "skipped": [vars(each) for each in images.skipped], "out": str(out)})  # fmt: skip
        return
    columns = ("image", "class", "probability", "entropy_bits")
    show_table("catalogue", columns, list(zip(*(table[name][:_SHOWN] for name in columns), strict=True)))
    show_pairs("images by class", {**found.counts(), "written": str(out)})


def _temperature(run: TrainRun, which: str) -> tuple[float | None, str]:
    from physode.images.prediction import temperature_of

    return temperature_of(run, which=which, read=lambda path: _labelled(path, run))


def _labelled(path: Path, run: TrainRun) -> Images:
    from physode.datasets.images import read_images

    with progress_bar(f"reading {path.name}, to calibrate") as progress:
        return read_images(path, size=run.size, progress=progress)


def _read(sources: tuple[Path, ...], run: TrainRun) -> Images:
    """Read all images; names of several sources begin with the source's own."""
    from physode.datasets.images import joined, read_unlabelled

    parts = []
    for source in sources:
        with progress_bar(f"reading {source.name}") as progress:
            parts.append(read_unlabelled(source, size=run.size, progress=progress))
        warn_of_skipped(parts[-1])
    return joined(parts) if len(parts) > 1 else parts[0]
