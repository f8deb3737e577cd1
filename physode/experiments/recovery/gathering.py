"""The recovery study's table, from the outcomes of its cells: one row a method and noise, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from physode.experiments.cells import Outcome
from physode.experiments.recovery.plan import METHODS, PRESET, Config, blocks, cell_name, noises_of
from physode.experiments.recovery.tally import (
    CLOSE,
    RECOVERED,
    Fits,
    coverage,
    largest_errors,
    misfits,
    pulls,
    recovered,
)
from physode.experiments.report import Finding, Result, Row

__all__ = ["gather"]

_ENOUGH = 0.95  # of all systems
_COVERED = (0.90, 0.99)

_Lines = Mapping[tuple[str, float], Fits]


def gather(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table of all outcomes, failed ones included."""
    lines = {(key, noise): _fits(config, outcomes, key, noise) for key in METHODS for noise in noises_of(config, key)}
    quick = "" if config.preset == "full" else f" ({config.preset}: fewer systems, noises and epochs)"
    return Result(
        name=config.name,
        title=f"Masses of random three-body systems, recovered{quick}",
        config=asdict(config),
        rows=[_row(key, noise, fits) for (key, noise), fits in lines.items()],
        findings=[*_findings(config, lines), _preset(outcomes[PRESET]), _completeness(lines)],
        claims="asked",
        series=dict(_series(lines)),
    )


def _fits(config: Config, outcomes: Mapping[str, Outcome], key: str, noise: float) -> list[Mapping[str, Any]]:
    """Return one entry a system; those of a cell that failed have its reason."""
    if METHODS[key].adam:
        outcome = outcomes[cell_name(key, None, None)]
        parts = blocks(config, config.compared)
        if outcome.failure is None:
            return list(outcome.result["fits"][noises_of(config, key).index(noise)])
        return [each for seed, count in parts for each in _failed(seed, count, outcome)]
    found: list[Mapping[str, Any]] = []
    for seed, count in blocks(config, config.systems if METHODS[key].every else config.compared):
        outcome = outcomes[cell_name(key, noise, seed)]
        found += outcome.result if outcome.failure is None else _failed(seed, count, outcome)
    return found


def _failed(seed: int, count: int, outcome: Outcome) -> list[Mapping[str, Any]]:
    about = {"failure": outcome.failure, "min_distance": np.nan}
    return [{"system": f"{seed}/{index}", **about} for index in range(count)]


def _row(key: str, noise: float, fits: Fits) -> Row:
    # Adam's residuals are its solver's errors and what was left to descend: no sign of a wrong minimum.
    share, wrong = recovered(fits), None if METHODS[key].adam else misfits(fits, noise)
    sure = noise > 0 and not METHODS[key].adam
    work = [each["evaluations"] for each in fits if "evaluations" in each]
    seconds = [each["seconds"] for each in fits if "seconds" in each]
    failures = [f"{each['system']}: {each['failure']}" for each in fits if each["failure"]]
    errors = largest_errors(fits)
    return {
        "method": METHODS[key].label,
        "noise (AU)": noise,
        "systems": len(fits),
        "recovered to 1 %": str(share),
        "median error": float(np.median(errors)) if np.isfinite(np.median(errors)) else None,
        "data not met": None if wrong is None else len(wrong),
        "failed": len(failures),
        "coverage": str(coverage(fits)) if sure else None,
        f"coverage, nearest < {CLOSE:g} AU": str(coverage(fits, _near)) if sure else None,
        f"coverage, nearest >= {CLOSE:g} AU": str(coverage(fits, _far)) if sure else None,
        "seconds": float(np.mean(seconds)) if seconds else None,
        "evaluations": float(np.mean(work)) if work else None,
        "note": "; ".join([*failures, *([f"data not met: {', '.join(wrong)}"] if wrong else [])]),
    }


def _near(distance: float) -> bool:
    return distance < CLOSE


def _far(distance: float) -> bool:
    return distance >= CLOSE


def _findings(config: Config, lines: _Lines) -> Iterator[Finding]:
    """Yield what one would hope for, and what was found."""
    for noise in noises_of(config, "growing"):
        share = recovered(lines["growing", noise])
        text = f"noise {noise:g}: at least 95 % of the systems recovered to {100 * RECOVERED:g} % by the default fit"
        yield Finding(text, str(share), share.value >= _ENOUGH)
    for (key, noise), fits in lines.items():
        if noise > 0 and not METHODS[key].adam:
            share, (low, high) = coverage(fits), _COVERED
            expected = f"95 % intervals cover {100 * low:g} to {100 * high:g} % of the masses"
            text = f"noise {noise:g}, {METHODS[key].label}: {expected}"
            yield Finding(text, str(share), low <= share.value <= high)
    for key in METHODS:
        if key not in ("growing", "sigma"):
            yield from _compared(config, lines, key)


def _compared(config: Config, lines: _Lines, key: str) -> Iterator[Finding]:
    """Compare the default fit with another method, on the systems that both have, at each noise."""
    for noise in noises_of(config, key):
        theirs = recovered(lines[key, noise])
        ours = recovered(lines["growing", noise][: theirs.of])
        text = f"noise {noise:g}: the default fit recovers at least as many systems as {METHODS[key].label}"
        yield Finding(text, f"{ours.count} and {theirs.count} of {theirs.of}", ours.count >= theirs.count)


def _preset(outcome: Outcome) -> Finding:
    text = "preset aca: the growing span finds the masses from where the full span at once ends in a wrong minimum"
    if outcome.failure is not None:
        return Finding(text, outcome.failure, False)
    true = np.array(outcome.result["true"])
    errors = {
        key: float(np.abs(np.array(outcome.result[key]["masses"]) / true - 1.0).max()) for key in ("growing", "full")
    }
    found = f"largest error {errors['growing']:.2g} and {errors['full']:.2g}"
    return Finding(text, found, errors["growing"] <= RECOVERED < errors["full"])


def _completeness(lines: _Lines) -> Finding:
    failed = [
        f"{METHODS[key].label} at {noise:g}: {each['system']}"
        for (key, noise), fits in lines.items()
        for each in fits
        if each["failure"]
    ]
    total = sum(len(fits) for fits in lines.values())
    found = f"{total - len(failed)} of {total} do" + (f"; not {', '.join(failed)}" if failed else "")
    return Finding("every fit gives masses", found, not failed)


def _series(lines: _Lines) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield what the figures need, by method and noise: ``"growing 0.01 errors"``."""
    for (key, noise), fits in lines.items():
        name = f"{key} {noise:g}"
        yield f"{name} errors", largest_errors(fits)
        yield f"{name} distances", np.array([each["min_distance"] for each in fits])
        yield f"{name} seconds", np.array([each.get("seconds", np.nan) for each in fits])
        yield f"{name} pulls", pulls(fits)
