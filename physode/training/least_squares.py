"""Levenberg-Marquardt: SciPy's trust-region least squares on exact discrete Jacobians."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from physode.errors import SolveError
from physode.training.objective import Linearisation, Objective
from physode.training.state import Epoch, OnEpoch, TrainingState, random_states

__all__ = ["minimise"]

_log = logging.getLogger(__name__)

# Relative changes of the parameters and of the loss below which a fit has arrived.
_TOLERANCES = {"float64": (1e-10, 1e-12), "float32": (1e-5, 1e-6)}

Vector = NDArray[np.float64]


def minimise(objective: Objective, *, state: TrainingState | None, on_epoch: OnEpoch) -> TrainingState:
    """Minimise the sum of squares; see :func:`physode.training.optimisers.optimise`.

    Every trial point is solved once, for residuals and Jacobian together, and counts as one epoch. Parameters are
    scaled by their columns of the Jacobian. Where the solve fails, the residuals are infinite: SciPy then shrinks its
    trust region.

    A fit that goes on from `state` repeats the evaluations so far, silently, from its start: these are few, and SciPy
    cannot be handed the size of its trust region.
    """
    from scipy.optimize import least_squares

    if state is not None and state.finished not in ("", _EXHAUSTED):
        objective.rhs.load_state_dict(state.best_model)
        return state
    trials = _Trials(objective, state, on_epoch)
    xtol, ftol = _TOLERANCES[objective.config.dtype]
    assert objective.config.epochs is not None
    found = least_squares(
        trials.residuals,
        trials.start,
        jac=trials.jacobian,
        method="trf",
        x_scale="jac",
        xtol=xtol,
        ftol=ftol,
        gtol=1e-15,
        max_nfev=objective.config.epochs,
    )
    trials.move(trials.best)
    return trials.finish(_REASONS[int(found.status)])


_EXHAUSTED = "all evaluations used up before it converged; raise `epochs`"
_REASONS = {
    0: _EXHAUSTED,
    1: "converged: the gradient vanished",
    2: "converged: the loss no longer falls",
    3: "converged: the parameters no longer move",
    4: "converged: neither the loss nor the parameters change",
}


class _Trials:
    """The points that SciPy tries, solved once each."""

    def __init__(self, objective: Objective, state: TrainingState | None, on_epoch: OnEpoch) -> None:
        self.objective, self._on_epoch = objective, on_epoch
        self._known = state
        self._count = 0
        self._state: TrainingState | None = None
        self._last: tuple[Vector, Linearisation] | None = None
        if state is not None:
            objective.rhs.load_state_dict(state.optimizer["start"])
        self._first_model = _model(objective)
        self.start = self._point()
        self.best = self.start

    def residuals(self, x: Vector) -> Vector:
        """Residuals at `x`; infinite where the solve fails."""
        self.move(x)
        try:
            found = self.objective.linearise()
        except SolveError as error:
            if self._last is None:
                raise SolveError(f"cannot begin at the initial guess: {error}; give another, with `init`") from error
            _log.info("step taken back: %s", error)
            self._told(Epoch(self._count, None))
            return np.full(self._last[1].residuals.numel(), np.inf)
        if self._state is None or found.loss < self._state.best_loss:
            self.best = x.copy()
        self._last = x.copy(), found
        self._told(Epoch(self._count, found.loss, accepted=found.accepted))
        return np.asarray(found.residuals.cpu().numpy())

    def jacobian(self, x: Vector) -> Vector:
        """Jacobian at `x`, known from its residuals."""
        if self._last is None or not np.array_equal(self._last[0], x):
            self.move(x)
            self._last = x.copy(), self.objective.linearise()
        return np.asarray(self._last[1].jacobian.cpu().numpy())

    def move(self, x: Vector) -> None:
        """Set the parameters."""
        like = self.objective.parameters[0]
        vector_to_parameters(torch.tensor(x, dtype=like.dtype, device=like.device), self.objective.parameters)

    def finish(self, reason: str) -> TrainingState:
        """Return where the trials ended, which is at the best."""
        assert self._state is not None
        self._state.finished = reason
        return self._state

    def _point(self) -> Vector:
        flat = parameters_to_vector(self.objective.parameters).detach()
        return np.asarray(flat.double().cpu().numpy())

    def _told(self, epoch: Epoch) -> None:
        """Keep the best so far, and tell of trials that were not told of before."""
        self._count += 1
        before, loss = self._state, epoch.loss
        better = before is None or (loss is not None and loss < before.best_loss)
        model = _model(self.objective) if better or before is None else before.best_model
        best = loss if before is None or better else before.best_loss
        assert best is not None
        self._state = TrainingState(
            epoch=epoch.epoch,
            loss=best,
            model=model,
            optimizer={"start": self._first_model},
            random=random_states(self.objective.config.device),
            best_loss=best,
            best_model=model,
        )
        if self._known is None or epoch.epoch > self._known.epoch:
            self._on_epoch(epoch, self._state)


def _model(objective: Objective) -> dict[str, Any]:
    return copy.deepcopy(dict(objective.rhs.state_dict()))
