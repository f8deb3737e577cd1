"""``physode fit``: constants, or a network, from observed trajectories."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.options import (
    GRADIENTS,
    METHODS,
    PATH,
    POSITIVE,
    device_option,
    dtype_option,
    force_option,
    json_option,
    seed_option,
    tolerance_options,
)
from physode.cli.show import show_json, show_pairs, show_table

if TYPE_CHECKING:
    from physode.training import Epoch, Report, Run

__all__ = ["command"]

_DEFAULT_DATA = Path("threebody.h5")
_NOT_WITH_RESUME = "the run's own settings count: with --resume, give --epochs at most"
# Options that are settings of the same name.
_SETTINGS = (
    *("rhs", "optimizer", "gradient", "method", "rtol", "atol", "epochs", "lr", "lr_decay", "seed", "device", "dtype"),
    *("compile", "train_until", "loss", "free", "positive", "hidden"),
)
_WITH_RESUME = {"resume", "epochs", "as_json", "checkpoint_seconds", "threads"}
# Numbers in all states of a time below which threads cost more than they bring, above all where cores are shared.
_SMALL = 4096


def _numbers(text: str, kind: type[int] | type[float] = float) -> tuple[float, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not numbers with commas between them.") from error


def _reals(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    return None if value is None else _numbers(value)


def _widths(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None or value == "none":
        return None if value is None else ()
    widths = _numbers(value, int)
    if min(widths) < 1:
        raise click.BadParameter(f"{value!r} has a width below 1.")
    return widths


def _guesses(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    found = {}
    for text in value:
        name, equals, numbers = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not of the form NAME=A,B,...")
        found[name] = _numbers(numbers)
    return found


@click.command()
@click.argument("data", type=PATH, required=False)
@click.option(
    "--rhs",
    type=click.Choice(["physical", "augmented", "neural", "hybrid"]),
    default="physical",
    show_default=True,
    help="What to fit: the data's own system with unknown constants, accelerations from one linear layer on pair "
    "features, a network, or physics and a network.",
)
@click.option(
    "--optimizer",
    type=click.Choice(["lm", "adam", "lbfgs", "sgd"]),
    help="Levenberg-Marquardt on exact Jacobians (lm), or a gradient method.  [default: lm for physical, else adam]",
)
@click.option(
    "--gradient",
    type=click.Choice(GRADIENTS),
    default="aca",
    show_default=True,
    help="How gradients are computed; lm has its own Jacobians.",
)
@click.option(
    "--compile", is_flag=True, help="Compile the solves: for many epochs many times faster, after about a minute."
)
@click.option(
    "--method", type=click.Choice(METHODS), help="Integration method.  [default: dopri8 for physical, else dopri5]"
)
@tolerance_options()
@click.option("--epochs", type=click.IntRange(1), help="Steps; evaluations of lm.  [default: by optimizer]")
@click.option("--lr", type=POSITIVE, help="Learning rate.  [default: by optimizer]")
@click.option("--lr-decay", type=POSITIVE, help="Its factor from epoch to epoch.  [default: by optimizer]")
@click.option("--train-until", type=float, metavar="TIME", help="Use data up to this time.  [default: half their span]")
@click.option(
    "--loss",
    type=click.Choice(["positions", "state"]),
    help="Which columns to fit.  [default: positions where there are bodies, else state]",
)
@click.option(
    "--init",
    multiple=True,
    callback=_guesses,
    metavar="NAME=A,B,...",
    help="Initial guess of a constant; repeat it.  [default: 1]",
)
@click.option("--init-masses", callback=_reals, metavar="A,B,...", help="Short for --init masses=A,B,...")
@click.option("--free", multiple=True, metavar="NAME", help="Fit this constant only; repeat it.  [default: all]")
@click.option("--positive", is_flag=True, help="Keep fitted constants above 0.")
@click.option(
    "--hidden",
    callback=_widths,
    metavar="A,B,...",
    help="Widths of hidden layers, or none.  [default: 64,64; augmented none]",
)
@click.option("--trajectory", type=click.IntRange(0), multiple=True, help="Fit this one; repeat it.  [default: all]")
@seed_option
@device_option
@dtype_option
@click.option("--name", help="Name of the run.  [default: from DATA and --rhs]")
@click.option("--out", type=PATH, default="runs", show_default=True, help="Folder that the run's folder is made in.")
@click.option("--resume", type=PATH, metavar="RUN", help="Go on with this run from its last checkpoint.")
@click.option(
    "--checkpoint-seconds",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Shortest time between checkpoints.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads to compute with on CPU.  [default: 1 for small states, else torch's]",
)
@force_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Fit a right-hand side to the trajectories in DATA, by default threebody.h5 in this folder.

    Settings, history, checkpoints, predictions and the report go into the run's folder, runs/NAME.

    \b
    Examples:
      physode fit --rhs physical
      physode fit threebody.h5 --init-masses 1.2,1,0.8 --train-until 0.5
      physode fit --rhs augmented --optimizer adam --gradient adjoint --epochs 50
      physode fit --rhs augmented --epochs 5000 --compile
      physode fit vanderpol.h5 --free mu
      physode fit --resume runs/threebody-physical --epochs 200
    """
    run, resume = _resumed(ctx, options), options["resume"] is not None
    if run is None:
        run = _new_run(options)
    from physode.datasets import read_trajectories
    from physode.training import fit

    trajectories = read_trajectories(run.data)
    _choose_threads(options["threads"], trajectories.y[:, 0].size)
    with _progress(run) as on_epoch:
        found = fit(
            trajectories,
            run.config,
            run=run,
            resume=resume,
            checkpoint_seconds=options["checkpoint_seconds"],
            on_epoch=on_epoch,
        )
    if options["as_json"]:
        show_json({"run": str(run.path), **found.report.as_dict()})
    else:
        _show(found.report, run)


