"""A fit posed: from settings and data to the objective of each stage, and the stages minimised one after the other."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physode.datasets import Trajectories
from physode.errors import ConfigError
from physode.fitting.config import FitConfig
from physode.fitting.constants import constants_of
from physode.fitting.data import FitData, observed_columns, prepare
from physode.fitting.first_order import first_order
from physode.fitting.gradient_matching import match_slopes
from physode.fitting.initial_state import estimate_state
from physode.fitting.levenberg_marquardt import levenberg_marquardt
from physode.fitting.multiple_shooting import Stage, cut, stages
from physode.fitting.objective import MOST_BYTES, Objective, jacobian_bytes
from physode.fitting.parameters import FitParameters, free_elements, raw_constants
from physode.fitting.rhs import build_rhs
from physode.fitting.state import BeginError, OnEpoch, OutOfTimeError, TrainingState
from physode.rhs import System


@dataclass(frozen=True)
class FitProblem:
    """A right-hand side, data and settings: everything that a fit's stages share.

    Attributes
    ----------
    rhs
        The right-hand side.
    trajectories, data
        The data, as they came and as tensors.
    config
        The effective settings.
    stages
        What the fit looks at, one after the other.
    free
        Masks of the constants' free elements, by raw parameter.
    spread
        Of the states' components, (D,), in which gaps between segments are measured.
    guess
        The parameters' initial values, as ``state_dict()`` of the right-hand side has them.
    """

    rhs: System
    trajectories: Trajectories
    data: FitData
    config: FitConfig
    stages: tuple[Stage, ...]
    free: dict[str, Tensor]
    spread: Tensor | None = None
    guess: Mapping[str, Tensor] = field(default_factory=dict)

    def begin(self, stage: Stage, before: Objective | None = None) -> Objective:
        """Return a stage's objective, at the constants as they are.

        Initial states are those that the stage `before` found, or estimates from the data where it found none.
        """
        segments = cut(self.data, stage)
        rows = list(zip(segments.trajectories, segments.starts, strict=True))
        first = torch.tensor([start == 0 for _, start in rows], device=self.config.device)
        given = self.data.y0 if self.data.batched else self.data.y0.unsqueeze(0)
        known = torch.stack([given[trajectory] for trajectory, _ in rows])
        states = None if before is None else before.states_at(segments.trajectories, segments.starts)
        fixed = first & self.data.known
        usable = fixed if states is None else fixed | torch.isfinite(states).all(1)
        guesses = [known[i] if ok else self._estimate(*rows[i]) for i, ok in enumerate(usable.tolist())]
        begun = torch.stack(guesses)
        if states is not None:
            begun = torch.where(usable.unsqueeze(1) & ~fixed.unsqueeze(1), states, begun)
        free = (~fixed).unsqueeze(1).expand_as(begun)
        if not segments.batched:
            begun, free = begun[0], free[0]
        parameter = nn.Parameter(begun.clone(), requires_grad=bool(free.any()))
        return Objective(
            FitParameters(self.rhs, parameter, free, self.free, self.config), self.data, self.config, stage, self.spread
        )

    @cached_property
    def start(self) -> tuple[float, dict[str, Any]]:
        """The initial guess over the last stage's data: its loss, infinite where that cannot be solved, and unknowns.

        The parameters are left as they are.
        """
        own = copy.deepcopy(self.rhs.state_dict())
        self.rhs.load_state_dict(self.guess)
        objective = self.begin(self.stages[-1])
        found = objective.loss(), objective.parameters.snapshot()
        self.rhs.load_state_dict(own)
        return found

    def _spread(self) -> Tensor:
        """Return the standard deviation of each component over the beginnings of the first stage's segments."""
        segments = cut(self.data, self.stages[0])
        rows = zip(segments.trajectories, segments.starts, strict=True)
        states = torch.stack([self._estimate(trajectory, start) for trajectory, start in rows])
        return states.std(0).clamp_min(1e-12 * float(states.abs().max()) or 1.0)

    def _estimate(self, trajectory: int, start: int) -> Tensor:
        """Estimate a state from the training data around it."""
        own, data = self.trajectories, self.data
        t = own.t if own.t.ndim == 1 else own.t[trajectory]
        columns = observed_columns(own.columns, self.config.loss)
        y = np.where(columns | (start == 0), own.y[trajectory], np.nan)[: data.steps].astype(np.float64)
        state = estimate_state(self.rhs, t[: data.steps], y, start)
        return torch.tensor(state, dtype=self.config.torch_dtype, device=self.config.device)


