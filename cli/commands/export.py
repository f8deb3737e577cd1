"""``physode export``: trained classifiers as programs that need no physode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from physode.cli.data import calibration
from physode.cli.numbers import STEP, Whole
from physode.cli.options import METHODS, checkpoint_option, force_option, json_option
from physode.cli.paths import PATH, Run
from physode.cli.show import show_json, show_pairs
from physode.errors import ConfigError
from physode.progress import showing_progress

__all__ = ["PIXELS", "command"]

# The library's own would have to import torch for `--help`; a test holds the two together.
PIXELS = ("bytes", "floats")


@click.command()
@click.argument("run", type=Run("runs/galaxy-node"))
@click.option("-o", "--out", type=PATH, default="model.pt2", show_default=True, help="Ends in .pt2 or .onnx.")
@click.option("--method", type=click.Choice(METHODS), help="Another method than in training.")
@click.option("--step", type=STEP, help="By fixed steps of this size, at most 1.")
@checkpoint_option()
@click.option(
    "--pixels",
    type=click.Choice(PIXELS),
    default=PIXELS[0],
    show_default=True,
    help="What the program takes: bytes from 0 to 255, or floats from 0 to 1.",
)
@click.option("--calibrate/--raw", default=True, help="Honest probabilities, or the network's own.")
@click.option("--shape", type=Whole(1, 2048), nargs=2, metavar="ROWS COLUMNS", help="Of images that are no squares.")
@force_option
@json_option
def command(
    run: Path,
    out: Path,
    method: str | None,
    step: float | None,
    which: str,
    calibrate: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a trained classifier of images as a program that runs without physode.

    The program takes images (B, 3, H, W) of any number B, of the size that the network was trained with, and gives the
    probability of each class, (B, classes). The normalisation of images is in it, and the temperature that makes
    probabilities honest, as of `physode predict`. A .pt2 is loaded by torch.export.load, an .onnx by ONNX Runtime and
    others; in either, physode.json has the classes' names and what else there is to know.

    ODE blocks have to take fixed steps: those of --method and --step, where they have adapted them in training. What
    that costs in accuracy, `physode evaluate RUN --method rk4 --step 0.25` tells.

    \b
    Examples:
      physode export runs/galaxy-node --method rk4 --step 0.25
      physode export runs/galaxy-resnet --out galaxies.onnx
      physode export runs/galaxy-node --method rk4 --step 0.25 --out galaxies.onnx --pixels floats --raw
    """
    from physode.datasets.files import check_outputs
    from physode.training.folder import kind_of_run

    kind = kind_of_run(run)
    if kind not in (None, "train"):
        raise ConfigError(f"{run} is no training of a classifier of images, which alone can be exported")
    check_outputs([out], overwrite=force)
    from physode.images import export_classifier, open_train_run
    from physode.images.export import check_export

    opened = open_train_run(run)
    solver = {name: value for name, value in (("method", method), ("step", step)) if value is not None}
    check_export(opened, out, solver=solver, shape=options["shape"])
    temperature = calibration(opened, which, solver=solver) if calibrate else None
    with showing_progress(f"exporting {run.name}") as progress:
        done = export_classifier(
            opened,
            out,
            which=which,
            solver=solver,
            temperature=temperature,
            overwrite=force,
            progress=progress,
            **options,
        )
    if as_json:
        show_json(vars(done))
        return
    rows = {
        "written": done.path,
        "format": done.format,
        "input": f"{done.pixels}, (B, {', '.join(map(str, done.shape))})",
        "output": f"probabilities, (B, {len(done.classes)})",
        "classes": ", ".join(done.classes),
        "solver": done.solver,
        "temperature": done.temperature,
        "weights": f"after epoch {done.epoch}",
    }
    show_pairs(done.model, {name: value for name, value in rows.items() if value is not None})
