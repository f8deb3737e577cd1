"""``physode train cifar10|cifar100|galaxy|images``: classifiers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.commands.train_shared import (
    given_settings,
    numbers_between_commas,
    refuse_beside_resume,
    resumed_changes,
    showing_training,
    with_tensorboard,
)
from physode.cli.images import USUAL_IMAGES, usual_images, warn_of_skipped
from physode.cli.numbers import ATOL, EPOCHS, NETWORK, RTOL, SEED, SHARE, STEP, THREADS, Real, Whole
from physode.cli.options import (
    GRADIENTS,
    METHODS,
    PATH,
    device_option,
    folder_name,
    force_option,
    json_option,
    refuse_idle_tolerances,
)
from physode.cli.progress import progress_bar
from physode.cli.show import show_json, show_pairs

if TYPE_CHECKING:
    from physode.datasets.images import Images
    from physode.images import Epoch, TrainRun

__all__ = ["KINDS", "MODELS", "make"]

KINDS = {
    "cifar10": "Train on CIFAR-10, from its binary archive.",
    "cifar100": "Train on CIFAR-100, from its binary archive.",
    "galaxy": "Train on galaxies in five classes: Galaxy Zoo's, or simulated ones.",
    "images": "Train on images of your own, a folder a class; the word images may be left out.",
}
_CLASSES = {"cifar10": 10, "cifar100": 100, "galaxy": 5}
_REMEDY = {
    "cifar10": "get cifar-10-binary.tar.gz (the binary version) from the data set's page",
    "cifar100": "get cifar-100-binary.tar.gz (the binary version) from the data set's page",
    "galaxy": "make galaxies.h5 with: physode simulate galaxies",
}
# The models' own table would have to import torch for `--help`; tests/cli/test_train.py holds the two together.
MODELS = ("node18", "resnet18", "galaxy-node", "galaxy-resnet", "resnet50", "resnet101")
_WITH_RESUME = {"resume", "epochs", "source", "device", "threads", "tensorboard", "as_json"}
_NOT_SETTINGS = {"source", "size", "name", "out", "resume", "threads", "tensorboard", "force", "as_json"}

Function = Callable[..., Any]


_OPTIONS = (
    click.option("--model", type=click.Choice(MODELS), help="The network.  [default: galaxy-node or node18]"),
    click.option(
        "--width",
        type=Whole(1, largest=4096, why="no memory holds so many weights; give less"),
        help="Its channels in the first stage.  [default: 64]",
    ),
    click.option(
        "--augmented",
        type=Whole(0, largest=4096, why="no memory holds so many weights; give less"),
        help="Channels that begin as 0, of galaxy-node.",
    ),
    click.option("--norm", type=click.Choice(["batch", "group"]), help="Normalisation.  [default: batch]"),
    click.option("--dropout", type=Real(0, below=1), help="Before the last layer, galaxy models."),
    click.option("--method", type=click.Choice(METHODS), help="Of the ODE blocks.  [default: heun_euler]"),
    click.option("--rtol", type=RTOL, help="Relative tolerance of the blocks.  [default: 0.01]"),
    click.option("--atol", type=ATOL, help="Absolute tolerance of the blocks.  [default: 0.01]"),
    click.option("--step", type=STEP, help="Fixed steps of this size in place of tolerances, at most 1."),
    click.option("--gradient", type=click.Choice(GRADIENTS), help="How gradients are computed.  [default: aca]"),
    click.option("--epochs", type=EPOCHS, help="How often all images are seen.  [default: by data set]"),
    click.option("--batch", type=Whole(1), help="Images an update.  [default: 128]"),
    click.option("--lr", type=NETWORK, help="Largest learning rate of SGD.  [default: 0.1]"),
    click.option("--momentum", type=Real(0, below=1), help="Of SGD.  [default: 0.9]"),
    click.option("--nesterov/--no-nesterov", default=None, help="Nesterov's momentum.  [default: no]"),
    click.option(
        "--weight-decay",
        type=Real(0, largest=1e18, why="no weight is left; give less"),
        help="Of SGD.  [default: by data set]",
    ),
    click.option(
        "--schedule", type=click.Choice(["step", "one-cycle"]), help="Of the learning rate.  [default: by data set]"
    ),
    click.option(
        "--milestones",
        callback=numbers_between_commas(float, "0.33,0.67"),
        metavar="A,B,...",
        help="Shares of the training after which the step schedule lowers the rate.  [default: 1/3 and 2/3]",
    ),
    click.option("--decay", type=NETWORK, help="Its factor there.  [default: 0.1]"),
    click.option("--flip/--no-flip", default=None, help="Flip training images at random.  [default: yes]"),
    click.option(
        "--crop",
        type=Whole(0, largest=1024, why="nothing of an image would be left; give less"),
        help="Shift them by up to so many pixels.  [default: 4; galaxy 2]",
    ),
    click.option("--rotate/--no-rotate", default=None, help="Turn them by any angle.  [default: galaxies only]"),
    click.option("--label-smoothing", type=Real(0, below=1), help="Of labels.  [default: 0]"),
    click.option("--clip", type=NETWORK, help="Largest norm of a gradient."),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Mixed precision where it is not float32.  [default: float32]",
    ),
    click.option(
        "--channels-last/--channels-first", default=None, help="Memory layout of images.  [default: channels last]"
    ),
    click.option("--compile", is_flag=True, default=None, help="Compile the blocks' right-hand sides."),
    click.option(
        "--test-fraction",
        type=SHARE,
        help="Share of all images for the test, drawn at random.  [default: the data's own, else 0.1]",
    ),
    click.option("--split", type=SEED, help="Seed of that draw.  [default: 0]"),
    click.option("--limit", type=Whole(2), help="Use this many training images only."),
    click.option("--seed", type=SEED, help="Seed of weights and batches.  [default: 0]"),
    click.option("--size", type=Whole(8, 1024), help="Pixels a side.  [default: as they are; image files 32]"),
    device_option,
    click.option("--threads", type=THREADS, help="Threads to compute with on CPU.  [default: torch's]"),
    click.option("--name", callback=folder_name, help="Name of the run.  [default: from the data and --model]"),
    click.option("--out", type=PATH, default="runs", show_default=True, help="Folder that the run goes into."),
    click.option("--resume", type=PATH, metavar="RUN", help="Go on with this run after its last whole epoch."),
    click.option(
        "--tensorboard/--no-tensorboard",
        default=None,
        help="Write curves for TensorBoard.  [default: where it is installed]",
    ),
    force_option,
    json_option,
)


def make(kind: str, about: str) -> click.Command:
    """Return the command of a kind of images."""

    @click.pass_context
    def run(ctx: click.Context, /, **options: Any) -> None:
        _train(ctx, kind, options)

    function: Function = run
    for option in reversed(_OPTIONS):
        function = option(function)
    if kind == "images":
        function = click.argument("source", type=PATH, required=False, metavar="DATA")(function)
    else:
        usual = " or ".join(USUAL_IMAGES[kind][:2])
        function = click.option("--data", "source", type=PATH, help=f"The images.  [default: {usual}]")(function)
    where = " DATA" if kind == "images" else ""
    text = f"""{about}

    Settings, history (metrics.jsonl), checkpoints and log go into runs/NAME; a training that was killed goes on after
    its last whole epoch, to the same numbers. See it with: physode evaluate runs/NAME

    \b
    Examples:
      physode train {kind}{where}
      physode train {kind}{where} --model {"galaxy-resnet" if kind == "galaxy" else "resnet18"} --epochs 10 --seed 1
      physode train {kind}{where} --method dopri5 --rtol 1e-3 --atol 1e-3 --gradient adjoint
      physode train --resume runs/NAME --epochs 100
    """
    return click.command(kind, help=text, short_help=about)(function)


def _train(ctx: click.Context, kind: str, options: dict[str, Any]) -> None:
    from physode.orphans import end_with_torchrun

    end_with_torchrun()  # before the long imports, within which torchrun may end
    import torch

    from physode.images import train

    if options["threads"] is not None:
        torch.set_num_threads(options["threads"])
    refuse_idle_tolerances(ctx)
    first = int(os.environ.get("RANK", "0")) == 0
    resume = options["resume"] is not None
    images, run = _resumed(ctx, options, write=first) if resume else _begun(ctx, kind, options, create=first)
    epochs = run.config.epochs
    with showing_training(run.path.name, epochs=epochs, told=_told, shown=first) as (on_epoch, progress):
        trainer = train(
            images,
            run.config,
            run=run,
            resume=resume,
            tensorboard=with_tensorboard(options["tensorboard"]),
            on_epoch=on_epoch,
            progress=progress,
        )
    if first:
        _show(run, trainer.model, as_json=options["as_json"])


def _begun(ctx: click.Context, kind: str, options: dict[str, Any], *, create: bool) -> tuple[Images, TrainRun]:
    """Read the images, and make the run's folder where this process is the one that writes."""
    from physode.errors import ConfigError
    from physode.images import RECIPES, TrainConfig, create_train_run
    from physode.images.data import split
    from physode.images.model import check_model
    from physode.images.run import TrainRun
    from physode.training import check_new_folder, claimed_run

    source = _source(kind, options["source"])
    config = TrainConfig(**{**RECIPES[kind], **given_settings(options, _NOT_SETTINGS)})
    label = source.name.partition(".")[0] if kind == "images" else kind
    usual = config.model if config.model.startswith(label) else f"{label}-{config.model}"
    path = options["out"] / (options["name"] or usual)
    if create:
        check_new_folder(path, overwrite=options["force"])
    images = _read(source, options["size"])
    split(images, config)  # what does not fit is said before a folder is made
    if len(images.classes) != _CLASSES.get(kind, len(images.classes)):
        raise ConfigError(
            f"{source} has {len(images.classes)} classes, {kind} has {_CLASSES[kind]}; train on it with: "
            f"physode train {source}"
        )
    check_model(config, images)
    about = {
        "dataset": kind,
        "size": options["size"],
        "data": source.resolve(),
        "classes": images.classes,
        "digest": images.digest(),
    }
    if create:
        ctx.with_resource(claimed_run(path))
        return images, create_train_run(path, config, **about, overwrite=options["force"])
    return images, TrainRun(path, config, **about)


