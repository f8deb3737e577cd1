"""``physode fit``: constants, or a network, from observed trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.advice import advising
from physode.cli.numbers import SECONDS, THREADS, Real, Whole, finite_numbers, numbers_between_commas
from physode.cli.open_fit import fit_open, resume_open
from physode.cli.open_source import find_open
from physode.cli.options import (
    force_option,
    given,
    given_settings,
    json_option,
    options_of,
    refuse_beside_resume,
    refuse_idle_tolerances,
    run_options,
    threads_option,
)  # fmt: skip
from physode.cli.paths import PATH, check_source
from physode.cli.show import precise, show_json, show_pairs, show_table
from physode.cli.tables import SectionedCommand, say_understood, table_options
from physode.fitting.config import RHS, FitConfig
from physode.progress import showing_epochs
from physode.summary import error_text

if TYPE_CHECKING:
    from physode.fitting import ConstantFit, Epoch, Report, Run

__all__ = ["command"]

_DEFAULT_DATA = Path("threebody.h5")
_WITH_RESUME = {"resume", "epochs", "as_json", "checkpoint_seconds", "max_seconds", "threads"}
# Numbers in all states of a time below which threads cost more than they bring, above all where cores are shared.
_SMALL = 4096
_MOST_ROWS = 24  # of fitted numbers shown

_OPEN = "Of an equation of your own: "

_some_widths = numbers_between_commas(int, "64,64")


def _reals(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    return None if value is None else finite_numbers(value)


def _widths(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    return () if value == "none" else _some_widths(ctx, param, value)


def _named(form: str, *, needs_value: bool = True, infinite: bool = False) -> Any:
    """A callback for options ``NAME=A,B,...`` that may be repeated; infinities may stand for no bound."""

    def read(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
        found = {}
        for text in value:
            name, equals, numbers = text.partition("=")
            if not name or (needs_value and not equals) or (equals and not numbers):
                raise click.BadParameter(f"{text!r} is not of the form {form}")
            found[name] = finite_numbers(numbers, infinite=infinite) if equals else ()
        return found

    return read


class _Rhs(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4
    """One of the settings' kinds, or a right-hand side of the user's own, FILE.py:NAME."""

    name = "rhs"
    choices = RHS

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(RHS)}|FILE.py:NAME]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in RHS and ":" not in value:
            known = ", ".join(map(repr, RHS))
            self.fail(f"{value!r} is not one of {known}, nor FILE.py:NAME", param, ctx)
        return str(value)


@click.command(cls=SectionedCommand)
@click.argument("data", type=PATH, nargs=-1)
@click.option(
    "--model", type=PATH, metavar="FILE", help="Fit the equations of this model file; see: physode model --help"
)
@click.option("--starts", type=Whole(1, largest=4096), default=8, show_default=True, help=_OPEN + "starting points.")
@click.option("--jobs", type=THREADS, help=_OPEN + "search in batches of 8 starts, so many at a time.")
@click.option("--scheduler", metavar="ADDRESS", help=_OPEN + "send batches of 8 starts to this Dask scheduler.")
@click.option("--states", metavar="A,B,...", help=_OPEN + "names of the states, where they are not the columns.")
@click.option("--observe", metavar="A,B,...", help=_OPEN + "which state each column is, where not all are observed.")
@click.option("--until", type=Real(finite=False), metavar="TIME", help=_OPEN + "extrapolate to this time.")
@options_of(
    FitConfig,
    without=("max_steps", "activation", "sequence", "predicts", "given"),
    rhs={"type": _Rhs()},
    train_until={"type": Real(finite=False), "metavar": "TIME"},
    init={"callback": _named("NAME=A,B,..."), "metavar": "NAME=A,B,..."},
    free={"metavar": "NAME"},
    fix={
        "callback": _named("NAME or NAME=A,B,...", needs_value=False),
        "metavar": "NAME[=A,...]",
    },
    bounds={"callback": _named("NAME=LOW,HIGH", infinite=True), "metavar": "NAME=LOW,HIGH"},
    priors={"callback": _named("NAME=MEAN,SD"), "metavar": "NAME=MEAN,SD"},
    hidden={"callback": _widths},
    betas={"callback": _reals, "metavar": "A,B"},
)
@click.option("--init-masses", callback=_reals, metavar="A,B,...", help="Short for --init masses=A,B,...")
@run_options(named_after="DATA and --rhs", resumed="from its last checkpoint")
@click.option(
    "--checkpoint-seconds",
    type=Real(0, largest=1e9, why="no checkpoint would be kept; give less"),
    default=5.0,
    show_default=True,
    help="Shortest time between checkpoints.",
)
@click.option(
    "--max-seconds",
    type=SECONDS,
    help="End after this time with the best found so far; go on with --resume.  [default: no limit]",
)
@threads_option("1 for small states, else torch's")
@force_option
@json_option
@table_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Fit a right-hand side to the trajectories in DATA, by default threebody.h5 in this folder.

    DATA is HDF5, a table (time,body,x,y,z or a column a component: CSV in any dialect, .xlsx or .mat), or JPL Horizons
    vector tables, one file a body.
    Settings, history, checkpoints, predictions and the report go into the run's folder, runs/NAME. How the fit ended is
    its status: converged, max epochs, out of time; or, with exit code 1, diverged, no progress, or explains nothing:
    what is kept is then the best that was seen, be it the initial guess.

    An equation of your own comes from a model file (--model), from Python (--rhs FILE.py:NAME, a function f(t, x, k=1)
    or a module of torch; the file is imported, and so run) or from a PEtab problem (DATA is its .yaml). Its constants
    are searched for from many starts at once; curves with bands, starts, residuals and figures go into its folder.

    \b
    Examples:
      physode fit swing.csv --model swing.toml
      physode fit swing.csv --rhs swing.py:Swing --states x,v --observe x --until 30
      physode fit problem.yaml --starts 20
      physode fit problem.yaml --starts 200 --scheduler tcp://127.0.0.1:8786
      physode fit --rhs physical
      physode fit threebody.h5 --init-masses 1.2,1,0.8 --train-until 0.5
      physode fit --rhs augmented --optimizer adam --gradient adjoint --epochs 50
      physode fit --rhs augmented --betas 0.5,0.5 --time-weight 0.01 --gravity-units --pairs unordered
      physode fit --rhs augmented --epochs 5000 --compile
      physode fit --rhs lstm-aug --train-until 1
      physode fit vanderpol.h5 --free mu
      physode fit orbits.csv --fix masses[1]=1 --init masses[2]=0.001 --sigma 1e-6
      physode fit sun.txt jupiter.txt saturn.txt --fix masses[1]=1
      physode fit pelts.csv --system lotka_volterra --positive --schedule shooting --train-until 1920
      physode fit messung.csv --system pendulum --decimal , --time-unit s
      physode fit --rhs neural --max-seconds 600
      physode fit --resume runs/threebody-physical --epochs 200
    """
    from physode.training.folder import kind_of_run

    refuse_idle_tolerances(ctx)
    if options["resume"] is not None and kind_of_run(options["resume"]) == "estimate":
        resume_open(ctx, options)
        return
    source = find_open(options) if options["resume"] is None else None
    if source is not None:
        fit_open(ctx, source, options)
        return
    _refuse_open(ctx)
    run, resume = _resumed(ctx, options), options["resume"] is not None
    if run is None:
        run = _new_run(ctx, options)
    from physode.datasets import read_data
    from physode.fit_status import is_trusted
    from physode.fitting import fit

    trajectories = read_data(run.data, options=run.table)
    say_understood(trajectories.attrs.get("understood"))
    _choose_threads(options["threads"], trajectories.y[:, 0].size)
    epochs = run.config.epochs or 1
    with showing_epochs(f"fitting {run.path.name}") as tell:
        found = fit(
            trajectories,
            run.config,
            run=run,
            resume=resume,
            checkpoint_seconds=options["checkpoint_seconds"],
            max_seconds=options["max_seconds"],
            on_epoch=lambda each: tell(each.epoch / epochs, f"epoch {each.epoch}/{epochs}", _told(each)),
        )
    if options["as_json"]:
        show_json({"run": str(run.path), **found.report.as_dict()})
    else:
        _show(found.report, run)
    if not is_trusted(found.report.status):
        raise click.ClickException(f"no fit, {found.report.ended} ({run.path})")