def pose_fit(trajectories: Trajectories, config: FitConfig) -> FitProblem:
    """Build what a fit needs; `config` is effective.

    Random weights come from torch's global generator: seed it before.

    Raises
    ------
    ConfigError, DataError
        If settings and data do not fit each other.
    """
    rhs, data = build_rhs(config, trajectories), prepare(trajectories, config)
    free: dict[str, Tensor] = {}
    if config.rhs in ("physical", "hybrid"):
        masks = constants_of(config, trajectories).free
        free = {f"raw_{name}": torch.as_tensor(masks[name], device=config.device) for name in raw_constants(rhs)}
    count = sum(int(free_elements(name, each, free).sum()) for name, each in rhs.named_parameters())
    if not data.known:
        count += data.y0.numel()
    if config.optimizer == "lm" and not data.known:
        size = jacobian_bytes(data, count)
        if size > MOST_BYTES:
            raise ConfigError(
                f"the Jacobian of {data.y0.shape[0]} trajectories with unknown initial states would take "
                f"{size / 2**30:.0f} GiB; fit fewer at a time (`trajectories`), or take their initial states as known "
                "(`initial_state`)"
            )
    guess = copy.deepcopy(rhs.state_dict())
    problem = FitProblem(rhs, trajectories, data, config, stages(config, data, unknowns=count), free, guess=guess)
    if problem.stages[0].segments == 1:
        return problem
    # Measured once, at the constants' guesses: a fit that is resumed then weighs gaps as before.
    return replace(problem, spread=problem._spread())


_log = logging.getLogger(__name__)


def optimise(problem: FitProblem, *, state: TrainingState | None, on_epoch: OnEpoch) -> tuple[Objective, TrainingState]:
    """Minimise the loss of every stage, one after the other, each from where the one before has led.

    Where a longer span cannot be solved from there, one half-way between is fitted first. The last stage begins at the
    initial guess where that fits its data better: a fit is never worse than its start.

    Parameters
    ----------
    problem
        What to fit; its settings name the optimiser, the number of epochs and the learning rate.
    state
        Where to go on, or None to begin at the parameters' values.
    on_epoch
        Called after every epoch.

    Returns
    -------
    Objective
        The last stage's, at its best point.
    TrainingState
        Where the optimisation ended, with the reason. Where `on_epoch` has ended it by :class:`OutOfTimeError`, the
        objective is of the whole span all the same, at the best point so far.

    Raises
    ------
    SolveError
        If the solve fails at the initial guess, or all first steps from there fail however short they are.
    """
    minimise = levenberg_marquardt if problem.config.optimizer == "lm" else first_order
    if state is None and problem.config.schedule == "matching":
        match_slopes(problem.rhs, problem.data, problem.config, free=problem.free)
    known = state
    objective: Objective | None = None
    ahead = list(problem.stages)
    if state is not None:
        ahead = ahead[min(state.stage, len(ahead)) - 1 :]
        if state.times < ahead[0].times:
            ahead.insert(0, replace(ahead[0], times=state.times, last=False, inserted=True))
    while ahead:
        before = objective
        objective = problem.begin(ahead[0], before)
        # What is known of an earlier stage than this is where this one begins, not where it stands.
        here = known is not None and (known.stage, known.times) == (ahead[0].number, ahead[0].times)
        if ahead[0].last and not here and (before is not None or problem.config.schedule == "matching"):
            _begin_at_guess_if_better(problem, objective)
        try:
            state = minimise(objective, before=state, state=known if here else None, on_epoch=on_epoch)
        except BeginError:
            between = _between(before, ahead[0])
            if between is None:
                raise
            _log.info("the solve fails over %d times; %d first", ahead[0].times, between.times)
            assert state is not None
            objective = before
            ahead.insert(0, between)
            continue
        except OutOfTimeError as limit:
            state = limit.ended()
            objective.parameters.restore(state.best_model)
            if not ahead[0].last:
                objective = problem.begin(problem.stages[-1], objective)
                _begin_at_guess_if_better(problem, objective)
            return objective, state
        objective.parameters.restore(state.best_model)
        ahead.pop(0)
    assert objective is not None
    assert state is not None
    return objective, state


def _begin_at_guess_if_better(problem: FitProblem, objective: Objective) -> None:
    """Move to the initial guess if it fits the data better than where the shorter spans have led, perhaps astray."""
    here = objective.loss()
    if not math.isfinite(here):  # it has to be led there by spans between
        return
    loss, guess = problem.start
    if loss < here:
        objective.parameters.restore(guess)


def _between(before: Objective | None, stage: Stage) -> Stage | None:
    """Return a stage half-way between a shorter one and the next, or None where there is none."""
    if before is None or stage.segments > 1 or before.stage.segments > 1 or before.stage.times + 1 >= stage.times:
        return None
    return replace(stage, times=(before.stage.times + stage.times) // 2, last=False, inserted=True)
