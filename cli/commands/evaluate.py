"""``physode evaluate``: trained models on what was set aside for the test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from physode.cli.commands.evaluate_series import evaluate_series
from physode.cli.data import warn_of_skipped
from physode.cli.numbers import STEP, Real, Whole
from physode.cli.options import METHODS, checkpoint_option, force_option, json_option, other_device_option
from physode.cli.paths import PATH, check_run
from physode.cli.show import show_json, show_pairs, show_table
from physode.cli.tables import TABLE_OPTIONS, SectionedCommand, series_table_options
from physode.optional_imports import check_installed
from physode.progress import progress_bar
from physode.training.settings import ATOL, RTOL

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.images.evaluation import Evaluation
    from physode.metrics import Averaged, Reliability

__all__ = ["command"]

_SOLVER = ("method", "rtol", "atol", "step")
_MERITS = ("precision", "completeness", "f1", "auc", "average_precision")
_MOST, _WIDE = 20, 12  # classes in tables
_MISTAKES = 5  # named in a table
_ONLY = {False: ("ratings", "out"), True: ("observed", "draws", *TABLE_OPTIONS)}  # of classifiers, and of series


@click.command(cls=SectionedCommand)
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN...")
@click.option("--method", type=click.Choice(METHODS), help="Another method than in training.")
@click.option("--rtol", type=Real.of(RTOL), help="By another relative tolerance.")
@click.option("--atol", type=Real.of(ATOL), help="By another absolute tolerance.")
@click.option("--step", type=STEP, help="By fixed steps of this size, at most 1.")
@checkpoint_option()
@click.option(
    "--data",
    type=PATH,
    help="Other images of the same classes, or series of the same channels.  [default: the run's]",
)
@click.option("--all", "everything", is_flag=True, help="Test on all of the data, not on the part for the test only.")
@click.option("--batch", type=Whole(1), help="Images or series at once.  [default: as in training]")
@click.option(
    "--observed",
    type=Real(above=0, most=1),
    help="Share of a series' points that the model is told.  [default: as in training]",
)
@click.option(
    "--draws",
    type=Whole(1, largest=100_000, why="memory does not hold as many; give less"),
    help="Draws from the posterior, of series.  [default: 100]",
)
@other_device_option
@click.option(
    "--ratings",
    type=click.Choice(["labels", "correct", "probability"]),
    default="labels",
    show_default=True,
    help="What several classifiers are compared by in the intraclass correlation.",
)
@click.option("--figures/--no-figures", default=True, show_default=True, help="Draw figures.")
@click.option("--out", type=PATH, default="evaluation", show_default=True, help="Folder for what classifiers share.")
@force_option
@json_option
@series_table_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    runs: tuple[Path, ...],
    as_json: bool,
    force: bool,
    out: Path,
    ratings: str,
    observed: float | None,
    draws: int | None,
    everything: bool,
    figures: bool,
    table: TableOptions,
    **options: Any,
) -> None:
    """Evaluate what `physode train` made.

    Classifiers: accuracy, confusion, precision, completeness, F1, ROC and AUC. Several runs are averaged by model, and
    the intraclass correlation tells how far trainings from other random weights agree, on all test images and on those
    that are misclassified.

    Models of series: mean square errors of interpolation and extrapolation, log-likelihood, and the error of each
    channel in its unit.

    Each RUN gets evaluations/NAME.json and .h5 (all probabilities, or predictions), and figures.

    \b
    Examples:
      physode evaluate runs/galaxy-node
      physode evaluate runs/cifar10-node18 --method rk4 --step 0.2
      physode evaluate runs/cifar10-resnet18 --method dopri5 --rtol 1e-3 --atol 1e-3 --json
      physode evaluate runs/node-seed-* runs/resnet-seed-* --out evaluation
      physode evaluate runs/hopper-latent-ode --observed 0.2
      physode evaluate runs/lab-latent-ode --data other.csv --all --columns series=id,time=minutes,channel=what,value=x
    """
    solver = {name: value for name in _SOLVER if (value := options.pop(name)) is not None}
    shared = {"solver": solver, "figures": figures, "force": force, **options}
    of_series = _of_series(ctx, runs)
    for run in runs:
        check_run(run, example="runs/galaxy-node")
    if of_series:
        about: dict[str, Any] = {"observed": observed, "draws": draws or 100, "all_series": everything}
        evaluate_series(runs, as_json=as_json, table=table, **about, **shared)
        return
    check_installed("sklearn", extra="images", purpose="evaluating classifiers")
    if len(runs) > 1:
        _check_shared(runs, out, figures=figures, force=force)
    found = [_evaluate(run, all_images=everything, **shared) for run in runs]
    if as_json and len(found) == 1:
        show_json(found[0].as_dict())
    elif not as_json:
        for each in found:
            _show(each)
    if len(found) > 1:
        _together(found, ratings, folder=out, figures=figures, force=force, as_json=as_json)


def _check_shared(runs: tuple[Path, ...], out: Path, *, figures: bool, force: bool) -> None:
    """Ask whether what several runs share can be written, before the work."""
    from physode.datasets.files import check_outputs
    from physode.images import open_train_run
    from physode.plotting.classification import averaged_figures

    models = dict.fromkeys(open_train_run(run).config.model for run in runs)
    drawn = averaged_figures(models) if figures else []
    check_outputs([out / "evaluation.json", *(out / f"{name}.png" for name in drawn)], overwrite=force)


def _of_series(ctx: click.Context, runs: tuple[Path, ...]) -> bool:
    """Whether the runs are of models of series; options that do not fit are refused."""
    from physode.training.folder import kind_of_run

    series = [kind_of_run(run) == "series" for run in runs]
    if any(series) and not all(series):
        one, other = runs[series.index(True)], runs[series.index(False)]
        raise click.UsageError(f"{one} is a model of series, {other} is not; evaluate them apart.")
    commandline = click.core.ParameterSource.COMMANDLINE
    given = [name for name in _ONLY[not any(series)] if ctx.get_parameter_source(name) is commandline]
    if given:
        what = "models of series" if any(series) else "classifiers"
        raise click.UsageError(f"--{given[0].replace('_', '-')} has no part in evaluating {what}.")
    return any(series)


def _evaluate(
    path: Path, *, data: Path | None, figures: bool, force: bool, solver: dict[str, Any], which: str, **options: Any
) -> Evaluation:
    """Evaluate one run, and keep what is found in its folder."""
    from physode.datasets.files import check_outputs
    from physode.datasets.images import kind_of_images, read_images
    from physode.images import evaluate, open_train_run
    from physode.images.evaluation import keep_evaluation
    from physode.plotting.classification import EVALUATION_FIGURES, draw_evaluation
    from physode.training.evaluation_files import evaluation_name, evaluation_paths

    run = open_train_run(path)
    name = evaluation_name(which=which, solver=solver, data=data, everything=options["all_images"])
    drawn = [run.figures / name / f"{each}.png" for each in EVALUATION_FIGURES] if figures else []
    check_outputs([*evaluation_paths(run, name).values(), *drawn], overwrite=force)
    source = data or run.data
    with progress_bar(f"reading {source.name}") as progress:
        reading = run.reading if data is None else run.reading_of(kind_of_images(data))
        images = read_images(source, **reading, progress=progress)
    warn_of_skipped(images)
    with progress_bar(f"testing {run.path.name}") as progress:
        found = evaluate(run, images, which=which, solver=solver, progress=progress, **options)
    keep_evaluation(found, name, overwrite=force)
    if figures:
        draw_evaluation(found, run.figures / name, overwrite=force)
    return found


def _show(found: Evaluation) -> None:
    told = found.classification
    low, high = told.accuracy_interval
    columns = ["class", "samples", "precision", "completeness", "F1", "AUC", "average precision"]
    numbers = told.numbers()
    by_class = [numbers[name] for name in _MERITS]
    rows = [
        [name, int(told.support[row]), *(float(values[row]) for values in by_class)]
        for row, name in enumerate(told.classes[:_MOST])
    ]
    means = ("macro", "weighted", "micro")
    rows += [[f"({mean})", None, *(numbers.get(f"{name}_{mean}") for name in _MERITS)] for mean in means]
    show_table(f"{found.run.config.model}, test", columns, rows)
    if len(told.classes) <= _WIDE:
        show_table(
            "confusion: true classes down, predicted ones across",
            ["class", *told.classes],
            [[name, *map(int, told.confusion[row])] for row, name in enumerate(told.classes)],
        )
    if found.images.names and (mistakes := found.mistakes(_MISTAKES)):
        show_table("the surest mistakes", list(mistakes[0]), [list(each.values()) for each in mistakes])
    predicted = found.predicted
    show_pairs(
        "evaluation",
        {
            "accuracy": told.accuracy,
            "balanced accuracy": told.macro.completeness,
            "95 % interval": f"{low:.6g} to {high:.6g}",
            "cross entropy": told.log_loss,
            "calibration error": told.calibration.error,
            "solver": None if found.solver is None else _solver(found),
            "rhs evaluations a batch": predicted.rhs,
            "steps a batch": f"{predicted.steps:.6g} and {predicted.rejected:.6g} rejected",
            "parameters": found.parameters,
            "weights": f"after epoch {found.epoch}",
            "seconds": predicted.seconds,
            "run": str(found.run.path),
        },
    )


def _solver(found: Evaluation) -> str:
    from physode.models.solver import solver_label

    assert found.solver is not None
    return solver_label(found.solver)


def _together(
    found: list[Evaluation], ratings: str, *, folder: Path, figures: bool, force: bool, as_json: bool
) -> None:
    """Average the runs of each model, and compare them with one another."""
    from physode import json_values
    from physode.datasets.atomic_write import write_text
    from physode.images.evaluation import average_models, reliabilities
    from physode.plotting.classification import draw_averaged

    means = average_models(found)
    agreements = reliabilities(found, ratings=ratings)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "runs": [each.as_dict() for each in found],
        "models": {model: mean.as_dict() for model, (mean, _) in means.items()},
        "reliability": {model: each.as_dict() for model, each in agreements.items()},
    }
    write_text(folder / "evaluation.json", json_values.dumps(content, indent=1) + "\n", overwrite=force)
    drawn = draw_averaged(means, folder, overwrite=force) if figures else {}
    if as_json:
        show_json({**content, "figures": {name: str(path) for name, path in drawn.items()}})
        return
    show_table("mean and standard error over runs", ["", *means], _mean_rows(means))
    if agreements:
        show_table(
            "agreement of runs, with 95 % intervals", ["model", "images", "ICC1", "ICC1k"], _icc_rows(agreements)
        )
    show_pairs("", {"written": str(folder)})


def _mean_rows(means: dict[str, tuple[Averaged, Any]]) -> list[list[Any]]:
    shown = (
        "accuracy",
        "balanced_accuracy",
        "precision_macro",
        "completeness_macro",
        "f1_macro",
        "auc_macro",
        "log_loss",
    )
    rows: list[list[Any]] = [["runs", *(mean.runs for mean, _ in means.values())]]
    for name in shown:
        spreads = [mean.numbers[name] for mean, _ in means.values()]
        rows.append([name.replace("_", ", "), *(f"{float(s.mean):.4f} +- {float(s.error):.4f}" for s in spreads)])
    return rows


def _icc_rows(agreements: dict[str, Reliability]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for model, each in agreements.items():
        for images, found in (("all", each.whole), ("misclassified", each.misclassified)):
            if found is not None:
                low, high = found.icc1_interval
                low_k, high_k = found.icc1k_interval
                rows.append(
                    [
                        model,
                        f"{images}, {found.targets}",
                        f"{found.icc1:.3f} ({low:.3f} to {high:.3f})",
                        f"{found.icc1k:.3f} ({low_k:.3f} to {high_k:.3f})",
                    ]
                )
    return rows
