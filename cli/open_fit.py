"""The open half of ``physode fit``: an equation of the user's own, in Python, a model file or PEtab, and any data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.open_run import draw_figures
from physode.cli.open_source import KEPT, Asked, Source
from physode.cli.options import given, refuse_beside_resume
from physode.cli.paths import check_source
from physode.cli.rhs_spec import check_place
from physode.cli.show import precise, show_json, show_pairs, show_table
from physode.cli.tables import TABLE_OPTIONS
from physode.fit_status import CONVERGED
from physode.optional_imports import check_installed
from physode.progress import showing_epochs
from physode.summary import error_text

if TYPE_CHECKING:
    from physode.estimation.estimate import Estimate
    from physode.estimation.run import EstimateRun
    from physode.estimation.search import Problem

__all__ = ["fit_open", "resume_open"]

_USED = {
    *KEPT, *TABLE_OPTIONS, "data", "rhs", "model", "name", "out", "force", "as_json", "threads", "jobs", "scheduler",
}  # fmt: skip
_WITH_RESUME = {"resume", "as_json", "threads", "jobs", "scheduler"}
_MOST_ROWS = 40  # of constants shown


def fit_open(ctx: click.Context, source: Source, options: Mapping[str, Any]) -> None:
    """Fit, show and keep the result."""
    _refuse_idle(ctx, source)
    _refuse_both(options)
    for path in options["data"]:
        check_source(path)
    if source.kind == "python":
        check_place(source.name)
    else:
        check_source(Path(source.name))
    import torch

    from physode.estimation.bands import check_until
    from physode.estimation.fit import posed
    from physode.estimation.run import begun_run
    from physode.training.folder import check_new_folder

    path = options["out"] / (options["name"] or _name(source, options["data"]))
    check_new_folder(path, overwrite=options["force"])
    torch.set_num_threads(options["threads"] or 1)
    asked = Asked.of(source, options)
    estimation = asked.estimation()
    if options["until"] is not None:
        check_until(estimation, options["until"])
    problem = posed(estimation, **asked.solver)  # what cannot be is said before a folder is made
    files = [] if source.file is None else [source.file]
    with begun_run(
        path,
        estimation,
        settings=asked.settings(),
        table=asked.table.given,
        model=files,
        overwrite=options["force"],
    ) as run:
        _carry_out(run, asked, problem, options)


def resume_open(ctx: click.Context, options: Mapping[str, Any]) -> None:
    """Go on with a run that was interrupted."""
    refuse_beside_resume(
        ctx, allowed=_WITH_RESUME, changeable="--jobs, --scheduler and --threads", example="runs/swing"
    )
    _refuse_both(options)
    import torch

    from physode.errors import ConfigError
    from physode.estimation.fit import posed
    from physode.estimation.run import open_estimate_run
    from physode.training.folder import claimed_run

    run = open_estimate_run(options["resume"])
    ctx.with_resource(claimed_run(run.path))
    if run.ended:
        raise ConfigError(f"the fit of {run.path} has ended; draw it anew with: physode plot {run.path}")
    torch.set_num_threads(options["threads"] or 1)
    asked = Asked.of_run(run)
    if not asked.batches and (options["jobs"] is not None or options["scheduler"] is not None):
        raise ConfigError(
            f"{run.path} searches from all starts in one batch: --jobs and --scheduler have no part in it"
        )
    estimation = asked.estimation()
    run.check_data(estimation)
    _carry_out(run, asked, posed(estimation, **asked.solver), options)


def _carry_out(run: EstimateRun, asked: Asked, problem: Problem, options: Mapping[str, Any]) -> None:
    """Search, and write and show what is found."""
    from physode.estimation.bands import bands
    from physode.estimation.fit import estimate_posed
    from physode.estimation.identifiability import identifiability
    from physode.estimation.residual_tests import residual_tests
    from physode.estimation.run import write_results

    jobs = options["jobs"] or 1 if asked.batches and options["scheduler"] is None else None
    with showing_epochs(f"fitting {run.path.name}") as tell:
        found = estimate_posed(
            problem,
            starts=asked.options.get("starts", 8),
            seed=asked.options.get("seed", 0),
            iterations=asked.iterations,
            jobs=jobs,
            scheduler=options["scheduler"],
            folder=run.checkpoints,
            # How many stages a search will have is not known: a share that is done would mislead.
            on_iteration=lambda count, loss: tell(0.0, f"iteration {count}", f"-log L {float(loss.min()):.6g}"),
            on_batch=lambda done, count: tell(done / count, f"{done} of {count} batches"),
        )
        tell(1.0, "bands and figures")
        curves = bands(found, until=asked.options.get("until"))
        tests, determined = residual_tests(found), identifiability(found)
        notes = [found.doubt] if found.doubt else []
        doubts = notes + [test.sentence for test in tests if test.suspicious] + list(determined.complaints)
        notes += [test.sentence for test in tests] + list(determined.sentences)
        figures = draw_figures(run.figures, found, curves, overwrite=True)
        petab = Path(asked.source.name) if asked.source.kind == "petab" else None
        write_results(run, found, curves, notes=notes, doubts=doubts, petab=petab)
    if options["as_json"]:
        show_json({"run": str(run.path), **found.as_dict(), "notes": notes, "figures": list(map(str, figures))})
    else:
        _show(found, run.path, notes, list(map(str, figures)))
    if found.status != CONVERGED:
        raise click.ClickException(f"no fit, {found.ended} ({run.path})")


def _refuse_both(options: Mapping[str, Any]) -> None:
    if options["jobs"] is not None and options["scheduler"] is not None:
        raise click.UsageError("--jobs and --scheduler do not go together: a cluster has its own workers")
    if options["jobs"] is not None or options["scheduler"] is not None:
        check_installed("distributed", extra="cluster", purpose="--jobs or --scheduler of a fit")


def _refuse_idle(ctx: click.Context, source: Source) -> None:
    """Refuse options that know nothing of a fit of one's own equation, in place of ignoring them."""
    idle = given(ctx) - _USED
    if source.kind == "petab":
        idle |= given(ctx) & set(TABLE_OPTIONS)
    if source.kind != "python":
        idle |= given(ctx) & {"states", "observe", "sigma"}
    for parameter in ctx.command.params:
        if parameter.name in idle:
            what = {"model": "a model file", "python": "an equation of your own", "petab": "a PEtab problem"}
            raise click.UsageError(f"{parameter.opts[0]} has no part in a fit of {what[source.kind]}")


