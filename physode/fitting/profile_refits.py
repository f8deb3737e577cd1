"""The refits of a profile: one constant held, at values farther and farther from the fitted one, the others following.

Each refit begins where the one before it has ended.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physode.datasets import Trajectories
from physode.errors import ConfigError, DataError, SolveError
from physode.fitting.config import FitConfig
from physode.fitting.data import choose
from physode.fitting.fit import effective_config
from physode.fitting.levenberg_marquardt import levenberg_marquardt
from physode.fitting.objective import Objective
from physode.fitting.parameters import raw_constants
from physode.fitting.problem import optimise, pose_fit
from physode.fitting.state import Epoch, TrainingState
from physode.typing import Progress

Vector = NDArray[np.float64]

_WIDENINGS, _WIDER = 5, 3.0  # how often the range grows, and by which factor
_LONGEST = 0.3  # of the constant itself: the first step, where the standard error asks for more or is unknown


@dataclass(frozen=True)
class Refit:
    """The best fit with one constant held.

    Attributes
    ----------
    value
        Of the constant.
    loss
        As :class:`physode.fitting.objective.Objective` defines it.
    others
        The other free constants, element by element.
    stored, others_stored
        The constant and the other unknowns, as a fit stores them.
    ended
        Why the fit ended, where it did before it had converged.
    """

    value: float
    loss: float
    others: dict[str, float]
    stored: float
    others_stored: Vector = field(compare=False, repr=False)
    ended: str | None = None


def best_objective(
    trajectories: Trajectories, config: FitConfig, *, best: Mapping[str, Any] | None = None
) -> Objective:
    """Return the objective of all of the training span at its minimum, found by Levenberg-Marquardt.

    Parameters
    ----------
    trajectories
        The data.
    config
        Settings; those of another optimiser are left out.
    best
        Where to begin, as ``TrainingState.best_model`` has it; else all stages of the schedule are run.

    Raises
    ------
    ConfigError
        If the right-hand side is not physics alone, the loss is robust, or settings and data do not go together.
    DataError
        If `best` is of another right-hand side.
    SolveError
        If the solve fails where the fit begins.
    """
    if config.rhs != "physical":
        raise ConfigError(f"a profile needs a fit with rhs='physical', got rhs={config.rhs!r}; fit the physics alone")
    if config.robust is not None:
        raise ConfigError(f"a profile needs sums of squares, got robust={config.robust!r}; fit without `robust`")
    by_jacobian = {"optimizer": "lm", "gradient": "aca", "compile": False, "epochs": None, "lr": None, "lr_decay": None}
    config = effective_config(dataclasses.replace(config, **by_jacobian), trajectories)  # type: ignore[arg-type]
    problem = pose_fit(choose(trajectories, config), config)
    if best is None:
        return optimise(problem, state=None, on_epoch=_ignore)[0]
    objective = problem.begin(problem.stages[-1])
    own = objective.parameters.snapshot()
    if {name: np.shape(value) for name, value in best.items()} != {name: value.shape for name, value in own.items()}:
        raise DataError(f"the fitted values have {', '.join(best)}, the settings ask for {', '.join(own)}; fit again")
    objective.parameters.restore(dict(best))
    objective.parameters.restore(levenberg_marquardt(objective, before=None, state=None, on_epoch=_ignore).best_model)
    return objective


class Refits:
    """Fits the unknowns of an objective again, one element of a constant held.

    Parameters
    ----------
    best
        The objective at its minimum. Its unknowns are moved.
    name
        The constant, or its element such as ``masses[2]``.

    Raises
    ------
    ConfigError
        If it is not among what was fitted.
    """

    def __init__(self, best: Objective, name: str) -> None:
        self.name = name
        free_constants = best.parameters.free_constants()
        if name not in free_constants:
            raise ConfigError(f"`name` must be a fitted constant or element: {', '.join(free_constants)}; got {name!r}")
        self._constant, self._place = free_constants[name]
        self._raw = raw_constants(best.rhs)[self._constant]
        self._best = best.parameters.snapshot()
        free = {each: mask.clone() for each, mask in best.parameters.free.items()}
        free[f"raw_{self._constant}"][self._place] = False
        self._objective = dataclasses.replace(best, parameters=dataclasses.replace(best.parameters, free=free))

    @property
    def unit(self) -> str:
        """Unit of the constant."""
        return str(getattr(self._objective.rhs, "constant_units", {}).get(self._constant, ""))

    @property
    def positive(self) -> bool:
        """Whether the constant is kept above 0."""
        return self._objective.config.positive

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound of the constant, as the settings have them."""
        config, low, high = self._objective.config, -np.inf, np.inf
        for target in (self._constant, self.name):
            if target in config.bounds:
                low, high = config.bounds[target]
        return low, high

    def start(self) -> Refit:
        """Go back to the minimum, and return it."""
        self._objective.parameters.restore(self._best)
        return self._refit(self._objective.loss(), None)

    def at(self, value: float, *, near: Sequence[Refit]) -> Refit:
        """Hold the constant at `value` and fit the others.

        They begin at the answer of the first in `near`, or on the line through the first two, where that fits better.

        Raises
        ------
        SolveError
            If the solve fails there.
        """
        objective = self._objective
        stored = float(np.log(value)) if self.positive else value
        with torch.no_grad():
            self._raw[self._place] = stored
        if not bool(objective.parameters.mask.any()):
            loss = objective.loss()
            if not np.isfinite(loss):
                raise SolveError(f"the solve fails at {self.name} = {value:.6g}")
            return self._refit(loss, None)
        self._begin(stored, near)
        state = levenberg_marquardt(objective, before=None, state=None, on_epoch=_ignore)
        objective.parameters.restore(state.best_model)
        return self._refit(state.best_loss, None if state.finished.startswith("converged") else state.finished)

    def _begin(self, stored: float, near: Sequence[Refit]) -> None:
        objective, first = self._objective, near[0]
        objective.parameters.move(first.others_stored)
        if len(near) < 2:
            return
        here = objective.loss()
        share = (stored - first.stored) / (near[1].stored - first.stored)
        objective.parameters.move(first.others_stored + share * (near[1].others_stored - first.others_stored))
        objective.parameters.project()
        if not objective.loss() < here:
            objective.parameters.move(first.others_stored)

    def _refit(self, loss: float, ended: str | None) -> Refit:
        parameters = self._objective.parameters
        with torch.no_grad():
            value, stored = (float(each[self._place]) for each in (parameters.rhs.constants[self._constant], self._raw))
            constants = parameters.rhs.constants
            others = {
                label: float(constants[name][place]) for label, (name, place) in parameters.free_constants().items()
            }
        return Refit(value, loss, others, stored, parameters.vector(), ended)


