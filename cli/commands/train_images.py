"""``physode train cifar10|cifar100|galaxy|images``: classifiers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.advice import advising
from physode.cli.data import USUAL_IMAGES, centre_option, conditional_option, usual_images, warn_of_skipped
from physode.cli.numbers import Whole
from physode.cli.options import (
    given,
    given_settings,
    options_of,
    refuse_beside_resume,
    refuse_idle_tolerances,
    training_options,
)  # fmt: skip
from physode.cli.paths import SOURCE
from physode.cli.show import show_json, show_pairs
from physode.images.config import TrainConfig, recipe
from physode.progress import progress_bar, showing_epochs

if TYPE_CHECKING:
    from physode.datasets.images import Images
    from physode.images import Epoch, TrainRun

__all__ = ["KINDS", "make"]

KINDS = {
    "cifar10": "Train on CIFAR-10, from its binary archive.",
    "cifar100": "Train on CIFAR-100, from its binary archive.",
    "galaxy": "Train on galaxies, seen from any side: Galaxy Zoo's, simulated ones, or a folder a class.",
    "images": "Train on images of your own, a folder a class; the word images may be left out.",
}
_CLASSES = {"cifar10": 10, "cifar100": 100}
_REMEDY = {
    "cifar10": "get cifar-10-binary.tar.gz (the binary version) from the data set's page",
    "cifar100": "get cifar-100-binary.tar.gz (the binary version) from the data set's page",
    "galaxy": "make galaxies.h5 with: physode simulate galaxies",
}
_WITH_RESUME = {"resume", "epochs", "source", "data", "device", "threads", "tensorboard", "as_json"}

_READING = ("size", "centre", "conditional")

Function = Callable[..., Any]


_OPTIONS = (
    options_of(TrainConfig),
    click.option("--size", type=Whole(8, 1024), help="Pixels a side.  [default: as they are; image files 32]"),
    centre_option,
    training_options(named_after="the data and --model"),
)


def make(kind: str, about: str) -> click.Command:
    """Return the command of a kind of images."""

    @click.pass_context
    def run(ctx: click.Context, /, **options: Any) -> None:
        named = options.pop("data", None)
        if named is not None and options["source"] is not None:
            raise click.UsageError("name the images once, as DATA or with --data", ctx)
        _train(ctx, kind, options | {"source": named or options["source"]})

    function: Function = run
    for option in reversed((*_OPTIONS, *([conditional_option] if kind in ("galaxy", "images") else ()))):
        function = option(function)
    shown = "DATA" if kind == "images" else "[DATA]"
    function = click.argument("source", type=SOURCE, required=False, metavar=shown)(function)
    if kind != "images":
        usual = " or ".join(USUAL_IMAGES[kind][:2])
        function = click.option("--data", type=SOURCE, help=f"The images, as DATA.  [default: {usual}]")(function)
    where = " DATA" if kind == "images" else ""
    further = "\n      physode train galaxy my-galaxies/ --centre 0.5" if kind == "galaxy" else ""
    cifar = f"\n      physode train {kind} --form published" if kind.startswith("cifar") else ""
    text = f"""{about}

    Settings, history (metrics.jsonl), checkpoints and log go into runs/NAME; a training that was killed goes on after
    its last whole epoch, to the same numbers. See it with: physode evaluate runs/NAME

    \b
    Examples:
      physode train {kind}{where}{further}
      physode train {kind}{where} --model {"galaxy-resnet" if kind == "galaxy" else "resnet18"} --epochs 10 --seed 1
      physode train {kind}{where} --method dopri5 --rtol 1e-3 --atol 1e-3 --gradient adjoint{cifar}
      physode train --resume runs/NAME --epochs 100
    """
    return click.command(kind, help=text, short_help=about)(function)


def _train(ctx: click.Context, kind: str, options: dict[str, Any]) -> None:
    resume, example = options["resume"] is not None, "runs/galaxy-node"
    if resume:
        refuse_beside_resume(ctx, allowed=_WITH_RESUME, changeable="--epochs and --device", example=example)
    from physode.training.distributed import end_with_torchrun

    end_with_torchrun()  # before the long imports, within which torchrun may end
    import torch

    from physode.images import train

    if options["threads"] is not None:
        torch.set_num_threads(options["threads"])
    refuse_idle_tolerances(ctx)
    first = int(os.environ.get("RANK", "0")) == 0
    images, run = _resumed(ctx, options, write=first) if resume else _begun(ctx, kind, options, create=first)
    with showing_epochs(f"training {run.path.name}", shown=first) as tell:
        trainer = train(
            images,
            run.config,
            run=run,
            resume=resume,
            tensorboard=options["tensorboard"],
            on_epoch=lambda epoch, _: tell(epoch.epoch / run.config.epochs, last=_told(epoch)),
            progress=tell,
        )
    if first:
        _show(run, trainer.model, as_json=options["as_json"])


def _begun(ctx: click.Context, kind: str, options: dict[str, Any], *, create: bool) -> tuple[Images, TrainRun]:
    """Read the images, and make the run's folder where this process is the one that writes."""
    from physode.errors import ConfigError
    from physode.images import create_train_run
    from physode.images.data import split
    from physode.images.model import check_model
    from physode.images.run import TrainRun
    from physode.training.folder import check_new_folder, claimed_run

    source = _source(kind, options["source"])
    changes = given_settings(TrainConfig, options)
    config = TrainConfig(**{**recipe(kind, changes.get("model")), **changes})
    label = source.name.partition(".")[0] if kind == "images" else kind
    usual = config.model if config.model.startswith(label) else f"{label}-{config.model}"
    path = options["out"] / (options["name"] or usual)
    if create:
        check_new_folder(path, overwrite=options["force"])
    reading = {name: options.get(name) for name in _READING}
    images = _read(source, **reading)
    split(images, config)  # what does not fit is said before a folder is made
    if len(images.classes) != _CLASSES.get(kind, len(images.classes)):
        raise ConfigError(
            f"{source} has {len(images.classes)} classes, {kind} has {_CLASSES[kind]}; train on it with: "
            f"physode train {source}"
        )
    check_model(config, images)
    about: dict[str, Any] = {
        "dataset": kind,
        **reading,
        "size": images.x.shape[3] if images.x.shape[2] == images.x.shape[3] else None,
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
    from physode.images import open_train_run
    from physode.training.folder import claimed_run

    run = open_train_run(options["resume"])
    if write:
        ctx.with_resource(claimed_run(run.path))
    changes = {name: options[name] for name in {"epochs", "device"} & given(ctx)}
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, **changes))
    return _read(options["source"] or run.data, **run.reading), run


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


def _read(source: Path, *, size: int | None, centre: float | None, conditional: bool | None) -> Images:
    from physode.datasets.images import read_images

    with advising(source, takes=("images",)), progress_bar(f"reading {source.name}") as progress:
        images = read_images(source, size=size, centre=centre, conditional=bool(conditional), progress=progress)
    warn_of_skipped(images)
    return images


def _told(epoch: Epoch) -> str:
    balanced = "" if epoch.test_balanced is None else f", balanced {100 * epoch.test_balanced:.2f} %"
    return f"loss {epoch.loss:.3f}, test {100 * epoch.test_accuracy:.2f} %{balanced}"


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
        "balanced test accuracy": last.get("test_balanced"),
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
