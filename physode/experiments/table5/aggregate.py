"""Table 5 from the outcomes of its cells: a row a model, recipe and data, and what the rows say beside the paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from physode.experiments.repeats import Repeats, deviation, mean
from physode.experiments.report import Finding, Result, Row
from physode.experiments.table5.config import (
    CHANCE,
    MODELS,
    SCRIPT,
    TABLE_8,
    Config,
    Model,
    cell_name,
    data_of,
)
from physode.experiments.table5.fits import constant_error, shown_times, true_positions
from physode.rhs import ThreeBody
from physode.sweeps.cells import Outcome

EXAMPLE, OWN = "published example", "own systems"
SUMMED = 9
"""Coordinates that the authors' measure sums, where ours takes the mean."""


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table of all outcomes, failed ones included."""
    rows = {}
    for data, keys in ((EXAMPLE, config.example), (OWN, config.models)):
        if keys:
            example = data == EXAMPLE
            constants = [constant_error(data_of(config, None if example else seed)) for seed in config.seeds]
            rows["constant", data] = _constant_row(config, data, constants)
            for key in keys:
                repeats = Repeats({seed: outcomes[cell_name(key, seed, example=example)] for seed in config.seeds})
                rows[key, data] = _row(config, MODELS[key], data, repeats, constants)
    quick = config.shortened("fewer epochs, points and seeds than the paper's")
    return config.result(
        f"Three bodies, with less and with more physics (ACA paper, Table 5{quick})",
        list(rows.values()),
        [_completeness(outcomes), *_findings(config, rows, outcomes)],
        series=dict(_series(config, outcomes)),
    )


def _row(config: Config, model: Model, data: str, repeats: Repeats, constants: Sequence[float]) -> Row:
    outcomes = repeats.outcomes
    values = [_value(each, "mse") for each in outcomes.values()]
    mse, spread = _statistics(values)
    # LSTMs solve no equation: they have one prediction, no tolerance, and no evaluations to count.
    solved = [each for each in repeats.done if "recipe_mse" in each]
    work = [each["rhs_evaluations"] for each in solved if each["rhs_evaluations"] is not None]
    paper, paper_spread = model.paper or (None, None)
    return {
        "model": model.label,
        "recipe": model.recipe,
        "data": data,
        **_measures(mse, spread),
        **{f"seed {seed}": _shown(outcomes[seed]) for seed in config.seeds},
        "better than a constant": _beside_constant(values, constants),
        "paper": paper,
        "paper's standard deviation": paper_spread,
        "paper's or less, mean": _at_most(mse, paper),
        "paper's or less, sum": _at_most(None if mse is None else SUMMED * mse, paper),
        "MSE at the fit's tolerance": _statistics([_value(each, "recipe_mse") for each in outcomes.values()])[0],
        "mass error": max((_mass_error(each["masses"]) for each in solved if each["masses"]), default=None),
        "seconds": mean([each.seconds for each in outcomes.values()]),
        "rhs evaluations": round(sum(work) / len(work)) if work else None,
        "note": "; ".join(repeats.failures),
    }


def _constant_row(config: Config, data: str, constants: Sequence[float]) -> Row:
    """Return the row of what predicts the positions' mean at all times."""
    nothing = ("paper", "paper's standard deviation", "paper's or less, mean", "paper's or less, sum")
    work = ("MSE at the fit's tolerance", "mass error", "seconds", "rhs evaluations")
    return {
        "model": "constant: the mean position",
        "recipe": "-",
        "data": data,
        **_measures(mean(constants), deviation(constants)),
        **{f"seed {seed}": value for seed, value in zip(config.seeds, constants, strict=True)},
        "better than a constant": "what is worse has learnt nothing on this measure",
        **dict.fromkeys((*nothing, *work)),
        "note": "",
    }


def _measures(mse: float | None, spread: float | None) -> dict[str, float | None]:
    return {
        "MSE, mean of coordinates": mse,
        "standard deviation": spread,
        "MSE, sum of coordinates": None if mse is None else SUMMED * mse,
    }


def _beside_constant(values: Sequence[float | None], constants: Sequence[float]) -> str:
    better = sum(value is not None and value < own for value, own in zip(values, constants, strict=True))
    return f"{better} of {len(values)}{'' if better else ': learnt nothing'}"


def _at_most(value: float | None, paper: float | None) -> str | None:
    if paper is None:
        return None
    return "yes" if value is not None and value <= paper else "no"


def _value(outcome: Outcome, name: str) -> float | None:
    value: float | None = None if outcome.failure is not None else outcome.result.get(name)
    return value


