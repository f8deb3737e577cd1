"""Levenberg-Marquardt: SciPy's trust-region least squares on exact discrete Jacobians."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physode.errors import SolveError
from physode.fitting.objective import Linearisation, Objective
from physode.fitting.state import BeginError, Epoch, OnEpoch, TrainingState, random_states

_log = logging.getLogger(__name__)

# Relative changes of the parameters and of the loss below which a fit has arrived.
_TOLERANCES = {"float64": (1e-10, 1e-12), "float32": (1e-5, 1e-6)}
# The same for stages before the last, and the most evaluations of each.
_LOOSE = (1e-3, 1e-3)
_FEW = 15

Vector = NDArray[np.float64]


def levenberg_marquardt(
    objective: Objective, *, before: TrainingState | None, state: TrainingState | None, on_epoch: OnEpoch
) -> TrainingState:
    """Minimise the sum of squares, or of robust losses; see :func:`physode.fitting.problem.optimise`.

    Every trial point is solved once, for residuals and Jacobian together, and counts as one epoch. Parameters are
    scaled by their columns of the Jacobian. Where the solve fails, the residuals are infinite: SciPy then shrinks its
    trust region. Stages before the last end early, at loose tolerances; a stage begins where the one before did, if
    that fits its data better than where the one before ended.

    A fit that goes on from `state` repeats the stage's evaluations so far, silently, from its start: these are few, and
    SciPy cannot be handed the size of its trust region. `before` is where the stage before ended, if there was one.
    """
    from scipy.optimize import least_squares

    parameters, config = objective.parameters, objective.config
    if state is not None and state.finished not in ("", _EXHAUSTED):
        parameters.restore(state.best_model)
        return state
    if state is not None:
        parameters.restore(state.optimizer["start"])
    elif before is not None:
        _begin_at_better(objective, before)
    assert config.epochs is not None
    begun = 0 if before is None else before.epoch + 1
    begun = begun if state is None else int(state.optimizer["begun"])
    last = objective.stage.last
    evaluations = config.epochs - begun - (not last)
    trials = _Trials(objective, state, on_epoch, begun)
    if evaluations < 1:
        return trials.idle(_EXHAUSTED)
    low, high = parameters.bounds()
    xtol, ftol = _TOLERANCES[config.dtype] if last else _LOOSE
    found = least_squares(
        trials.residuals,
        np.clip(trials.start, low, high),
        jac=trials.jacobian,
        bounds=(low, high),
        loss="linear" if config.robust is None else trials.robust,
        method="trf",
        x_scale="jac",
        xtol=xtol,
        ftol=ftol,
        gtol=1e-15,
        max_nfev=evaluations if last else min(evaluations, _FEW),
    )
    parameters.move(trials.best)
    reason = _NO_WAY if trials.failed and trials.at_start else _REASONS[int(found.status)]
    return trials.finish(reason if last else "")


_EXHAUSTED = "all evaluations used up before it converged; raise `epochs`"
_NO_WAY = "no progress: the solve fails wherever the fit goes from its start, which is kept; start closer"
_REASONS = {
    0: _EXHAUSTED,
    1: "converged: the gradient vanished",
    2: "converged: the loss no longer falls",
    3: "converged: the parameters no longer move",
    4: "converged: neither the loss nor the parameters change",
}


def _begin_at_better(objective: Objective, before: TrainingState) -> None:
    """Move to where the stage before began, if the data of this one prefer it: short spans may lead astray."""
    start = before.optimizer["start"]
    own, here = objective.parameters.snapshot(), objective.loss()
    if not all(name in own and own[name].shape == value.shape for name, value in start.items()):
        return
    objective.parameters.restore(start)
    if not objective.loss() < here:
        objective.parameters.restore(own)


class _Trials:
    """The points that SciPy tries, solved once each."""

    def __init__(self, objective: Objective, state: TrainingState | None, on_epoch: OnEpoch, begun: int) -> None:
        self.objective, self._on_epoch = objective, on_epoch
        self._known = state
        self._begun = self._count = begun
        self._state: TrainingState | None = None
        self._last: tuple[Vector, Linearisation] | None = None
        self._first_model = objective.parameters.snapshot()
        self.start = self.best = objective.parameters.vector()
        self.failed = 0

    @property
    def at_start(self) -> bool:
        """Whether no trial was better than the first."""
        return np.array_equal(self.best, self.start)

    def residuals(self, x: Vector) -> Vector:
        """Residuals at `x`; infinite where the solve fails."""
        self.objective.parameters.move(x)
        try:
            found = self._linearise()
        except SolveError as error:
            if self._last is None:
                raise BeginError.because(error) from error
            _log.info("step taken back: %s", error)
            self.failed += 1
            self._tell(None, None)
            return np.full(len(self._last[1].residuals), np.inf)
        if self._state is None or found.loss < self._state.best_loss:
            self.best = x.copy()
        self._last = x.copy(), found
        self._tell(found.loss, found.accepted)
        return np.asarray(found.residuals.cpu().numpy())

    def jacobian(self, x: Vector) -> Vector:
        """Jacobian at `x`, known from its residuals."""
        if self._last is None or not np.array_equal(self._last[0], x):
            self.objective.parameters.move(x)
            self._last = x.copy(), self._linearise()
        return np.asarray(self._last[1].jacobian.cpu().numpy())

    def _linearise(self) -> Linearisation:
        """Linearise; many more residuals than unknowns are turned into as many, which SciPy decomposes sooner."""
        found = self.objective.linearise()
        if self.objective.config.robust is not None:
            return found
        residuals, jacobian = compressed(found.residuals, found.jacobian)
        return dataclasses.replace(found, residuals=residuals, jacobian=jacobian, values=len(residuals))

    def robust(self, squares: Vector) -> Vector:
        """Return the robust loss of squared residuals with two derivatives, (3, m), as SciPy wants it.

        Gaps between segments and distances from priors remain squares.
        """
        assert self._last is not None
        values = self._last[1].values
        z = torch.tensor(squares, requires_grad=True)
        rows = torch.cat([self.objective.rho(z[:values]), z[values:]])
        (first,) = torch.autograd.grad(rows.sum(), z, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), z, allow_unused=True, materialize_grads=True)
        return np.stack([each.detach().numpy() for each in (rows, first, second)])

    def finish(self, reason: str) -> TrainingState:
        """Return where the trials ended, which is at the best."""
        assert self._state is not None
        self._state.finished = reason
        return self._state

    def idle(self, reason: str) -> TrainingState:
        """Return where the stage stands without a trial: none are left."""
        loss = self.objective.loss()
        return self._standing(max(self._begun - 1, 0), loss, self._first_model, reason)

    def _tell(self, loss: float | None, accepted: int | None) -> None:
        """Keep the best so far, and tell of trials that were not told of before."""
        parameters, stage = self.objective.parameters, self.objective.stage.number
        epoch = Epoch(self._count, loss, accepted=accepted, constants=parameters.constants(), stage=stage)
        self._count += 1
        if self._state is None or (loss is not None and loss < self._state.best_loss):
            assert loss is not None
            self._state = self._standing(epoch.epoch, loss, parameters.snapshot(), "")
        else:
            random = random_states(self.objective.config.device)
            self._state = dataclasses.replace(self._state, epoch=epoch.epoch, random=random)
        if self._known is None or epoch.epoch > self._known.epoch:
            self._on_epoch(epoch, self._state)

    def _standing(self, epoch: int, loss: float, model: dict[str, Any], reason: str) -> TrainingState:
        return TrainingState(
            epoch=epoch,
            loss=loss,
            model=model,
            optimizer={"start": self._first_model, "begun": self._begun},
            random=random_states(self.objective.config.device),
            best_loss=loss,
            best_model=model,
            finished=reason,
            stage=self.objective.stage.number,
            times=self.objective.stage.times,
        )


# Residuals an unknown, and unknowns, from which on the work repays itself.
_TALL = 2
_WIDE = 50


def compressed(residuals: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
    """Return residuals and Jacobian of P + 1 rows with the norm, the gradient and the Gauss-Newton matrix of the given.

    With J = Q R they are Q^T r and R, and, in a row of zeros, the norm of the rest of r, on which no unknown acts.
    Systems that are small, or not tall, come back as they are.
    """
    rows, columns = jacobian.shape
    if rows < _TALL * columns or columns < _WIDE:
        return residuals, jacobian
    q, r = torch.linalg.qr(jacobian)
    inside = q.T @ residuals
    rest = (residuals - q @ inside).norm()
    return torch.cat([inside, rest[None]]), torch.cat([r, r.new_zeros(1, columns)])
