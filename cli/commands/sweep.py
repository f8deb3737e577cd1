"""``physode sweep``: thousands of fits or simulations, batched, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.commands.simulate_shared import Decorator, together
from physode.cli.numbers import POSITIVE, THREADS, Real, Whole, finite_numbers
from physode.cli.options import ADAPTIVE_METHODS, force_option, json_option, seed_option
from physode.cli.paths import PATH
from physode.cli.show import show_json, show_pairs
from physode.cli.tables import SectionedCommand, say_understood, table_options
from physode.progress import showing_epochs

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.sweeps.table import Table

__all__ = ["command"]

_SOME_FAILED = 3  # the exit code
_MEMBERS = ("trajectories", "files")


@click.group()
def command() -> None:
    """Fit or simulate thousands of members, batched, in one table with a status a row.

    Batches are solved as one, --jobs of them at a time or on a Dask cluster (--scheduler). Each is kept when it is done
    (in TABLE.cells, until all is there): the same command goes on where it was interrupted, and tries again what has
    failed. What raises, or kills its process, loses its batch alone. Results are the same, to the last bit, however
    they are computed.

    \b
    Examples:
      physode sweep fit lotkavolterra.h5 --positive --jobs 2
      physode sweep simulate three_body --over masses[1]=0.5:1.5:11 --preset aca
      physode sweep fit --help
    """


def _over(flag_help: str) -> Decorator:
    return click.option("--over", multiple=True, metavar="NAME=VALUES", help=flag_help)


def _sweep_options(table: str) -> Decorator:
    """``--seeds``, and where batches are computed, and what is written."""
    return together(
        click.option("--seeds", metavar="A:B", help="Short for --over seed=A:B, the seeds from A to B - 1."),
        click.option("--batch", type=Whole(1), help="Members of a batch.  [default: 500, fewer that are large]"),
        click.option("--jobs", type=THREADS, help="Batches computed at a time.  [default: 1]"),
        click.option("--scheduler", metavar="ADDRESS", help="Send batches to this Dask scheduler instead."),
        click.option(
            "--out", type=PATH, default=table, show_default=True, help="The table: .csv, or .parquet with pyarrow."
        ),
        force_option,
        json_option,
    )


def _solver_options(method: str, rtol: str, atol: str) -> Decorator:
    return together(
        click.option("--method", type=click.Choice(ADAPTIVE_METHODS), help=f"Integration method.  [default: {method}]"),
        click.option("--rtol", type=POSITIVE, help=f"Relative tolerance of a step.  [default: {rtol}]"),
        click.option("--atol", type=POSITIVE, help=f"Absolute tolerance of a step.  [default: {atol}]"),
        click.option("--max-steps", type=Whole(1), help="Most attempts in a solve."),
    )


def _numbers(form: str, *, needs_value: bool = True, infinite: bool = False) -> Any:
    """A callback for options ``NAME=A,B,...`` that may be repeated."""

    def read(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, list[float]]:
        found = {}
        for text in value:
            name, equals, numbers = text.partition("=")
            if not name or (needs_value and not equals) or (equals and not numbers):
                raise click.BadParameter(f"{text!r} is not of the form {form}")
            found[name] = list(finite_numbers(numbers, infinite=infinite)) if equals else []
        return found

    return read


@command.command("fit", cls=SectionedCommand)
@click.argument("data", type=PATH, nargs=-1, required=True)
@click.option("--rhs", metavar="SYSTEM|FILE.py:NAME", help="The equation.  [default: the system that DATA names]")
@_over("Fit each member once for each of these values: guesses of what is fitted, values of what is fixed; repeat it.")
@click.option(
    "--init", multiple=True, callback=_numbers("NAME=A,B,..."), metavar="NAME=A,...", help="Guess.  [default: 1]"
)
@click.option(
    "--fix", multiple=True, callback=_numbers("NAME or NAME=A,...", needs_value=False), metavar="NAME[=A,...]",
    help="Keep a constant at this value, or at the data's, or the equation's own; repeat it.",
)  # fmt: skip
@click.option(
    "--bound", "bounds", multiple=True, callback=_numbers("NAME=LOW,HIGH", infinite=True), metavar="NAME=LOW,HIGH",
    help="Keep a constant between these; repeat it.",
)  # fmt: skip
@click.option("--positive", is_flag=True, help="Keep fitted constants above 0: search for logarithms.")
@click.option(
    "--start", type=click.Choice(["fit", "known"]), default="fit", show_default=True,
    help="Whether initial states are fitted, or the first observations are exact.",
)  # fmt: skip
@click.option("--states", metavar="A,B,...", help="Names of the states, where they are not the columns.")
@click.option("--observe", metavar="A,B,...", help="Which state each column is, where not all are observed.")
@click.option("--sigma", type=POSITIVE, help="Standard deviation of the values.  [default: the data's, or found]")
@click.option("--starts", type=Whole(1, largest=4096), default=8, show_default=True, help="Most starts of a member.")
@click.option("--epochs", type=Whole(1), default=200, show_default=True, help="Most evaluations from a start.")
@_solver_options("dopri8", "1e-9", "1e-11")
@seed_option
@_sweep_options("fits.csv")
@table_options
@click.pass_context
def fit_command(ctx: click.Context, /, table: TableOptions, **options: Any) -> None:
    """Fit one equation to each trajectory, experiment or file in DATA by itself.

    All are fitted by Levenberg-Marquardt, batched, each with a clock, a damping and an end of its own; a member that
    does not converge, or explains less than half of its data's variance, is begun anew from --starts points in all. The
    table has a row a member: its name, status, constants with standard errors, loss, share of the variance explained.
    The status is converged; or max epochs, no progress, diverged, not determined, unsolved or refused, with the reason.

    VALUES of --over are A:B:N (N values, both ends included), A:B:N:log, whole numbers A:B, or values with commas
    between them; @FILE.csv takes rows of a table as they are. Several --over make all combinations. Names are constants
    or elements such as masses[1], and states, whose initial values are meant.

    The exit code is 1 where no member converged, 3 where batches failed.

    \b
    Examples:
      physode sweep fit lotkavolterra.h5 --positive --jobs 2 --out fits.csv
      physode sweep fit lotkavolterra.h5 --rhs lotka_volterra --over trajectories --sigma 0.1
      physode sweep fit plants/*.csv --rhs growth.py:logistic --out plants.parquet
      physode sweep fit swings.h5 --rhs pendulum --fix damping --over damping=0:0.5:6
      physode sweep fit lotkavolterra.h5 --seeds 0:4 --scheduler tcp://127.0.0.1:8786
    """
    from physode.ensembles import fit_ensemble

    data = _read(options["data"], table)
    rhs = _equation(options["rhs"], data)
    wrong = [name for name, ends in options["bounds"].items() if len(ends) != 2]
    if wrong:
        raise click.BadParameter(f"'{wrong[0]}' must have a lower and an upper number", param_hint="--bound")
    given = {**options["init"], **{name: value for name, value in options["fix"].items() if value}}
    constants = {name: value[0] if len(value) == 1 else value for name, value in given.items()}
    over = [text for text in options["over"] if text not in _MEMBERS]

    def run(**where: Any) -> Table:
        return fit_ensemble(
            rhs,
            data,
            over=_cases(over, options["seeds"]),
            constants=_completed(rhs, constants),
            start=options["start"],
            states=_words(options["states"]),
            observe=_words(options["observe"]),
            sigma=options["sigma"],
            bounds={name: tuple(ends) for name, ends in options["bounds"].items()},
            fixed=tuple(options["fix"]),
            log=_positive(rhs) if options["positive"] else False,
            starts=options["starts"],
            seed=options["seed"],
            iterations=options["epochs"],
            **_given(options),
            **where,
        )

    _carry_out(ctx, run, options, "fitting", good="converged")


@command.command("simulate")
@click.argument("system")
@_over("Constants, elements such as masses[1], columns (their initial values) and seed; repeat it.")
@click.option("--preset", help="A known problem; other options replace its parts.")
@click.option(
    "--constant", "constants", multiple=True, callback=_numbers("NAME=A,B,..."), metavar="NAME=A,...",
    help="A constant of all simulations; repeat it.",
)  # fmt: skip
@click.option(
    "--y0", callback=lambda ctx, param, value: None if value is None else finite_numbers(value), metavar="X,X,...",
    help="Initial state of all simulations.",
)  # fmt: skip
@click.option("--t-end", type=Real(above=0.0), help="End of the time span, which begins at 0.")
@click.option("--points", type=Whole(2), help="Number of output times.")
@click.option("--trajectories", type=PATH, metavar="FILE.h5", help="Write all solutions into this file.")
@_solver_options("dopri8, of stiff systems rodas5p", "1e-10, of stiff systems 1e-6", "1e-12, of stiff systems 1e-10")
@_sweep_options("simulations.csv")
@click.pass_context
def simulate_command(ctx: click.Context, /, **options: Any) -> None:
    """Simulate SYSTEM for all combinations of constants, initial states and seeds.

    The table has a row a simulation: what it was made with, its status (done, or why it ended early), the time that it
    reached, and of each column its value then, and its least and greatest values.

    VALUES of --over are A:B:N (N values, both ends included), A:B:N:log, whole numbers A:B, or values with commas
    between them; @FILE.csv takes rows of a table as they are. A seed draws the initial state.

    \b
    Examples:
      physode sweep simulate van_der_pol --over mu=0.5:4:8
      physode sweep simulate three_body --preset aca --over masses[1]=0.5:1.5:11 --over masses[2]=0.9,1.1
      physode sweep simulate lotka_volterra --over alpha=1:2:5 --seeds 0:10 --trajectories all.h5
      physode sweep simulate pendulum --over angle=0.1:3:30 --over length=0.1:10:5:log --jobs 2
      physode sweep simulate lorenz --over @cases.csv --out lorenz.parquet
    """
    from physode.ensembles import simulate_ensemble
    from physode.rhs import SYSTEMS

    joined = {name.replace("_", ""): name for name in SYSTEMS}
    system = joined.get(options["system"].replace("_", "").replace("-", ""), options["system"])
    over = _cases(options["over"], options["seeds"])
    if over is None:
        raise click.UsageError("a sweep needs something to run over: --over NAME=VALUES or --seeds A:B", ctx)
    own = {name: value[0] if len(value) == 1 else value for name, value in options["constants"].items()}

    def run(**where: Any) -> Table:
        named = {name: options[name] for name in ("preset", "y0", "t_end", "points", "trajectories")}
        return simulate_ensemble(system, over, constants=own, **named, **_given(options), **where)

    _carry_out(ctx, run, options, "simulating", good="done")


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("method", "rtol", "atol", "max_steps") if options[name] is not None}


def _cases(over: Sequence[str], seeds: str | None) -> list[dict[str, Any]] | None:
    from physode.sweeps.axes import parse_axes

    texts = [*over, *([] if seeds is None else [f"seed={seeds}"])]
    return parse_axes(texts) if texts else None


def _read(paths: Sequence[Path], table: TableOptions) -> Any:
    """Read members: one file of trajectories as it is, several files together, tables with their experiments."""
    from physode.datasets import read_data
    from physode.errors import DataError

    binary = [path for path in paths if path.suffix in (".h5", ".hdf5")]
    if len(binary) == len(paths) == 1:
        return read_data(paths, options=table)
    if not binary:
        from physode.equations.columns import observed_of, read_recordings

        return observed_of(read_recordings(paths, options=table, tell=say_understood))
    if len(binary) < len(paths):
        raise DataError("tables and HDF5 files do not go together; sweep over one kind at a time")
    import dataclasses

    from physode.estimation.observed import Observed, observed

    parts = {path: observed(read_data([path], options=table)) for path in paths}
    columns = {part.columns for part in parts.values()}
    if len(columns) > 1:
        raise DataError(f"the files have different columns: {' and '.join(', '.join(own) for own in columns)}")
    series = [
        dataclasses.replace(one, name=f"{path.stem}:{one.name}") for path, part in parts.items() for one in part.series
    ]
    return Observed(columns.pop(), tuple(series))


def _equation(rhs: str | None, data: Any) -> Any:
    if rhs is None:
        system = getattr(data, "attrs", {}).get("system")
        if system is None:
            raise click.UsageError("the data do not say which system they are of: give --rhs SYSTEM or FILE.py:NAME")
        return str(system)
    if rhs.endswith(".py"):
        raise click.UsageError(f"{rhs} may hold several functions; name one, --rhs {rhs}:NAME")
    if ":" not in rhs:
        return rhs.replace("-", "_")
    from physode.cli.rhs_spec import find_target

    return find_target(rhs).f


def _completed(rhs: Any, constants: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the constants of a function with those that are given in place of its defaults."""
    if isinstance(rhs, str) or not constants:
        return dict(constants) or None
    from physode.ensembles.equations import defaults_of

    return {**defaults_of(rhs), **constants}


def _positive(rhs: Any) -> tuple[str, ...]:
    """Return the constants that can be fitted, initial states left out."""
    from physode.ensembles.equations import defaults_of
    from physode.rhs import SYSTEMS

    if not isinstance(rhs, str):
        return tuple(defaults_of(rhs))
    return tuple(SYSTEMS[rhs].declared) if rhs in SYSTEMS else ()


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",")]


def _carry_out(
    ctx: click.Context, run: Callable[..., Table], options: Mapping[str, Any], what: str, *, good: str
) -> None:
    """Run under a progress bar, write the table, and say what came of it."""
    if options["jobs"] is not None and options["scheduler"] is not None:
        raise click.UsageError("--jobs and --scheduler do not go together: a cluster has its own workers", ctx)
    import torch

    from physode.sweeps.table import FAILED, LOST, check_table
    from physode.training.folder import discard

    out: Path = options["out"]
    folder = out.with_name(f"{out.stem}.cells")
    begun = folder.is_dir()
    check_table(out, overwrite=options["force"] or begun)
    torch.set_num_threads(1)
    try:
        with showing_epochs(f"{what} {out.stem}") as tell:
            table = run(
                **({} if options["batch"] is None else {"batch": options["batch"]}),
                jobs=options["jobs"] or 1,
                scheduler=options["scheduler"],
                folder=folder,
                force=options["force"],
                progress=lambda done, of, _: tell(done / of, f"{done} of {of}"),
            )
    except KeyboardInterrupt:
        click.echo(f"Note: batches that are done are kept in {folder}; the same command goes on from there", err=True)
        raise
    table.write(out, overwrite=options["force"] or begun)
    counts = table.statuses
    failed = counts.get(FAILED, 0) + counts.get(LOST, 0)
    if not failed:
        discard(folder)
    if options["as_json"]:
        show_json({"table": str(out), "rows": len(table), "statuses": counts})
    else:
        show_pairs("sweep", {"rows": len(table), **counts, "table": str(out)})
    if failed:
        row = next(i for i, status in enumerate(table["status"]) if status in (FAILED, LOST))
        click.echo(
            f"Error: {failed} of {len(table)} rows failed with their batches ({table['reason'][row]}); the same "
            "command tries them again",
            err=True,
        )
    ctx.exit(1 if good not in counts else _SOME_FAILED if failed else 0)