def _resumed(ctx: click.Context, options: dict[str, Any], *, write: bool) -> tuple[Images, TrainRun]:
    """Return the run to go on with, with as many epochs as asked for, and its images."""
    refuse_beside_resume(ctx, options, allowed=_WITH_RESUME)
    from physode.images import open_train_run
    from physode.training import claimed_run

    run = open_train_run(options["resume"])
    if write:
        ctx.with_resource(claimed_run(run.path))
    changes = resumed_changes(ctx, options)
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, **changes))
    source = options["source"] or run.data
    images = _read(source, run.size)
    return images, run


def _source(kind: str, given: Path | None) -> Path:
    from physode.errors import DataError

    if given is not None:
        return given
    found = usual_images(kind)
    if found is not None:
        return found
    if kind == "images":
        raise click.UsageError("name the images: physode train FOLDER, with a folder a class in it.")
    raise DataError(
        f"there is no {' or '.join(USUAL_IMAGES[kind])} in this folder; {_REMEDY[kind]}, or name another with --data"
    )


def _read(source: Path, size: int | None) -> Images:
    from physode.datasets.images import read_images

    with progress_bar(f"reading {source.name}") as progress:
        images = read_images(source, size=size, progress=progress)
    warn_of_skipped(images)
    return images


def _told(epoch: Epoch) -> str:
    return f"loss {epoch.loss:.3f}, test {100 * epoch.test_accuracy:.2f} %"


def _show(run: TrainRun, model: Any, *, as_json: bool) -> None:
    from physode.models import count_parameters

    history = run.history()
    last, best = history[-1], max(history, key=lambda line: float(line["test_accuracy"]))
    pairs = {
        "epochs": last["epoch"],
        "training loss": last["loss"],
        "training accuracy": last["accuracy"],
        "test loss": last["test_loss"],
        "test accuracy": last["test_accuracy"],
        "best test accuracy": f"{best['test_accuracy']:.6g}, epoch {best['epoch']}",
        "rhs evaluations a batch": f"{last['rhs_forward']:.6g} forward, {last['rhs_backward']:.6g} backward",
        "parameters": count_parameters(model),
        "seconds": sum(line["seconds"] + line["test_seconds"] for line in history),
        "run": str(run.path),
    }
    if as_json:
        show_json({**last, "parameters": pairs["parameters"], "total_seconds": pairs["seconds"], "run": str(run.path)})
    else:
        show_pairs("training", pairs)
