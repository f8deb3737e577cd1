"""The open half of ``physode fit``: an equation of the user's own, in Python, a model file or PEtab, and any data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.options import given
from physode.cli.progress import showing_epochs
from physode.cli.show import precise, show_json, show_pairs, show_table
from physode.cli.tables import TABLE_OPTIONS, say_understood

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.estimation.estimate import Estimate
    from physode.estimation.observed import Observed
    from physode.estimation.problem import Estimation

__all__ = ["find_open", "fit_open"]

_KEPT = {
    "method", "rtol", "atol", "epochs", "init", "free", "fix", "bounds", "priors", "positive", "sigma", "seed",
    "starts", "states", "observe", "until",
}  # fmt: skip
_USED = _KEPT | set(TABLE_OPTIONS) | {"data", "rhs", "model", "name", "out", "force", "as_json", "threads"}
_MOST_ROWS = 40  # of constants shown


@dataclass(frozen=True)
class Source:
    """Where an equation comes from.

    Attributes
    ----------
    kind
        ``"model"``: a model file; ``"python"``: FILE.py:NAME or MODULE:NAME; ``"petab"``: a PEtab problem.
    name
        As it was given.
    """

    kind: str
    name: str


def find_open(options: Mapping[str, Any]) -> Source | None:
    """Return the equation of the user's own that is asked for, if any."""
    data: tuple[Path, ...] = options["data"]
    rhs: str | None = options["rhs"]
    problems = [path for path in data if path.suffix in (".yaml", ".yml")]
    if options["model"] is not None:
        if rhs is not None:
            raise click.UsageError("--model and --rhs both say what the equation is; give one of them")
        return Source("model", str(options["model"]))
    if problems:
        if len(data) > 1 or rhs is not None:
            raise click.UsageError("a PEtab problem names its own data and model; give nothing beside it")
        return Source("petab", str(problems[0]))
    return Source("python", rhs) if rhs is not None and ":" in rhs else None


def fit_open(ctx: click.Context, source: Source, options: Mapping[str, Any]) -> None:
    """Fit, show and keep the result."""
    _refuse_idle(ctx, source)
    import torch

    from physode.estimation.bands import bands, check_until
    from physode.estimation.fit import estimate
    from physode.estimation.identifiability import identifiability
    from physode.estimation.residual_tests import residual_tests
    from physode.estimation.run import write_run
    from physode.plotting.estimates import plot_bands, plot_correlations, plot_estimate_residuals, plot_starts
    from physode.training.folder import check_new_folder

    path = options["out"] / (options["name"] or _name(source, options["data"]))
    check_new_folder(path, overwrite=options["force"])
    torch.set_num_threads(options["threads"] or 1)
    estimation = _adjusted(_READERS[source.kind](source.name, options), options)
    if options["until"] is not None:
        check_until(estimation, options["until"])
    iterations = options["epochs"] or 200
    with showing_epochs(f"fitting {path.name}") as tell:
        found = estimate(
            estimation,
            starts=options["starts"],
            seed=options["seed"] or 0,
            method=options["method"],
            rtol=options["rtol"] or 1e-8,
            atol=options["atol"] or 1e-10,
            iterations=iterations,
            on_iteration=lambda count, loss: tell(
                count / iterations, f"iteration {count}", f"-log L {float(loss.min()):.6g}"
            ),
        )
        tell(1.0, "bands and figures")
        curves = bands(found, until=options["until"])
        notes = [test.sentence for test in residual_tests(found)] + list(identifiability(found).sentences)
        data = [str(each.resolve()) for each in options["data"]]
        asked = {name: _plain(options[name]) for name in sorted(given(ctx) & _KEPT)}
        asked |= {name: _plain(value) for name, value in options["table"].given.items()}
        run = write_run(
            path,
            found,
            curves,
            settings={"kind": source.kind, "source": source.name, "data": data, **asked},
            notes=notes,
            model=_files(source),
            petab=Path(source.name) if source.kind == "petab" else None,
            overwrite=options["force"],
        )
        run.figures.mkdir(exist_ok=True)
        figures = [run.figures / f"{name}.png" for name in ("fit", "residuals", "starts", "correlations")]
        plot_bands(curves, path=figures[0])
        plot_estimate_residuals(found, path=figures[1])
        plot_starts(found, path=figures[2])
        plot_correlations(found, path=figures[3])
    if options["as_json"]:
        show_json({"run": str(path), **found.as_dict(), "notes": notes, "figures": [str(each) for each in figures]})
    else:
        _show(found, path, notes, [str(each) for each in figures])
    if not found.converged:
        raise click.ClickException(f"no fit, {found.reason} ({path})")


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