def _new_run(options: dict[str, Any]) -> Run:
    from physode.datasets import read_trajectories
    from physode.errors import DataError
    from physode.training import FitConfig, create_run, effective_config
    from physode.training.build import build_rhs
    from physode.training.data import choose, digest

    name: str | None = options["name"]
    if name is not None and Path(name).name != name:
        raise click.BadParameter(f"{name!r} is not the name of a folder; --out says where it is.", param_hint="--name")
    data: Path | None = options["data"]
    if data is None:
        data = _DEFAULT_DATA
        if not data.exists():
            raise DataError(
                f"there is no {data} in this folder; make one with: physode simulate threebody; or name a file: "
                "physode fit DATA"
            )
    init: dict[str, tuple[float, ...]] = options["init"]
    if options["init_masses"] is not None:
        init["masses"] = options["init_masses"]
    same = {name: options[name] for name in _SETTINGS}
    config = FitConfig(**same, init=init, trajectories=options["trajectory"])
    trajectories = read_trajectories(data)
    config = effective_config(config, trajectories)
    build_rhs(config, choose(trajectories, config))  # what does not fit is said before a folder is made
    path = options["out"] / (name or f"{data.stem}-{config.rhs}")
    return create_run(path, config, data=data, digest=digest(trajectories), overwrite=options["force"])


def _resumed(ctx: click.Context, options: dict[str, Any]) -> Run | None:
    """Return the run to go on with, with as many epochs as asked for."""
    if options["resume"] is None:
        return None
    given = [name for name in options if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    others = [name for name in given if name not in _WITH_RESUME]
    if others:
        raise click.UsageError(
            f"--resume and {others[0].replace('_', '-')} do not go together; {_NOT_WITH_RESUME}", ctx
        )
    import dataclasses

    from physode.training import open_run

    run = open_run(options["resume"])
    if options["epochs"] is not None:
        run = dataclasses.replace(run, config=dataclasses.replace(run.config, epochs=options["epochs"]))
        run.write_config()
    return run


def _choose_threads(threads: int | None, size: int) -> None:
    import torch

    if threads is not None or size < _SMALL:
        torch.set_num_threads(threads or 1)


@contextmanager
def _progress(run: Run) -> Iterator[Any]:
    """Show epochs, loss and steps on stderr, where somebody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("fitting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("fitting", total=run.config.epochs, loss="-", steps="")

        def on_epoch(epoch: Epoch) -> None:
            loss = "failed" if epoch.loss is None else f"{epoch.loss:.3e}"
            rejected = "" if epoch.rejected is None else f", {epoch.rejected} rejected"
            steps = "" if epoch.accepted is None else f"{epoch.accepted} steps{rejected}"
            bar.update(task, completed=epoch.epoch, loss=loss, steps=steps)

        yield on_epoch


def _show(report: Report, run: Run) -> None:
    if report.constants:
        rows = [
            [each.name, each.unit, _long(each.true), _long(each.fitted), each.standard_error, each.relative_error]
            for each in report.constants
        ]
        show_table("constants", ["name", "unit", "true", "fitted", "standard error", "relative error"], rows)
    columns = run.config.loss or "state"
    clean = any(each.mse_clean is not None for each in report.errors)
    heads = ["span", "from", "to", "values", "MSE", *(["MSE without noise"] if clean else [])]
    errors = [
        [each.span, each.start, each.end, each.values, each.mse, *([each.mse_clean] if clean else [])]
        for each in report.errors
    ]
    show_table(f"mean squared error of the {columns}", heads, errors)
    pairs = {"ended": report.ended, "epochs": report.epochs, "parameters": report.parameters, "run": str(run.path)}
    show_pairs("fit", {**pairs, **{f"note {i}": note for i, note in enumerate(report.notes, start=1)}})


def _long(value: float | None) -> str | None:
    """A number with the digits that fits reach."""
    return None if value is None else f"{value:.10g}"
