r"""Profile likelihood: how well data determine one constant when all other unknowns may follow it.

The constant is held at values :math:`\theta` around the fitted one, and the other unknowns are fitted again at each.
With :math:`S(\theta)` the smallest sum of squares there, priors' terms included, the drop of the likelihood is
measured by

.. math:: \Delta(\theta) = \frac{S(\theta) - S_{min}}{s^2}, \qquad s^2 = 1 \text{ or } \frac{S_{min}}{n - P}

for residuals in standard deviations, or where these are unknown (n values, P unknowns). The 95 % interval is where it
lies below the quantile of :math:`\chi^2_1`, or of :math:`F_{1, n - P}` (Bates and Watts 1988, Ch. 6; Raue et al.
2009). Where the model is linear, :math:`\Delta` is the parabola
:math:`(\theta - \hat\theta)^2 / \mathrm{se}^2` that standard errors stand for; elsewhere it shows what they miss.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physode.datasets import Trajectories
from physode.errors import DataError, SolveError
from physode.fitting.config import FitConfig
from physode.fitting.objective import Objective
from physode.fitting.profile_refits import ProfileSide, Refit, Refits, best_objective, refit_side
from physode.fitting.uncertainty import LEVEL, Uncertainty, interval, uncertainty
from physode.typing import Progress

_AGREES = 0.1  # of the interval's half width, within which the parabola's ends are the profile's
_NEAR, _MOST_ENDS = 0.005, 4  # how near the threshold, as a share of it, an end must be, and after how many refits
_NOTABLE = 0.01  # of the threshold: by how much a refit must fall below the fit to be another minimum


@dataclass(frozen=True)
class Profile:
    """The profile likelihood of one constant.

    Attributes
    ----------
    name, unit
        The constant, or its element.
    fitted, standard_error
        Its value at the minimum, and the standard error there; None where the data do not determine one.
    values
        At which it was held, rising; the fitted one is among them.
    losses
        Of the refits, as a fit's report has it.
    delta
        How much less likely each value is than the best, see the module.
    threshold, statistic
        Its 95 % quantile, and of what: ``"chi-square"`` or, where standard deviations are unknown, ``"F"``.
    interval
        Ends of the 95 % interval, None where the threshold is not crossed.
    parabola_interval
        That by the standard error.
    others
        The other fitted constants at each value, by name.
    notes
        What a reader of the numbers should know.
    """

    name: str
    unit: str
    fitted: float
    standard_error: float | None
    values: tuple[float, ...]
    losses: tuple[float, ...]
    delta: tuple[float, ...]
    threshold: float
    statistic: str
    interval: tuple[float | None, float | None]
    parabola_interval: tuple[float, float] | None
    others: dict[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()

    @property
    def parabola_holds(self) -> bool:
        """Whether both ends of the intervals agree to a tenth of the half width."""
        low, high = self.interval
        if self.parabola_interval is None or low is None or high is None:
            return False
        off = max(abs(low - self.parabola_interval[0]), abs(high - self.parabola_interval[1]))
        return off <= _AGREES * (high - low) / 2

    def as_dict(self) -> dict[str, Any]:
        """Return the profile as what JSON can say."""
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {**found, "parabola_holds": self.parabola_holds}


def profile(
    trajectories: Trajectories,
    config: FitConfig,
    name: str,
    *,
    points: int = 21,
    width: float = 4.0,
    best: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Compute the profile likelihood of one fitted constant.

    Every refit is by Levenberg-Marquardt and begins where that at the neighbouring value has ended. Where the threshold
    is not crossed, the range is widened to three times itself, at most five times; where it is, the interval's ends are
    refitted too.

    Parameters
    ----------
    trajectories, config
        As :func:`physode.fitting.fit`.
    name
        The constant, or its element such as ``masses[2]``.
    points
        At how many values, the fitted one in the middle: 5 or more; of an even number one more.
    width
        How far to go to either side at first, in standard errors.
    best
        Where the fit has ended, as ``TrainingState.best_model`` has it; by default it is fitted first.
    progress
        Called with the fraction that is done.

    Raises
    ------
    ConfigError
        If the right-hand side is not physics alone, the loss is robust, or `name` was not fitted.
    DataError
        If the data leave nothing to measure a drop of the likelihood by, or `best` is of another fit.
    SolveError
        If the solve fails where the fit begins.
    ValueError
        If `points` or `width` is out of range.
    """
    if points < 5:
        raise ValueError(f"`points` must be 5 or more, got {points}")
    if not (width > 0 and math.isfinite(width)):
        raise ValueError(f"`width` must be above 0 and finite, got {width}")
    objective = best_objective(trajectories, config, best=best)
    found = _uncertainty(objective)
    refits = Refits(objective, name)
    drop = _LikelihoodDrop(objective, refits.start())
    error = None if found is None else float(found.deviations[found.labels.index(name)])
    sides = []
    for sign in (-1, 1):
        told = None if progress is None else _of_half(progress, sign)
        reaches = drop.reaches
        sides.append(
            refit_side(refits, sign=sign, error=error, width=width, half=points // 2, reaches=reaches, progress=told)
        )
    rows = _refine_ends(refits, drop, [*reversed(sides[0].refits), drop.best, *sides[1].refits])
    return _profile_of(refits, drop, rows, sides, found, error)


class _LikelihoodDrop:
    """Turns losses into drops of the likelihood from the smallest of them."""

    def __init__(self, objective: Objective, best: Refit) -> None:
        from scipy import stats

        self.best = best
        self._count = int(objective.segments.counted.sum())
        freedom = self._count - int(objective.parameters.mask.sum())
        self._freedom = None if objective.data.weights is not None else freedom
        if self._freedom is None:
            self.statistic, self.threshold = "chi-square", float(stats.chi2.ppf(LEVEL, 1))
            return
        if freedom < 1 or best.loss == 0:
            what = "no residuals" if freedom >= 1 else f"{self._count} values for {self._count - freedom} unknowns"
            raise DataError(f"a profile needs errors to measure by, the fit leaves {what}; give `sigma` (fit --sigma)")
        self.statistic, self.threshold = "F", float(stats.f.ppf(LEVEL, 1, freedom))

    def all(self, rows: Sequence[Refit]) -> tuple[float, ...]:
        """Return the drops of refits from the best of them."""
        least = min(row.loss for row in rows)
        return tuple(self._of(row.loss, least) for row in rows)

    def reaches(self, loss: float) -> bool:
        """Return whether a loss lies at the threshold above the fit's, or beyond."""
        return self._of(loss, self.best.loss) >= self.threshold

    def _of(self, loss: float, least: float) -> float:
        if self._freedom is None:
            return self._count * (loss - least)
        return self._freedom * (loss - least) / least


def _uncertainty(objective: Objective) -> Uncertainty | None:
    try:
        return uncertainty(objective)
    except (SolveError, ValueError):
        return None


def _of_half(progress: Progress, sign: int) -> Progress:
    """Return the progress of one of the two sides."""
    return lambda fraction: progress((fraction + (sign > 0)) / 2)


def _refine_ends(refits: Refits, drop: _LikelihoodDrop, rows: list[Refit]) -> list[Refit]:
    """Add refits at the ends of the interval, until their drops agree with the threshold."""
    for side in (0, 1):
        for _ in range(_MOST_ENDS):
            end = crossings([row.value for row in rows], drop.all(rows), drop.threshold)[side]
            if end is None or any(row.value == end for row in rows):
                break
            place = bisect(rows, end, key=lambda row: row.value)
            try:
                there = refits.at(end, near=rows[place - 1 : place + 1])
            except SolveError:
                break
            rows = [*rows[:place], there, *rows[place:]]
            if abs(drop.all(rows)[place] / drop.threshold - 1.0) < _NEAR:
                break
    return rows


def _profile_of(
    refits: Refits,
    drop: _LikelihoodDrop,
    rows: list[Refit],
    sides: list[ProfileSide],
    found: Uncertainty | None,
    error: float | None,
) -> Profile:
    delta = drop.all(rows)
    least = min(rows, key=lambda row: row.loss)
    values = tuple(row.value for row in rows)
    ends = crossings(values, delta, drop.threshold)
    fitted = drop.best.value
    notes = [] if found is not None else ["no standard error: the data do not determine every unknown"]
    if delta[rows.index(drop.best)] > _NOTABLE * drop.threshold:
        notes.append(
            f"with {refits.name} = {least.value:.6g} the loss is smaller than at the fitted value: the fit has ended "
            f"in a wrong minimum; fit again from there (fit --init {refits.name}={least.value:.6g})"
        )
    return Profile(
        name=refits.name,
        unit=refits.unit,
        fitted=fitted,
        standard_error=error,
        values=values,
        losses=tuple(row.loss for row in rows),
        delta=delta,
        threshold=drop.threshold,
        statistic=drop.statistic,
        interval=ends,
        parabola_interval=None if found is None or error is None else interval(fitted, error, found.quantile),
        others={name: tuple(row.others[name] for row in rows) for name in drop.best.others},
        notes=(*notes, *_open_notes(refits.name, rows, ends, sides), *_early_notes(refits.name, rows)),
    )


def _open_notes(
    name: str, rows: list[Refit], ends: tuple[float | None, float | None], sides: list[ProfileSide]
) -> Iterator[str]:
    """Say where the interval has no end, and why."""
    words = (("lower", "down to", rows[0].value), ("upper", "up to", rows[-1].value))
    for end, side, (which, way, last) in zip(ends, sides, words, strict=True):
        if end is None:
            why = f"the data leave {name} practically unidentifiable there" if side.stopped is None else side.stopped
            yield f"the interval has no {which} end, the threshold is not crossed {way} {last:.6g}: {why}"


def _early_notes(name: str, rows: list[Refit]) -> list[str]:
    """Say which refits have not converged."""
    early = [row for row in rows if row.ended is not None]
    if not early:
        return []
    return [f"{len(early)} refits have not converged, the first with {name} = {early[0].value:.6g}: {early[0].ended}"]


Array = np.ndarray[Any, Any]


def crossings(values: Sequence[float], delta: Sequence[float], threshold: float) -> tuple[float | None, float | None]:
    r"""Return the first crossings of a threshold below and above the smallest value of a curve.

    :math:`\sqrt\Delta` is interpolated, by monotone cubics: of a parabola it is a straight line, so that these are
    exact.

    Parameters
    ----------
    values
        Rising.
    delta
        The curve there, its smallest value 0.
    threshold
        Which value it crosses.

    Returns
    -------
    tuple
        The crossings; None where there is none.
    """
    x, roots = np.asarray(values, dtype=np.float64), np.sqrt(np.maximum(delta, 0.0))
    least = int(np.argmin(delta))
    below = _first(x[least] - x[least::-1], roots[least::-1], threshold**0.5)
    above = _first(x[least:] - x[least], roots[least:], threshold**0.5)
    return None if below is None else float(x[least]) - below, None if above is None else float(x[least]) + above


def _first(distance: Array, roots: Array, wanted: float) -> float | None:
    """Return the smallest distance at which a curve from 0 has a value."""
    from scipy.interpolate import PchipInterpolator
    from scipy.optimize import brentq

    beyond = np.flatnonzero(roots >= wanted)
    if not len(beyond):
        return None
    end = beyond[0]
    curve = PchipInterpolator(distance, roots - wanted)
    return float(brentq(curve, distance[end - 1], distance[end]))