def _model_file(name: str, options: Mapping[str, Any]) -> Estimation:
    from physode.equations.model_file import read_model
    from physode.errors import DataError

    if not options["data"]:
        raise DataError(f"name the data: physode fit DATA --model {name}")
    return read_model(name).estimation(*options["data"], options=options["table"], tell=say_understood)


def _petab(name: str, options: Mapping[str, Any]) -> Estimation:
    from physode.petab import read_problem

    return read_problem(Path(name))


def _python(name: str, options: Mapping[str, Any]) -> Estimation:
    from physode.cli.rhs_spec import find_target
    from physode.estimation.from_callable import Wishes, estimation_of

    f = find_target(name).f
    states, observe = _words(options["states"]), _words(options["observe"])
    return estimation_of(
        f,
        _observed(options["data"], options["table"]),
        constants=None,
        start="fit",
        observe=observe,
        states=states,
        sigma=options["sigma"],
        wishes=Wishes({}, {}, (), (), ()),
        stiff=None,
    )


def _observed(paths: tuple[Path, ...], table_options: TableOptions) -> Observed:
    """Read trajectories, or tables with a column an observable, perhaps one of experiments."""
    import numpy as np

    from physode.datasets import read_data
    from physode.equations.columns import read_recordings
    from physode.errors import DataError
    from physode.estimation.observed import observed

    if not paths:
        raise DataError("name the data: physode fit DATA --rhs FILE.py:NAME")
    if paths[0].suffix in (".h5", ".hdf5"):
        return observed(read_data(paths, options=table_options))
    recordings = read_recordings(paths, options=table_options, tell=say_understood)
    names = list(dict.fromkeys(name for recording in recordings for name in recording.columns))
    table: dict[str, Any] = {"t": [], "experiment": [], **{name: [] for name in names}}
    for recording in recordings:
        times = np.unique(np.concatenate([samples.times for samples in recording.columns.values()]))
        table["t"].append(times)
        table["experiment"] += [recording.name] * len(times)
        for name in names:
            column = np.full(len(times), np.nan)
            if name in recording.columns:
                samples = recording.columns[name]
                column[np.searchsorted(times, samples.times)] = samples.values
            table[name].append(column)
    return observed(
        {name: own if name == "experiment" else np.concatenate(own) for name, own in table.items()}, time="t"
    )


_READERS: Mapping[str, Callable[[str, Mapping[str, Any]], Estimation]] = {
    "model": _model_file,
    "python": _python,
    "petab": _petab,
}


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",")]


def _adjusted(estimation: Estimation, options: Mapping[str, Any]) -> Estimation:
    from physode.estimation.adjust import Adjustments

    return Adjustments(
        guesses=options["init"],
        fixed=options["fix"],
        free=options["free"],
        bounds=options["bounds"],
        priors=options["priors"],
        positive=bool(options["positive"]),
    ).apply(estimation)


def _files(source: Source) -> list[Path]:
    """Return the files that say what the model is."""
    place = source.name.rpartition(":")[0] if source.kind == "python" else source.name
    return [Path(place)] if place.endswith((".py", ".toml", ".yaml", ".yml")) else []


def _plain(value: Any) -> Any:
    """Return an option's value as TOML can keep it."""
    if isinstance(value, Mapping):
        return {name: list(numbers) for name, numbers in value.items()}
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _show(found: Estimate, path: Path, notes: list[str], figures: list[str]) -> None:
    rows = [
        [
            one.name, one.unit or None, precise(one.value), one.error,
            None if one.low is None else precise(one.low), None if one.high is None else precise(one.high),
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
        "ended": found.reason,
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