def _statistics(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation; there are none where a value is missing: no run is dropped."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None, None
    return mean(known), deviation(known)


def _shown(outcome: Outcome) -> float | str:
    if outcome.failure is not None:
        return "failed"
    mse: float | None = outcome.result["mse"]
    return f"failed at t={outcome.result['failed_at']:.3g}" if mse is None else mse


def _mass_error(masses: Sequence[float]) -> float:
    true = np.array(ThreeBody.find_preset("aca").config["masses"])
    return float(np.abs(np.array(masses) / true - 1.0).max())


def _completeness(outcomes: Mapping[str, Outcome]) -> Finding:
    ended = [name for name, each in outcomes.items() if _value(each, "mse") is None]
    found = f"{len(outcomes) - len(ended)} of {len(outcomes)} do" + (f"; not {', '.join(ended)}" if ended else "")
    return Finding("every run predicts the whole span", found, not ended)


def _findings(
    config: Config, rows: Mapping[tuple[str, str], Row], outcomes: Mapping[str, Outcome]
) -> Iterator[Finding]:
    """Hold the paper's recipes against the paper: on the published example, or, without it, on systems of our own.

    A tenth of the epochs is no such recipe: the quick version is held against nothing.
    """
    if config.preset == "quick":
        return
    data = EXAMPLE if config.example else OWN
    for recipe in (TABLE_8, SCRIPT):
        of_recipe = {MODELS[key].kind: row for (key, on), row in rows.items() if on == data and row["recipe"] == recipe}
        for system in ("node", "ode"):
            yield from _order(of_recipe, recipe, [f"{system}-{gradient}" for gradient in ("aca", "naive", "adjoint")])
        yield from _order(of_recipe, recipe, ["ode-aca", "node-aca", "lstm-aug", "lstm"])
        yield from map(_beside_paper, of_recipe.values())
    if len(config.many_seeds) > config.repeats:
        yield _by_chance(config, outcomes)


def _beside_paper(row: Row) -> Finding:
    """Judge a row by both measures: the sum of coordinates is the larger."""
    paper, spread, mse = row["paper"], row["paper's standard deviation"], row["MSE, mean of coordinates"]
    statement = f"{row['model']}, {row['recipe']}: MSE {paper:g} ± {spread:g}, or less"
    if mse is None:
        return Finding(statement, "a run failed", False)
    found = f"{_figure(row)}, the mean of nine coordinates; {SUMMED * mse:.3g}, their sum"
    return Finding(statement, found, bool(SUMMED * mse <= paper))


def _by_chance(config: Config, outcomes: Mapping[str, Outcome]) -> Finding:
    """Show the training that is chaotic with more seeds than three."""
    model = MODELS[CHANCE]
    assert model.paper is not None
    values = [_value(outcomes[cell_name(CHANCE, seed, example=True)], "mse") for seed in config.many_seeds]
    known = sorted(value for value in values if value is not None)
    paper = model.paper[0]
    statement = f"{model.label}, {model.recipe}, {len(values)} seeds: MSE {paper:g} ± {model.paper[1]:g}, or less"
    if len(known) < len(values):
        return Finding(statement, "a run failed", False)
    middle = float(np.median(known))
    found = f"median {middle:.3g}, mean {mean(known):.3g}, from {known[0]:.3g} to {known[-1]:.3g}: means of coordinates"
    return Finding(statement, f"{found}; {SUMMED * middle:.3g}, the median's sum", SUMMED * middle <= paper)


def _order(rows: Mapping[str, Row], recipe: str, kinds: Sequence[str]) -> Iterator[Finding]:
    """Compare the means of models that the paper has in rising order; beside models that are there only."""
    if not all(kind in rows for kind in kinds):
        return
    means = [rows[kind]["MSE, mean of coordinates"] for kind in kinds]
    known = [mean for mean in means if mean is not None]
    yield Finding(
        " <= ".join(rows[kind]["model"] for kind in kinds) + f", {recipe}",
        "; ".join(_figure(rows[kind]) for kind in kinds),
        len(known) == len(means) and known == sorted(known),
    )


def _figure(row: Row) -> str:
    mse, spread = row["MSE, mean of coordinates"], row["standard deviation"]
    if mse is None:
        return "failed"
    return f"{mse:.3g}" if spread is None else f"{mse:.3g} ± {spread:.1g}"


def _series(config: Config, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield what the figures need: true positions and predictions, by cell."""
    yield "t", shown_times(data_of(config), config.shown)
    for seed in config.seeds:
        yield f"truth seed {seed}", true_positions(data_of(config, seed), config.shown)
    yield "truth example", true_positions(data_of(config), config.shown)
    for name, outcome in outcomes.items():
        if outcome.failure is None:
            yield name, np.array(outcome.result["positions"], dtype=float)
