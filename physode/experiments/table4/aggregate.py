"""The table, the findings and the figures of Table 4, from what came of its trainings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from physode.experiments.comparison_plot import colour_of
from physode.experiments.repeats import Repeats, deviation, every_training_ends, mean, mean_and_deviation
from physode.experiments.report import Finding, Result, Row
from physode.experiments.table4.trainings import MODELS, Config, cell_name
from physode.plotting import plot_learning
from physode.sweeps.cells import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

_FIGURES = {0.1: "fig10", 0.2: "fig11", 0.5: "fig12"}
_CURVES = ("epoch", "test_mse_by_range", "seconds")
_SURE = 2.0  # standard errors that a difference must be from 0


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table: a row a share of points told and model, failed ones included."""
    repeats = {
        (share, key): Repeats({seed: outcomes[cell_name(key, share, seed)] for seed in config.seeds(share)})
        for share in config.shares
        for key in config.models
    }
    quick = config.shortened("fewer sequences and epochs than the paper's")
    return config.result(
        f"The hopper between its observations: test MSE x 100 (ACA paper, Table 4{quick})",
        [_row(share, key, each, repeats.get((share, "aca"))) for (share, key), each in repeats.items()],
        [*_findings(config, repeats), every_training_ends(outcomes)],
        series={f"{share:g} {key}": _curves(each) for (share, key), each in repeats.items() if each.done},
    )


def _row(share: float, key: str, repeats: Repeats, aca: Repeats | None) -> Row:
    model = MODELS[key]
    return {
        "points told": f"{share:.0%}",
        "model": model.label,
        "MSE x 100 ± standard deviation of runs": mean_and_deviation(_errors(repeats), digits=3),
        "paper": model.paper.get(share),
        "of the means": next((100.0 * value for value in repeats.values("means_by_range")), None),
        "MSE x 100 when ACA is done": aca and mean_and_deviation(_errors_after(repeats, mean(aca.seconds())), digits=3),
        "runs": repeats.runs,
        "parameters": repeats.parameters,
        "seconds": mean(repeats.seconds()),
        "rhs evaluations a batch": mean(repeats.evaluations()) or None,
        "note": repeats.note,
    }


def _errors(repeats: Repeats) -> list[float]:
    return [100.0 * value for value in repeats.values("mse_by_range")]


def _errors_after(repeats: Repeats, seconds: float | None) -> list[float]:
    """Return the errors after the last epochs over when this much time had been trained; none if a run had none."""
    errors = []
    for run in repeats.done:
        spent = np.cumsum([epoch["seconds"] for epoch in run["history"]])
        over = int((spent <= (seconds or 0.0)).sum())
        if not over:
            return []
        errors.append(100.0 * run["history"][over - 1]["test_mse_by_range"])
    return errors


def _findings(config: Config, repeats: Mapping[tuple[float, str], Repeats]) -> Iterator[Finding]:
    """Compare models seed by seed, and errors with the paper's: nothing of a quick version, whose data are others."""
    for share in config.shares if config.preset == "full" else ():
        of_share = {key: repeats[share, key] for key in config.models}
        for better, worse in _orders(of_share):
            yield _lower(share, better, worse, of_share)
        for key, each in of_share.items():
            paper, error = MODELS[key].paper.get(share), mean(_errors(each))
            if paper is not None:
                statement = f"{share:.0%}, {MODELS[key].label}: {paper:g}, or less"
                shown = "failed" if error is None else f"{error:.3f}"
                yield Finding(statement, shown, error is not None and error <= paper)


def _orders(models: Mapping[str, Repeats]) -> Iterator[tuple[str, str]]:
    """Return pairs of models of which the paper has the first ahead."""
    yield from pairwise(key for key in ("aca", "naive", "adjoint") if key in models)
    if "aca" in models:
        yield from (("aca", rival) for rival in ("gru-d", "rnn") if rival in models)


def _lower(share: float, better: str, worse: str, models: Mapping[str, Repeats]) -> Finding:
    """Hold the difference of two models with the same seeds against 0."""
    statement = f"{share:.0%}: {MODELS[better].label} < {MODELS[worse].label}"
    one, other = ({seed: each.result for seed, each in models[key].outcomes.items()} for key in (better, worse))
    ended = [seed for seed in one if one[seed] is not None and other.get(seed) is not None]
    apart = [100.0 * (one[seed]["mse_by_range"] - other[seed]["mse_by_range"]) for seed in ended]
    spread, difference = deviation(apart), mean(apart)
    if difference is None:
        return Finding(statement, "failed", False)
    if spread is None:
        return Finding(statement, f"{difference:+.4f} with one seed, of which no order is read", False)
    error = spread / math.sqrt(len(apart))
    found = f"difference {difference:+.4f} ± {error:.4f} (standard error, {len(apart)} seeds)"
    return Finding(statement, found, difference < -_SURE * error)


def _curves(repeats: Repeats) -> Array:
    """Return epochs, test errors and seconds of each run, (runs, epochs, 3)."""
    return np.array([[[epoch[name] for name in _CURVES] for epoch in run["history"]] for run in repeats.done])


def draw(result: Result) -> dict[str, Figure]:
    """Draw test errors by epoch and by training time of all models, for each share of points told."""
    figures = {}
    quick = "" if result.config["preset"] == "full" else f" ({result.config['preset']})"
    for share in result.config["shares"]:
        runs = {
            MODELS[key].label: _histories(result.series[f"{share:g} {key}"])
            for key in result.config["models"]
            if f"{share:g} {key}" in result.series
        }
        if runs:
            figures[_FIGURES.get(share, f"share-{share:g}")] = plot_learning(
                runs,
                quantities=("test_mse_by_range",),
                against=("epoch", "time"),
                title=f"The hopper, {share:.0%} of the points told{quick}",
                colours={label: colour_of(label) for label in runs},
            )
    return figures


def _histories(runs: Array) -> Sequence[list[dict[str, float]]]:
    return [[dict(zip(_CURVES, line, strict=True)) for line in run] for run in runs.tolist()]