def _ignore(epoch: Epoch, state: TrainingState) -> None:
    """Take no notice of a fit's epochs."""


@dataclass(frozen=True)
class ProfileSide:
    """The refits on one side, from the fitted value outwards, and why they end where they do not end by themselves."""

    refits: tuple[Refit, ...]
    stopped: str | None = None


def refit_side(
    refits: Refits,
    *,
    sign: int,
    error: float | None,
    width: float,
    half: int,
    reaches: Callable[[float], bool],
    progress: Progress | None = None,
) -> ProfileSide:
    """Hold a constant at values farther and farther from the fitted one.

    These are at equal distances up to `width` standard errors, then at growing ones until a loss `reaches` the
    threshold. First steps are shorter than the constant itself: errors that are larger than it tell little.
    Constants kept above 0 are moved by factors.

    Parameters
    ----------
    refits
        The refits; they begin at the minimum.
    sign
        1 for larger values, -1 for smaller ones.
    error
        Standard error, where there is one.
    width, half
        How many standard errors to go at first, and in how many steps.
    reaches
        Whether a loss lies at the threshold or beyond.
    progress
        Called with the fraction of the first steps that are done.
    """
    begin = refits.start()
    fitted, rows = begin.value, [begin]
    bound = refits.bounds[sign > 0]
    for count, distance in enumerate(_distances(_step(fitted, error, width / half, refits.positive), half)):
        if count >= half and any(reaches(each.loss) for each in rows):
            break
        value = fitted * math.exp(sign * distance) if refits.positive else fitted + sign * distance
        at_bound = sign * value >= sign * bound
        value = bound if at_bound else value
        if value != fitted:
            try:
                rows.append(refits.at(value, near=rows[:-3:-1]))
            except SolveError as error_there:
                return ProfileSide(tuple(rows[1:]), f"no fit with {refits.name} = {value:.6g}: {error_there}")
        if progress is not None:
            progress(min((count + 1) / half, 1.0))
        if at_bound:
            return ProfileSide(tuple(rows[1:]), f"{refits.name} ends at its bound {bound:.6g}")
    return ProfileSide(tuple(rows[1:]))


def _step(fitted: float, error: float | None, errors: float, positive: bool) -> float:
    """Return the first step, for constants above 0 that of the logarithm."""
    size = 1.0 if positive else abs(fitted)
    wanted = math.inf if error is None else error * errors / (fitted if positive else 1.0)
    step = min(wanted, _LONGEST * size or math.inf)
    return step if 0 < step < math.inf else _LONGEST


def _distances(step: float, half: int) -> Iterator[float]:
    """Yield distances: `half` equal steps, then half as many, at least 3, in growing steps for each widening."""
    yield from (step * count for count in range(1, half + 1))
    each = max(half // 2, 3)
    yield from (step * half * _WIDER ** (count / each) for count in range(1, _WIDENINGS * each + 1))