def _refuse_open(ctx: click.Context) -> None:
    """Refuse options of fits of one's own equation beside a right-hand side of physode."""
    idle = given(ctx) & {"starts", "jobs", "scheduler", "states", "observe", "until"}
    if idle:
        raise click.UsageError(f"--{sorted(idle)[0]} needs an equation of your own: --model FILE or --rhs FILE.py:NAME")


def _new_run(ctx: click.Context, options: dict[str, Any]) -> Run:
    from physode.errors import DataError

    if not options["data"] and not _DEFAULT_DATA.exists():
        raise DataError(
            f"there is no {_DEFAULT_DATA} in this folder; make one with: physode simulate threebody; or name a file: "
            "physode fit DATA"
        )
    for path in options["data"]:
        check_source(path)
    from physode.datasets import read_data
    from physode.datasets.files import naming
    from physode.fitting import create_run, effective_config
    from physode.fitting.data import choose, digest
    from physode.fitting.fit import check_model
    from physode.training.folder import check_new_folder, claimed_run

    name: str | None = options["name"]
    data: tuple[Path, ...] = options["data"] or (_DEFAULT_DATA,)
    short = {} if options["init_masses"] is None else {"masses": options["init_masses"]}
    config = FitConfig(**{**given_settings(FitConfig, options), "init": options["init"] | short})
    path = options["out"] / (name or f"{data[0].stem}-{config.rhs}")
    check_new_folder(path, overwrite=options["force"])
    with advising(data[0], takes=("trajectories", "table"), options=options["table"]):
        trajectories = read_data(data, options=options["table"])
    with naming(Path(", ".join(map(str, data)))):
        config = effective_config(config, trajectories)
        check_model(config, choose(trajectories, config))  # what does not fit is said before a folder is made
    ctx.with_resource(claimed_run(path))
    return create_run(
        path, config, data=data, digest=digest(trajectories), table=options["table"], overwrite=options["force"]
    )


