"""``physode evaluate`` for models of irregular series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physode.cli.data import read_as_run, say
from physode.cli.show import show_json, show_pairs, show_table
from physode.progress import progress_bar

if TYPE_CHECKING:
    from physode.datasets import TableOptions
    from physode.series import SeriesEvaluation

__all__ = ["evaluate_series"]

_MOST = 20  # channels in a table


def evaluate_series(
    runs: Sequence[Path],
    *,
    data: Path | None,
    figures: bool,
    force: bool,
    as_json: bool,
    table: TableOptions,
    **options: Any,
) -> None:
    """Evaluate runs one by one, and show them; several beside each other, too."""
    found = [_evaluate(run, data=data, table=table, figures=figures, force=force, **options) for run in runs]
    if as_json:
        told = [each.as_dict() for each in found]
        show_json(told[0] if len(told) == 1 else {"runs": told})
        return
    for each in found:
        _show(each)
    if len(found) > 1:
        _compare(found)


def _evaluate(
    path: Path,
    *,
    data: Path | None,
    table: TableOptions,
    figures: bool,
    force: bool,
    solver: dict[str, Any],
    which: str,
    **options: Any,
) -> SeriesEvaluation:
    """Evaluate one run, and keep what is found in its folder."""
    from physode.datasets.files import check_outputs
    from physode.plotting import SERIES_FIGURES
    from physode.plotting.series import draw_series_run
    from physode.series import evaluate, open_series_run
    from physode.series.evaluation import keep_series_evaluation
    from physode.training.evaluation_files import evaluation_name, evaluation_paths

    run = open_series_run(path)
    changes = {} if options["observed"] is None else {"observed": options["observed"]}
    name = evaluation_name(which=which, solver=solver, data=data, everything=options["all_series"], changes=changes)
    drawn = [run.figures / name / f"{each}.png" for each in SERIES_FIGURES] if figures else []
    check_outputs([*evaluation_paths(run, name).values(), *drawn], overwrite=force)
    series = read_as_run(run, data, table)
    if data is not None:
        for note in series.attrs.get("notes", ()):
            say(note)
    with progress_bar(f"testing {run.path.name}") as progress:
        found = evaluate(run, series, which=which, solver=solver, progress=progress, **options)
    keep_series_evaluation(found, name, overwrite=force)
    if figures:
        draw_series_run(run, found.forecaster, found.series, run.figures / name, overwrite=force)
    return found


def _show(found: SeriesEvaluation) -> None:
    config = found.forecaster.config
    tested = "all series" if found.all_series else "test"
    show_table(
        f"{config.model}, {tested}, {100 * config.observed:g} % of the points told",
        ["task", "series", "values", "MSE", "MSE by range", "points not told", "log-likelihood"],
        [
            [task, s.series, s.values, s.mse, s.mse_by_range, s.unseen_by_range, s.log_likelihood]
            for task, s in ((task, each.scores) for task, each in found.tasks.items())
        ],
    )
    channels = list(zip(found.forecaster.channels, found.forecaster.units, strict=True))
    more = f", the first {_MOST} of {len(channels)} channels" if len(channels) > _MOST else ""
    show_table(
        f"root mean square error{more}",
        ["channel", "unit", *found.tasks],
        [
            [name, unit, *(each.scores.rmse[place] for each in found.tasks.values())]
            for place, (name, unit) in enumerate(channels[:_MOST])
        ],
    )
    show_pairs(
        "evaluation",
        {
            "solver": found.as_dict()["solver"],
            "parameters": found.parameters,
            "weights": f"after epoch {found.epoch}",
            "seconds": found.seconds,
            "run": str(found.run.path),
        },
    )


def _compare(found: Sequence[SeriesEvaluation]) -> None:
    rows = [
        [
            str(each.run.path),
            each.forecaster.config.model,
            each.forecaster.config.observed,
            *(task.scores.mse_by_range for task in each.tasks.values()),
        ]
        for each in found
    ]
    show_table("MSE by range", ["run", "model", "observed", *found[0].tasks], rows)
