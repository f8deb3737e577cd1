"""``physode train timeseries``: models of irregular series."""

from __future__ import annotations

import dataclasses
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
from physode.cli.numbers import ATOL, EPOCHS, NETWORK, RTOL, SEED, SHARE, STEP, THREADS, WIDTH, Real, Whole
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
from physode.cli.series import read_shown, say
from physode.cli.show import show_json, show_pairs

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries
    from physode.series import Epoch, SeriesEvaluation, SeriesRun

__all__ = ["MODELS", "TASKS", "command"]

# The models' own table would have to import torch for `--help`; tests/cli/test_train_series.py holds the two together.
MODELS = ("latent-ode", "ode-rnn", "rnn", "gru")
TASKS = ("interpolation", "extrapolation")

_WITH_RESUME = {"resume", "epochs", "source", "device", "threads", "tensorboard", "as_json"}
_NOT_SETTINGS = {"source", "name", "out", "resume", "threads", "tensorboard", "force", "as_json"}
_DRAWS = 10  # for the log-likelihood at the end

_widths = numbers_between_commas(int, "100,100")


@click.command(short_help="Train on irregular time series, each at times of its own.")
@click.argument("source", type=PATH, required=False, metavar="DATA")
@click.option("--model", type=click.Choice(MODELS), help="The model.  [default: latent-ode]")
@click.option(
    "--observed",
    type=Real(above=0, most=1),
    help="Share of the points that the model is told.  [default: 0.5]",
)
@click.option("--task", type=click.Choice(TASKS), help="What it is trained for.  [default: interpolation]")
@click.option(
    "--until",
    type=SHARE,
    help="Where extrapolation begins, a share of each series' span.  [default: 0.5]",
)
@click.option("--latent", type=WIDTH, help="Components of the latent state, latent-ode.  [default: 20]")
@click.option(
    "--units",
    callback=_widths,
    metavar="A,B,...",
    help="Widths of the layers of the right-hand side.  [default: 100,100; ode-rnn 100]",
)
@click.option("--hidden", type=WIDTH, help="Components of the recurrent state.  [default: 100]")
@click.option(
    "--encoder-units", callback=_widths, metavar="A,B,...", help="Widths in latent-ode's encoder.  [default: 100]"
)
@click.option("--sigma", type=NETWORK, help="Observations' noise, standardised.  [default: learnt by channel]")
@click.option("--method", type=click.Choice(METHODS), help="Of the latent path.  [default: dopri5]")
@click.option("--rtol", type=RTOL, help="Relative tolerance of the latent path.  [default: 0.001]")
@click.option("--atol", type=ATOL, help="Absolute tolerance of the latent path.  [default: 0.0001]")
@click.option("--step", type=STEP, help="Fixed steps of the latent path, a share of the longest span, at most 1.")
@click.option("--gradient", type=click.Choice(GRADIENTS), help="How gradients are computed.  [default: aca]")
@click.option(
    "--encoder-steps", type=Whole(1, largest=10_000), help="Euler steps of the recurrent state in a gap.  [default: 1]"
)
@click.option("--epochs", type=EPOCHS, help="How often all series are seen.  [default: 100]")
@click.option("--batch", type=Whole(1), help="Series an update.  [default: 50]")
@click.option("--lr", type=NETWORK, help="Largest learning rate of Adam, in one cycle.  [default: 0.01]")
@click.option(
    "--weight-decay",
    type=Real(0, largest=1e18, why="no weight is left; give less"),
    help="Of the weights.  [default: 0]",
)
@click.option("--clip", type=NETWORK, help="Largest norm of a gradient.  [default: 10]")
@click.option(
    "--kl-weight",
    type=Real(0, largest=1e18, why="single precision cannot hold the loss; give less"),
    help="Of the divergence from the prior.  [default: 1]",
)
@click.option("--kl-rise", type=Real(0, 1), help="Share of the training in which it is reached.  [default: 0.5]")
@click.option("--min-points", type=Whole(2), help="Leave out series of fewer points.")
@click.option(
    "--test-fraction",
    type=SHARE,
    help="Share of all series for the test, drawn at random.  [default: 0.2]",
)
@click.option("--split", type=SEED, help="Seed of that draw.  [default: 0]")
@click.option("--limit", type=Whole(1), help="Use this many training series only.")
@click.option("--seed", type=SEED, help="Seed of weights, batches and draws.  [default: 0]")
@device_option
@click.option("--threads", type=THREADS, help="Threads to compute with on CPU.  [default: torch's]")
@click.option("--name", callback=folder_name, help="Name of the run.  [default: from DATA and --model]")
@click.option("--out", type=PATH, default="runs", show_default=True, help="Folder that the run goes into.")
@click.option("--resume", type=PATH, metavar="RUN", help="Go on with this run after its last whole epoch.")
@click.option(
    "--tensorboard/--no-tensorboard",
    default=None,
    help="Write curves for TensorBoard.  [default: where it is installed]",
)
@force_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Train a model of irregular time series: each at times of its own, channels missing here and there.

    DATA is a table with the columns series, time, channel and value, HDF5 of trajectories or series, or a folder of
    records of PhysioNet's 2012 challenge. Each epoch tells the model another random share of each series' points, and
    asks it for all (interpolation), or for what comes after (extrapolation). Times and values are normalised.

    Settings, history (metrics.jsonl), checkpoints and log go into runs/NAME; a training that was killed goes on after
    its last whole epoch, to the same numbers.

    \b
    Examples:
      physode train timeseries hopper.h5 --observed 0.1
      physode train timeseries vanderpol.h5 --latent 6 --units 50 --hidden 32 --lr 0.02
      physode train timeseries visits.csv --model ode-rnn --task extrapolation --min-points 3
      physode train timeseries set-a/ --model gru --epochs 20
      physode train timeseries --resume runs/hopper-latent-ode --epochs 200
    """
    import torch

    from physode.series import train

    if options["threads"] is not None:
        torch.set_num_threads(options["threads"])
    refuse_idle_tolerances(ctx)
    resume = options["resume"] is not None
    series, run = _resumed(ctx, options) if resume else _begun(ctx, options)
    with showing_training(run.path.name, epochs=run.config.epochs, told=_told) as (on_epoch, progress):
        train(
            series,
            run.config,
            run=run,
            resume=resume,
            tensorboard=with_tensorboard(options["tensorboard"]),
            on_epoch=on_epoch,
            on_note=say,
            progress=progress,
        )
    _show(run, series, as_json=options["as_json"])


def _begun(ctx: click.Context, options: dict[str, Any]) -> tuple[IrregularSeries, SeriesRun]:
    """Read the series, and make the run's folder."""
    from physode.series import SeriesConfig, create_series_run
    from physode.series.data import split
    from physode.training import check_new_folder, claimed_run

    source = options["source"]
    if source is None:
        raise click.UsageError("name the series: physode train timeseries DATA, a table, HDF5 or folder of them.")
    config = SeriesConfig(**given_settings(options, _NOT_SETTINGS))
    usual = f"{source.resolve().name.partition('.')[0]}-{config.model}"
    path = options["out"] / (options["name"] or usual)
    check_new_folder(path, overwrite=options["force"])
    series = read_shown(source)
    split(series, config)  # what does not fit is said before a folder is made
    ctx.with_resource(claimed_run(path))
    run = create_series_run(
        path,
        config,
        data=source,
        channels=series.channels,
        units=series.units,
        time_unit=str(series.attrs.get("time_unit", "")),
        digest=series.digest(),
        overwrite=options["force"],
    )
    return series, run


