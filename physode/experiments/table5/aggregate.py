"""Table 5 from the outcomes of its cells: one row a model, and what the rows say beside the paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from physode.experiments.repeats import Repeats, deviation, mean
from physode.experiments.report import Finding, Result, Row
from physode.experiments.table5.config import MODELS, Config, cell_name, data_of
from physode.experiments.table5.fits import shown_times, true_positions
from physode.rhs import ThreeBody
from physode.sweeps.cells import Outcome


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table of all outcomes, failed ones included."""
    rows = {}
    for key in config.models:
        repeats = Repeats({seed: outcomes[cell_name(key, seed)] for seed in config.seeds})
        rows[key] = _row(config, MODELS[key].label, repeats, MODELS[key].paper)
    for key in config.example:
        repeats = Repeats({seed: outcomes[cell_name(key, seed, example=True)] for seed in config.seeds})
        rows[f"{key} example"] = _row(config, f"{MODELS[key].label}: published example", repeats, None)
    quick = config.shortened("fewer epochs, points and seeds than the paper's")
    return config.result(
        f"Three bodies, with less and with more physics (ACA paper, Table 5{quick})",
        list(rows.values()),
        [_completeness(outcomes), *_findings(rows)],
        series=dict(_series(config, outcomes)),
    )


def _row(config: Config, label: str, repeats: Repeats, paper: tuple[float, float] | None) -> Row:
    outcomes = repeats.outcomes
    mse, sd = _statistics([_value(each, "mse") for each in outcomes.values()])
    # LSTMs solve no equation: they have one prediction, no tolerance, and no evaluations to count.
    solved = [each for each in repeats.done if "recipe_mse" in each]
    work = [each["rhs_evaluations"] for each in solved if each["rhs_evaluations"] is not None]
    return {
        "model": label,
        "MSE": mse,
        "sd": sd,
        **{f"seed {seed}": _shown(outcomes[seed]) for seed in config.seeds},
        "MSE at the fit's tolerance": _statistics([_value(each, "recipe_mse") for each in outcomes.values()])[0],
        "paper": paper and paper[0],
        "paper sd": paper and paper[1],
        "mass error": max((_mass_error(each["masses"]) for each in solved if each["masses"]), default=None),
        "seconds": mean([each.seconds for each in outcomes.values()]),
        "rhs evaluations": round(sum(work) / len(work)) if work else None,
        "note": "; ".join(repeats.failures),
    }


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


def _findings(rows: Mapping[str, Row]) -> Iterator[Finding]:
    for model in ("node", "ode"):
        yield from _order(rows, [f"{model}-{gradient}" for gradient in ("aca", "naive", "adjoint")])
    yield from _order(rows, ["ode-aca", "node-aca", "lstm-aug", "lstm"])
    for row in rows.values():
        if row["paper"] is not None:
            ours, paper = row["MSE"], row["paper"]
            theirs = f"{row['model']}: MSE {paper:g} +- {row['paper sd']:g}, or less"
            found = "a run failed" if ours is None else f"{_figure(row)}, {ours / paper:.2g} times the paper's"
            yield Finding(theirs, found, ours is not None and ours <= paper)


def _order(rows: Mapping[str, Row], keys: Sequence[str]) -> Iterator[Finding]:
    """Compare the means of models that the paper has in rising order; beside models that are there only."""
    if not all(key in rows for key in keys):
        return
    means = [rows[key]["MSE"] for key in keys]
    known = [mean for mean in means if mean is not None]
    yield Finding(
        " <= ".join(MODELS[key].label for key in keys),
        "; ".join(_figure(rows[key]) for key in keys),
        len(known) == len(means) and known == sorted(known),
    )


def _figure(row: Row) -> str:
    mean, sd = row["MSE"], row["sd"]
    if mean is None:
        return "failed"
    return f"{mean:.3g}" if sd is None else f"{mean:.3g} +- {sd:.1g}"


def _series(config: Config, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield what the figures need: true positions and predictions, by cell."""
    yield "t", shown_times(data_of(config), config.shown)
    for seed in config.seeds:
        yield f"truth seed {seed}", true_positions(data_of(config, seed), config.shown)
    yield "truth example", true_positions(data_of(config), config.shown)
    for name, outcome in outcomes.items():
        if outcome.failure is None:
            yield name, np.array(outcome.result["positions"], dtype=float)