def _resumed(ctx: click.Context, options: dict[str, Any]) -> Run | None:
    """Return the run to go on with, with as many epochs as asked for."""
    if options["resume"] is None:
        return None
    refuse_beside_resume(ctx, allowed=_WITH_RESUME, changeable="--epochs", example="runs/threebody-physical")
    import dataclasses

    from physode.fitting import open_run
    from physode.training.folder import claimed_run

    run = open_run(options["resume"])
    ctx.with_resource(claimed_run(run.path))
    if options["epochs"] is not None:
        run = dataclasses.replace(run, config=dataclasses.replace(run.config, epochs=options["epochs"]))
        run.write_config()
    return run


def _choose_threads(threads: int | None, size: int) -> None:
    import torch

    if threads is not None or size < _SMALL:
        torch.set_num_threads(threads or 1)


def _told(epoch: Epoch) -> str:
    """Return loss and steps of an epoch."""
    loss = "failed" if epoch.loss is None else f"{epoch.loss:.3e}"
    rejected = "" if epoch.rejected is None else f", {epoch.rejected} rejected"
    steps = "" if epoch.accepted is None else f", {epoch.accepted} steps{rejected}"
    return f"loss {loss}{steps}"


def _show(report: Report, run: Run) -> None:
    for title, fitted in (("constants", report.constants), ("initial states", report.initial_states)):
        if fitted and len(fitted) <= _MOST_ROWS:
            _show_fitted(title, fitted)
    columns = run.config.loss or "state"
    clean = any(each.mse_clean is not None for each in report.errors)
    heads = ["span", "from", "to", "values", "MSE", *(["MSE without noise"] if clean else [])]
    errors = [
        [each.span, each.start, each.end, each.values, each.mse, *([each.mse_clean] if clean else [])]
        for each in report.errors
    ]
    show_table(f"mean squared error of the {columns}", heads, errors)
    pairs = {
        "status": report.status,
        "ended": report.ended,
        "epochs": report.epochs,
        "parameters": report.parameters,
        "run": str(run.path),
    }
    if report.chi_square is not None:
        pairs["chi-square a degree of freedom"] = report.chi_square
    if len(report.initial_states) > _MOST_ROWS:
        pairs["initial states"] = f"{len(report.initial_states)} fitted, in {run.path / 'report.json'}"
    show_pairs("fit", {**pairs, **{f"note {i}": note for i, note in enumerate(report.notes, start=1)}})


def _show_fitted(title: str, fitted: tuple[ConstantFit, ...]) -> None:
    """Show fitted numbers; columns that have nothing to say are left out."""
    ends = [(None, None) if each.interval is None else each.interval for each in fitted]
    errors = [each.standard_error for each in fitted]
    columns: dict[str, list[Any]] = {
        "name": [each.name for each in fitted],
        "unit": [each.unit or None for each in fitted],
        "true": [precise(each.true) for each in fitted],
        "fitted": [precise(each.fitted, each.standard_error) for each in fitted],
        "standard error": list(map(error_text, errors)),
        "95 % from": [precise(low, error) for (low, _), error in zip(ends, errors, strict=True)],
        "to": [precise(high, error) for (_, high), error in zip(ends, errors, strict=True)],
        "relative error": [error_text(each.relative_error) for each in fitted],
    }
    told = {name: cells for name, cells in columns.items() if any(cell is not None for cell in cells)}
    show_table(title, list(told), [[cells[row] for cells in told.values()] for row in range(len(fitted))])
