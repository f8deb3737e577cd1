"""``physode train timeseries``: models of irregular series."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from physode.cli.advice import advising
from physode.cli.data import read_as_run, read_shown, say
from physode.cli.numbers import Real
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
from physode.cli.tables import SectionedCommand, series_table_options
from physode.progress import showing_epochs
from physode.series.config import SeriesConfig
from physode.training.settings import NETWORK

if TYPE_CHECKING:
    from physode.datasets.series import IrregularSeries
    from physode.series import Epoch, SeriesEvaluation, SeriesRun

__all__ = ["command"]

_WITH_RESUME = {"resume", "epochs", "source", "device", "threads", "tensorboard", "as_json"}
_DRAWS = 10  # for the log-likelihood at the end
_SCALED = {"deviation": "standardised", "range": "by range"}


@click.command(cls=SectionedCommand, short_help="Train on irregular time series, each at times of its own.")
@click.argument("source", type=SOURCE, required=False, metavar="DATA")
@options_of(SeriesConfig, clip={"type": Real.of(NETWORK)})
@training_options(named_after="DATA and --model")
@series_table_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Train a model of irregular time series: each at times of its own, channels missing here and there.

    DATA is a table, HDF5 of trajectories or series, or a folder of records of PhysioNet's 2012 challenge. A table has a
    row a value, with columns series, time, channel and value, or a row a time and a column a channel; --columns says
    what columns are that have other names, and the run keeps it.

    Each epoch tells the model another random share of each series' points, and asks it for all (interpolation), or for
    what comes after (extrapolation). Times and values are normalised.

    Settings, history (metrics.jsonl), checkpoints and log go into runs/NAME; a training that was killed goes on after
    its last whole epoch, to the same numbers.

    \b
    Examples:
      physode train timeseries hopper.h5 --observed 0.1
      physode train timeseries vanderpol.h5 --latent 6 --units 50 --hidden 32 --lr 0.02
      physode train timeseries lab.csv --columns series=subject,time=minutes,channel=analyte,value=conc --static age
      physode train timeseries ward.xlsx --columns series=patient,time=seen --time-unit h
      physode train timeseries visits.csv --model ode-rnn --task extrapolation --min-points 3
      physode train timeseries set-a/ --model gru-d --epochs 20
      physode train timeseries hopper.h5 --optimiser adamax --lr-decay 0.999 --scaling range --sigma 0.001 --samples 3
      physode train timeseries --resume runs/hopper-latent-ode --epochs 200
    """
    resume, example = options["resume"] is not None, "runs/hopper-latent-ode"
    if resume:
        refuse_beside_resume(ctx, allowed=_WITH_RESUME, changeable="--epochs and --device", example=example)
    import torch

    from physode.series import train

    if options["threads"] is not None:
        torch.set_num_threads(options["threads"])
    refuse_idle_tolerances(ctx)
    series, run = _resumed(ctx, options) if resume else _begun(ctx, options)
    with showing_epochs(f"training {run.path.name}") as tell:
        train(
            series,
            run.config,
            run=run,
            resume=resume,
            tensorboard=options["tensorboard"],
            on_epoch=lambda epoch, _: tell(epoch.epoch / run.config.epochs, last=_told(epoch)),
            on_note=say,
            progress=tell,
        )
    _show(run, series, as_json=options["as_json"])


def _begun(ctx: click.Context, options: dict[str, Any]) -> tuple[IrregularSeries, SeriesRun]:
    """Read the series, and make the run's folder."""
    from physode.series import create_series_run
    from physode.series.data import split
    from physode.training.folder import check_new_folder, claimed_run

    source = options["source"]
    if source is None:
        raise click.UsageError("name the series: physode train timeseries DATA, a table, HDF5 or folder of them.")
    config = SeriesConfig(**given_settings(SeriesConfig, options))
    usual = f"{source.resolve().name.partition('.')[0]}-{config.model}"
    path = options["out"] / (options["name"] or usual)
    check_new_folder(path, overwrite=options["force"])
    with advising(source, takes=("series", "trajectories", "table")):
        series = read_shown(source, options["table"])
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
        table=options["table"],
        overwrite=options["force"],
    )
    return series, run


def _resumed(ctx: click.Context, options: dict[str, Any]) -> tuple[IrregularSeries, SeriesRun]:
    """Return the run to go on with, with as many epochs as asked for, and its series."""
    from physode.series import open_series_run
    from physode.training.folder import claimed_run

    run = open_series_run(options["resume"])
    ctx.with_resource(claimed_run(run.path))
    changes = {name: options[name] for name in {"epochs", "device"} & given(ctx)}
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, **changes))
    return read_as_run(run, options["source"], options["table"]), run


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
        "test MSE": f"{scores.mse:.6g}, {_SCALED[config.scaling]}",
        "by range": f"{scores.mse_by_range:.6g}; of the means {scores.means_by_range:.6g}",
        "by range, points not told": scores.unseen_by_range,
        "log-likelihood": f"{scores.log_likelihood:.6g} a value, {_SCALED[config.scaling]}",
    }
