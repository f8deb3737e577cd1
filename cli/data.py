"""Sets of images, and irregular series, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.numbers import Real
from physode.cli.show import cell, shorten, show_pairs, show_table
from physode.progress import progress_bar
from physode.training.settings import Range

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.datasets.images import Images
    from physode.datasets.images.hdf5 import Parameter
    from physode.datasets.series import IrregularSeries
    from physode.series import SeriesRun

__all__ = [
    "USUAL_IMAGES",
    "centre_option",
    "conditional_option",
    "read_as_run",
    "read_shown",
    "say",
    "say_understood",
    "show_classes",
    "show_skipped",
    "usual_images",
    "warn_of_skipped",
    "writing_images",
]


USUAL_IMAGES = {
    "cifar10": ("cifar10.h5", "cifar-10-binary.tar.gz", "cifar-10-batches-bin"),
    "cifar100": ("cifar100.h5", "cifar-100-binary.tar.gz", "cifar-100-binary"),
    "galaxy": ("galaxies.h5", "galaxy-zoo.h5", "galaxy-zoo"),
    "images": (),
}
"""What images of a kind are called in the working folder, the first ones first."""

centre_option = click.option(
    "--centre",
    type=Real.of(Range(above=0, most=1)),
    help="Keep the square about each image's centre, of this share of its side; Galaxy Zoo's fill about 0.5.",
)
conditional_option = click.option(
    "--conditional", is_flag=True, help="Of Galaxy Zoo, take votes as shares of those who were asked, not of all."
)

_SKIPPED, _NAMED = 10, 3  # that are named


def usual_images(kind: str) -> Path | None:
    """Find images of a kind in the working folder by their usual names."""
    return next((Path(name) for name in USUAL_IMAGES[kind] if Path(name).exists()), None)


@contextmanager
def writing_images(out: Path, figure: Path | None, *, force: bool) -> Iterator[Callable[..., None]]:
    """Claim a file of images, and a sheet of them, before the work: what is in the way is found at once.

    Yields what takes the images, and what they were made from, when they are there. The sheet is drawn when the images
    are written.
    """
    from physode.datasets.atomic_write import replacing
    from physode.datasets.files import check_different
    from physode.datasets.images.hdf5 import fill_images
    from physode.plotting import plot_sheet
    from physode.plotting.style import claiming_figure

    check_different(out=out, figure=figure)
    written: list[Images] = []

    with nullcontext() if figure is None else claiming_figure(figure, overwrite=force) as draw:
        with replacing(out, overwrite=force) as part:

            def write(images: Images, params: Mapping[str, Parameter] | None = None) -> None:
                fill_images(part, images, params=params)
                written.append(images)

            yield write
        if draw is not None:
            draw(plot_sheet(written[0]))


def show_classes(summary: dict[str, Any]) -> None:
    """Print how many images each class has, from a summary of the library."""
    classes = summary["classes"]
    show_table("classes", list(classes[0]), [list(each.values()) for each in classes])


def warn_of_skipped(images: Images) -> None:
    """Say on stderr that files could not be read, and name the first ones."""
    if images.skipped:
        first = ", ".join(f"{shorten(cell(each.path), length=80)} ({each.reason})" for each in images.skipped[:_NAMED])
        more = ", ..." if len(images.skipped) > _NAMED else ""
        click.echo(f"Warning: {len(images.skipped)} files left out: {first}{more}", err=True)


def show_skipped(summary: dict[str, Any]) -> None:
    """Print the first files that could not be read, if there are any."""
    skipped = summary["skipped"]
    if not skipped:
        return
    named = {shorten(cell(each["path"]), length=80): each["reason"] for each in skipped[:_SKIPPED]}
    more = f", the first {_SKIPPED}" if len(skipped) > _SKIPPED else ""
    show_pairs(f"{len(skipped)} files left out{more}", named)


def read_shown(source: Path, options: TableOptions | None = None) -> IrregularSeries:
    """Read series, with a bar where somebody looks; how a table was read is said."""
    from physode.datasets.series import read_series

    with progress_bar(f"reading {source.name}") as progress:
        series = read_series(source, progress=progress, options=options)
    say_understood(series.attrs.get("understood"))
    return series


def read_as_run(run: SeriesRun, source: Path | None, options: TableOptions) -> IrregularSeries:
    """Read a run's series, or others as those were read; as :func:`read_shown`."""
    with progress_bar(f"reading {(source or run.data).name}") as progress:
        series = run.read(source, options=options, progress=progress)
    say_understood(series.attrs.get("understood"))
    return series


def say_understood(understood: Any) -> None:
    """Say on stderr how a table was read, where that does not go without saying."""
    if understood:
        say(f"read as {understood}")


def say(note: Any) -> None:
    """Say on stderr what is worth knowing of series."""
    click.echo(f"Note: {shorten(cell(str(note)))}", err=True)
