"""``physode predict``: what was trained, applied to data that nobody has labelled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.data import calibration, warn_of_skipped
from physode.cli.numbers import Whole
from physode.cli.options import checkpoint_option, force_option, given, json_option, other_device_option
from physode.cli.paths import PATH, SOURCE, Run
from physode.cli.show import show_json, show_pairs, show_table
from physode.cli.tables import TABLE_OPTIONS, SectionedCommand, series_table_options
from physode.progress import progress_bar

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.datasets.images import Images
    from physode.images.run import TrainRun

__all__ = ["command"]

_SHOWN, _WIDE = 10, 8  # rows, and columns
_IDLE = {
    "train": {"at", "start", *TABLE_OPTIONS},
    "series": {"start", "calibrate", "batch"},
    "fit": {"which", "calibrate", "batch", "device"},
    "estimate": {"which", "calibrate", "batch", "device", "start"},
}
"""Options that have no part, by the kind of run."""


@click.command(cls=SectionedCommand)
@click.argument("run", type=Run("runs/galaxy-node"))
@click.argument("data", nargs=-1, type=SOURCE, metavar="[DATA]...")
@click.option(
    "--out", type=PATH, help="Ends in .csv or .parquet.  [default: catalogue.csv of images, else predictions.csv]"
)
@click.option("--at", metavar="TIMES", help="Of fits and series: FROM:TO:COUNT, or numbers with commas between them.")
@click.option("--start", multiple=True, metavar="NAME=NUMBER", help="Of fits: another initial state; repeat it.")
@checkpoint_option("Of trainings: weights after the last epoch, or after that of the best test.")
@click.option("--calibrate/--raw", default=True, help="Of images: honest probabilities, or the network's own.")
@click.option("--batch", type=Whole(1), help="Images at once.  [default: as in training]")
@other_device_option
@force_option
@json_option
@series_table_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run: Path,
    data: tuple[Path, ...],
    out: Path | None,
    at: str | None,
    start: tuple[str, ...],
    force: bool,
    as_json: bool,
    table: TableOptions,
    **options: Any,
) -> None:
    """Apply what `physode train` or `physode fit` made to new data, and write a table.

    A classifier of images: DATA are image files, folders of any depth, archives, or files that hold images (HDF5, npz),
    without labels. The table has a row an image: its file's name, the likeliest class with its probability, the entropy
    of all classes in bits (0 where one is certain), and the probability of each class. Networks are surer than they are
    right: probabilities are calibrated by one number, the temperature, found on the images that the training had set
    aside (Guo et al. 2017); --raw leaves them as they are.

    A model of series: DATA is a file of series, which are continued, or told at the times of --at: mean, standard
    deviation and 95 % interval of new values. A table is read as that of the training was, unless --columns and the
    other options of tables say it anew.

    A fit: its equation is solved at the times of --at, from the fitted initial state or that of --start; of an equation
    of your own, with 95 % bands. DATA is the file that it was fitted to, where that has moved.

    \b
    Examples:
      physode predict runs/galaxy-node new-images/
      physode predict runs/galaxy-node one.jpg more/ survey.tar --out catalogue.parquet
      physode predict runs/clinic-latent-ode patients.csv --at 0:48:97
      physode predict runs/threebody-physical --at 0:5:501 --out orbits.csv
      physode predict runs/vanderpol-physical --at 0:20:201 --start x=3 --start v=0
    """
    from physode.sweeps.table import Table, check_table
    from physode.training.folder import kind_of_run

    kind = kind_of_run(run)
    if kind is None:
        from physode.fitting import open_run

        open_run(run)  # which says what is wrong with it
    _refuse_idle(ctx, kind)
    path = out or Path("catalogue.csv" if kind == "train" else "predictions.csv")
    check_table(path, overwrite=force)
    if kind in ("train", "series") and not data:
        raise click.UsageError(f"name the data: physode predict {run} DATA")
    more: dict[str, Any] = {}
    if kind == "train":
        rows, more = _catalogue(run, data, options)
    else:
        rows = _predictions(kind, run, data, at, start, table, options)
    made = Table.of(rows)
    made.write(path, overwrite=force)
    if as_json:
        show_json({"run": str(run), "rows": len(made), **more, "out": str(path)})
        return
    columns = [name for name in made.columns if not name.startswith("p(")][:_WIDE]
    shown = list(zip(*(made[name][:_SHOWN] for name in columns), strict=True))
    show_table(f"the first of {len(made)} rows" if len(made) > _SHOWN else "", columns, shown)
    show_pairs("", {**more.get("classes", {}), "written": str(path)})


def _refuse_idle(ctx: click.Context, kind: str | None) -> None:
    """Refuse options that have no part in what is predicted."""
    idle = given(ctx) & (_IDLE.get(kind or "", set()))
    if idle:
        names = {option.name: "/".join([*option.opts, *option.secondary_opts]) for option in ctx.command.params}
        raise click.UsageError(f"{names[sorted(idle)[0]]} has no part in what {ctx.params['run']} predicts")


def _predictions(
    kind: str | None,
    run: Path,
    data: tuple[Path, ...],
    at: str | None,
    start: tuple[str, ...],
    table: TableOptions,
    options: dict[str, Any],
) -> Any:
    from physode.cli.predictions import fitted_rows, own_rows, series_rows, times_of

    times = times_of(at)
    if kind == "series":
        return series_rows(run, data, times, table=table, which=options["which"], device=options["device"])
    if kind == "estimate":
        return own_rows(run, data, times, table=table)
    return fitted_rows(run, data, times, start, table=table)


def _catalogue(path: Path, data: tuple[Path, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Classify images; return the rows, and what else there is to say."""
    from physode.images import open_train_run, predict_images

    run = open_train_run(path)
    calibrate, which = options.pop("calibrate"), options["which"]
    temperature = calibration(run, which) if calibrate else None
    images = _read(data, run)
    with progress_bar(f"classifying {len(images)} images") as progress:
        found = predict_images(run, images, temperature=temperature, progress=progress, **options)
    skipped = [vars(each) for each in images.skipped]
    return found.rows(), {"classes": found.counts(), "temperature": temperature, "skipped": skipped}


def _read(sources: tuple[Path, ...], run: TrainRun) -> Images:
    """Read all images; names of several sources begin with the source's own."""
    from physode.datasets.images import joined, read_unlabelled

    parts = []
    for source in sources:
        with progress_bar(f"reading {source.name}") as progress:
            parts.append(read_unlabelled(source, size=run.size, centre=run.centre, progress=progress))
        warn_of_skipped(parts[-1])
    return joined(parts) if len(parts) > 1 else parts[0]