def _name(source: Source, data: tuple[Path, ...]) -> str:
    """Return what a run is called by default."""
    if source.kind == "petab":
        return Path(source.name).stem
    model = Path(source.name).stem if source.kind == "model" else source.name.rpartition(":")[2]
    table = data[0].stem.removesuffix(".csv") if data else model
    return model if table == model else f"{table}-{model}"


def _show(found: Estimate, path: Path, notes: list[str], figures: list[str]) -> None:
    rows = [
        [
            one.name, one.unit or None, precise(one.value, one.error), error_text(one.error),
            precise(one.low, one.error), precise(one.high, one.error),
            one.remark or None,
        ]
        for one in found.constants[:_MOST_ROWS]
    ]  # fmt: skip
    heads = ["name", "unit", "value", "standard error", "95 % from", "to", "remark"]
    told = [i for i in range(len(heads)) if any(row[i] is not None for row in rows)]
    show_table("constants", [heads[i] for i in told], [[row[i] for i in told] for row in rows])
    if len(found.constants) > _MOST_ROWS:
        click.echo(f"{len(found.constants) - _MOST_ROWS} more are in {path / 'constants.csv'}\n")
    pairs: dict[str, Any] = {
        "status": found.status,
        "ended": found.ended,
        "values": len(found.estimation.measurements),
        "starts that met": f"{found.met} of {len(found.minima.loss)}",
        "-log likelihood": found.loss,
        "AIC, AICc, BIC": f"{found.aic:.6g}, {found.aicc:.6g}, {found.bic:.6g}",
    }
    if found.chi_square is not None:
        pairs["chi-square a degree of freedom"] = found.chi_square
    pairs |= {f"spread of {name}": value for name, value in found.spreads.items()}
    pairs |= {"method": found.problem.options.method, "run": str(path)}
    pairs |= {f"note {i}": note for i, note in enumerate(notes, start=1)}
    show_pairs("fit", pairs | {"figures": ", ".join(Path(each).name for each in figures)})