def _resumed(ctx: click.Context, options: dict[str, Any]) -> tuple[IrregularSeries, SeriesRun]:
    """Return the run to go on with, with as many epochs as asked for, and its series."""
    refuse_beside_resume(ctx, options, allowed=_WITH_RESUME)
    from physode.series import open_series_run
    from physode.training import claimed_run

    run = open_series_run(options["resume"])
    ctx.with_resource(claimed_run(run.path))
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, **resumed_changes(ctx, options)))
    return read_shown(options["source"] or run.data), run


def _told(epoch: Epoch) -> str:
    return f"loss {epoch.loss:.3f}, test MSE {epoch.test_mse:.4f}"


def _show(run: SeriesRun, series: IrregularSeries, *, as_json: bool) -> None:
    from physode.series import evaluate

    found = evaluate(run, series, tasks=(run.config.task,), draws=_DRAWS)
    history = run.history()
    last, best = history[-1], min(history, key=lambda line: float(line["test_mse"]))
    seconds = sum(line["seconds"] + line["test_seconds"] for line in history)
    scores = found.tasks[run.config.task].scores
    if as_json:
        told = {"parameters": found.parameters, "total_seconds": seconds, "run": str(run.path)}
        show_json({**last, "test": scores.as_dict(), **told})
        return
    show_pairs("training", {**_merits(run, found), "best test MSE": f"{best['test_mse']:.6g}, epoch {best['epoch']}"})
    show_pairs(
        "",
        {
            "epochs": last["epoch"],
            "training loss": last["loss"],
            "rhs evaluations a batch": f"{last['rhs_forward']:.6g} forward, {last['rhs_backward']:.6g} backward",
            "parameters": found.parameters,
            "seconds": seconds,
            "run": str(run.path),
            "next": f"physode evaluate {run.path}, physode plot {run.path}",
        },
    )


def _merits(run: SeriesRun, found: SeriesEvaluation) -> dict[str, Any]:
    config, scores = run.config, found.tasks[run.config.task].scores
    return {
        "task": f"{config.task} from {100 * config.observed:g} % of the points, {scores.series} test series",
        "test MSE": f"{scores.mse:.6g}, standardised",
        "by range": scores.mse_by_range,
        "by range, points not told": scores.unseen_by_range,
        "log-likelihood": f"{scores.log_likelihood:.6g} a value, standardised",
    }
