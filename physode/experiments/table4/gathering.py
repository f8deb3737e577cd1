"""Table 4 from the outcomes of its cells: one row a share of points told, and what the rows say beside the paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np

from physode.experiments.cells import Outcome
from physode.experiments.lines import Line, completeness, figure, mean, note
from physode.experiments.report import Finding, Result, Row
from physode.experiments.table4.plan import MODELS, Config, cell_name

__all__ = ["gather"]

_Key = tuple[float, str]


def gather(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table of all outcomes, failed ones included."""
    lines = {
        (share, key): Line({seed: outcomes[cell_name(key, share, seed)] for seed in config.seeds(share)})
        for share in config.shares
        for key in config.models
    }
    quick = "" if config.preset == "full" else f"; {config.preset}: fewer sequences and epochs than the paper's"
    return Result(
        name=config.name,
        title=f"The hopper between its observations: test MSE x 100 (ACA paper, Table 4{quick})",
        config=asdict(config),
        rows=[_row(share, key, line, lines.get((share, "aca"))) for (share, key), line in lines.items()],
        findings=[*_findings(config, lines), completeness(outcomes.items())],
        series={_name(*where): _curves(line) for where, line in lines.items() if line.done},
    )


def _name(share: float, key: str) -> str:
    return f"{share:g} {key}"


def _row(share: float, key: str, line: Line, aca: Line | None) -> Row:
    model, errors = MODELS[key], _errors(line)
    return {
        "points told": f"{share:.0%}",
        "model": model.label,
        "MSE x 100": figure(errors, digits=3),
        "paper": model.paper.get(share),
        "when ACA is done": None if aca is None else figure(_at_time(line, mean(aca.seconds())), digits=3),
        "runs": line.runs,
        "log-likelihood": figure(line.values("log_likelihood"), digits=3),
        "parameters": next((each["parameters"] for each in line.done), None),
        "seconds": mean(line.seconds()),
        "rhs evaluations a batch": mean(line.evaluations()) or None,
        "note": note(line),
    }


def _errors(line: Line) -> list[float]:
    return [100.0 * value for value in line.values("mse_by_range")]


def _at_time(line: Line, seconds: float | None) -> list[float]:
    """Return the errors after the last epochs over when this much time had been trained; none if a run had none."""
    found = []
    for run in line.done:
        spent = np.cumsum([each["seconds"] for each in run["history"]])
        over = int((spent <= (0.0 if seconds is None else seconds)).sum())
        if not over:
            return []
        found.append(100.0 * run["history"][over - 1]["test_mse_by_range"])
    return found


def _findings(config: Config, lines: Mapping[_Key, Line]) -> Iterator[Finding]:
    for share in config.shares:
        means = {key: mean(_errors(lines[share, key])) for key in config.models}
        latent: list[str] = [key for key in ("aca", "naive", "adjoint") if key in means]
        yield _order(share, latent, means)
        if "aca" in means:
            for rival in ("gru", "rnn"):
                if rival in means:
                    yield _order(share, ["aca", rival], means)
        for key, found in means.items():
            paper = MODELS[key].paper.get(share)
            if paper is not None:
                yield Finding(
                    f"{share:.0%}, {MODELS[key].label}: {paper:g}, or less",
                    "failed" if found is None else f"{found:.3f}",
                    found is not None and found <= paper,
                )


def _order(share: float, keys: list[str], means: Mapping[str, float | None]) -> Finding:
    """Compare models that the paper has in rising order."""
    found = [means[key] for key in keys]
    known = [value for value in found if value is not None]
    shown = "; ".join("failed" if value is None else f"{value:.3f}" for value in found)
    return Finding(
        f"{share:.0%}: " + " <= ".join(MODELS[key].label for key in keys),
        shown,
        len(known) == len(keys) and known == sorted(known),
    )


def _curves(line: Line) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    """Return epochs, test errors and seconds of each run, (runs, epochs, 3)."""
    found: np.ndarray[tuple[int, int, int], np.dtype[np.float64]] = np.array(
        [[(each["epoch"], each["test_mse_by_range"], each["seconds"]) for each in run["history"]] for run in line.done]
    )
    return found
