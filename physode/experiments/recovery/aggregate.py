"""The recovery study's table, from the outcomes of its cells: one row a method and noise, and what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physode.experiments.recovery.config import METHODS, PRESET, Config, blocks, cell_name, noises_of
from physode.experiments.report import Finding, Result, Row
from physode.sweeps.cells import Outcome

Array = np.ndarray[Any, Any]
Fits = Sequence[Mapping[str, Any]]
"""One entry a system, as :func:`physode.experiments.recovery.fits.fit_systems` has them."""
_AllFits = Mapping[tuple[str, float], Fits]  # by method and noise

RECOVERED = 0.01
"""Largest relative error of a mass that counts as recovered."""
CLOSE = 0.1
"""Smallest distance, in AU, below which an encounter counts as close: half of the systems have one."""

_EXACT = 1e-5  # AU; residuals beyond this are none of the solvers' errors, which stay below 1e-6 AU
_ABOVE = 1.5  # standard deviations; 900 residuals have a root mean square within 1.1
_ENOUGH = 0.95  # of all systems
_COVERED = (0.90, 0.99)
_FEW = 60  # intervals; how often fewer cover tells nothing
_SPREAD = "(+- standard error)"  # what a share has to either side


def aggregate(config: Config, outcomes: Mapping[str, Outcome]) -> Result:
    """Make the table of all outcomes, failed ones included."""
    all_fits = {
        (key, noise): _fits(config, outcomes, key, noise) for key in METHODS for noise in noises_of(config, key)
    }
    quick = config.shortened("fewer systems, noises and epochs", " ({})")
    return config.result(
        f"Masses of random three-body systems, recovered{quick}",
        [_row(key, noise, fits) for (key, noise), fits in all_fits.items()],
        [*_findings(config, all_fits), _preset(outcomes[PRESET]), _completeness(all_fits)],
        series=dict(_series(all_fits)),
        claims="asked",
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
        f"recovered to 1 % {_SPREAD}": str(share),
        "median error": float(np.median(errors)) if np.isfinite(np.median(errors)) else None,
        "data not met": None if wrong is None else len(wrong),
        "failed": len(failures),
        f"coverage {_SPREAD}": str(coverage(fits)) if sure else None,
        f"coverage, nearest < {CLOSE:g} AU {_SPREAD}": str(coverage(fits, lambda distance: distance < CLOSE))
        if sure
        else None,
        f"coverage, nearest >= {CLOSE:g} AU {_SPREAD}": str(coverage(fits, lambda distance: distance >= CLOSE))
        if sure
        else None,
        "seconds": float(np.mean(seconds)) if seconds else None,
        "evaluations": float(np.mean(work)) if work else None,
        "note": "; ".join([*failures, *([f"data not met: {', '.join(wrong)}"] if wrong else [])]),
    }


def _findings(config: Config, all_fits: _AllFits) -> Iterator[Finding]:
    """Yield what one would hope for, and what was found."""
    for noise in noises_of(config, "growing"):
        share = recovered(all_fits["growing", noise])
        text = f"noise {noise:g}: at least 95 % of the systems recovered to {100 * RECOVERED:g} % by the default fit"
        yield Finding(text, f"{share} {_SPREAD}", share.value >= _ENOUGH)
    for (key, noise), fits in all_fits.items():
        if noise > 0 and not METHODS[key].adam:
            share, (low, high) = coverage(fits), _COVERED
            if share.of < _FEW:
                continue
            expected = f"95 % intervals cover {100 * low:g} to {100 * high:g} % of the masses"
            text = f"noise {noise:g}, {METHODS[key].label}: {expected}"
            yield Finding(text, f"{share} {_SPREAD}", low <= share.value <= high)
    for key in METHODS:
        if key not in ("growing", "sigma"):
            yield from _compared(config, all_fits, key)


def _compared(config: Config, all_fits: _AllFits, key: str) -> Iterator[Finding]:
    """Compare the default fit with another method, on the systems that both have, at each noise."""
    for noise in noises_of(config, key):
        theirs = recovered(all_fits[key, noise])
        ours = recovered(all_fits["growing", noise][: theirs.of])
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


def _completeness(all_fits: _AllFits) -> Finding:
    failed = [
        f"{METHODS[key].label} at {noise:g}: {each['system']}"
        for (key, noise), fits in all_fits.items()
        for each in fits
        if each["failure"]
    ]
    total = sum(len(fits) for fits in all_fits.values())
    found = f"{total - len(failed)} of {total} do" + (f"; not {', '.join(failed)}" if failed else "")
    return Finding("every fit gives masses", found, not failed)


def _series(all_fits: _AllFits) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield what the figures need, by method and noise: ``"growing 0.01 errors"``."""
    for (key, noise), fits in all_fits.items():
        name = f"{key} {noise:g}"
        yield f"{name} errors", largest_errors(fits)
        yield f"{name} distances", np.array([each["min_distance"] for each in fits])
        yield f"{name} seconds", np.array([each.get("seconds", np.nan) for each in fits])
        yield f"{name} pulls", pulls(fits)


@dataclass(frozen=True)
class Share:
    """A count out of a number."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.of if self.of else math.nan

    @property
    def error(self) -> float:
        r"""The binomial standard error, :math:`\sqrt{p (1 - p) / n}`."""
        return math.sqrt(self.value * (1 - self.value) / self.of) if self.of else math.nan

    def __str__(self) -> str:
        return f"{self.count} of {self.of}, {100 * self.value:.1f} +- {100 * self.error:.1f} %" if self.of else "none"


def largest_errors(fits: Fits) -> Array:
    """Return the largest relative error of the three masses, (n,); infinite where there is no fit."""
    return np.array([np.inf if each["failure"] else _errors(each).max() for each in fits])


def recovered(fits: Fits) -> Share:
    """Return in how many systems all masses are right within 1 %."""
    return Share(int((largest_errors(fits) <= RECOVERED).sum()), len(fits))


def misfits(fits: Fits, noise: float) -> list[str]:
    """Return the systems whose fit ended where the data are not met: at another minimum, or on the way.

    The root mean square residual is then more than 1.5 times the noise, or 1e-5 AU without noise.
    """
    limit = _ABOVE * noise if noise else _EXACT
    return [each["system"] for each in fits if not each["failure"] and math.sqrt(each["loss"]) > limit]


def coverage(fits: Fits, which: Callable[[float], bool] = lambda distance: True) -> Share:
    """Return how many masses lie inside their 95 % intervals, of all masses of the systems that `which` chooses.

    Parameters
    ----------
    fits
        Masses without an interval count as not covered.
    which
        Says whether a system counts, by its smallest distance.
    """
    counted = [each for each in fits if which(each["min_distance"])]
    inside = [
        low <= mass <= high
        for each in counted
        if not each["failure"] and each["intervals"]
        for mass, (low, high) in zip(each["masses"], each["intervals"], strict=True)
    ]
    return Share(sum(inside), 3 * len(counted))


def pulls(fits: Fits) -> Array:
    """Return the errors of masses in standard errors, of all fits that have them, (3 n,)."""
    found = [
        (np.array(each["fitted"]) - each["masses"]) / each["errors"]
        for each in fits
        if not each["failure"] and each["errors"]
    ]
    return np.concatenate(found) if found else np.empty(0)


def _errors(fit: Mapping[str, Any]) -> Array:
    found: Array = np.abs(np.array(fit["fitted"]) / fit["masses"] - 1.0)
    return found
