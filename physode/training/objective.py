"""What a fit minimises: the mean squared error of solutions, with its gradient or its residuals' Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from physode.errors import SolveError
from physode.rhs import System
from physode.sensitivity import sensitivities
from physode.solution import Solution
from physode.solve import solve
from physode.training.config import FitConfig
from physode.training.data import FitData

__all__ = ["Evaluation", "Linearisation", "Objective"]


@dataclass(frozen=True)
class Evaluation:
    """The loss at one point, and the work that it took; summed over trajectories.

    Attributes
    ----------
    loss
        Mean squared error.
    accepted, rejected
        Steps and rejected attempts of the solve.
    rhs_forward, rhs_backward
        Calls of the right-hand side.
    """

    loss: float
    accepted: int
    rejected: int
    rhs_forward: int
    rhs_backward: int


@dataclass(frozen=True)
class Linearisation:
    """Residuals (m,), predicted minus observed, and their Jacobian (m, P) with respect to the raw parameters.

    With one trajectory also the number of accepted steps.
    """

    residuals: Tensor
    jacobian: Tensor
    accepted: int | None = None

    @property
    def loss(self) -> float:
        """Mean squared error."""
        return float(self.residuals.square().mean())


@dataclass(frozen=True)
class Objective:
    """A right-hand side facing data."""

    rhs: System
    data: FitData
    config: FitConfig

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is learnt."""
        return [parameter for parameter in self.rhs.parameters() if parameter.requires_grad]

    def evaluate(self) -> Evaluation:
        """Compute the loss, and its gradient into the parameters' ``grad``.

        Raises
        ------
        SolveError
            If the solve fails, or the loss or a gradient is not finite.
        """
        for parameter in self.parameters:
            parameter.grad = None
        config = self.config
        solution = self._solve(self.data.t[: self.data.steps], gradient=config.gradient, compile=config.compile)
        loss = self._mean_square(solution.y)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not bool(torch.isfinite(loss)) or not all(bool(torch.isfinite(each).all()) for each in gradients):
            raise SolveError("the loss or its gradient is not finite; lower the learning rate, or start closer")
        stats = solution.stats
        return Evaluation(
            float(loss.detach()),
            int(stats.accepted.sum()),
            int(stats.rejected.sum()),
            stats.rhs_forward,
            stats.rhs_backward,
        )

    def linearise(self, parameters: Sequence[Tensor] | None = None) -> Linearisation:
        """Solve once for residuals and Jacobian together.

        Parameters
        ----------
        parameters
            With respect to which; all that are learnt by default.

        Raises
        ------
        SolveError
            If the solve fails, or a residual or derivative is not finite.
        """
        count = _StepCount()
        found = sensitivities(
            self.rhs,
            self.data.y0,
            self.data.t[: self.data.steps],
            self.parameters if parameters is None else parameters,
            progress=count,
            **self._options(),
        )
        counted = self.data.training[: self.data.steps]
        residuals, jacobian = (found.y - self.data.y[: self.data.steps])[counted], found.jacobian[counted]
        if not bool(torch.isfinite(residuals).all()) or not bool(torch.isfinite(jacobian).all()):
            raise SolveError("a residual or its derivative is not finite; start closer")
        accepted = None if self.data.batched else count.accepted
        return Linearisation(residuals.double(), jacobian.double(), accepted)

    def predict(self) -> Solution:
        """Solve over the whole span, beyond the training too, without gradients; NaN where a solve had ended early."""
        with torch.no_grad():
            return self._solve(self.data.t, throw=False)

    def _solve(self, t: Tensor, **more: Any) -> Solution:
        return solve(self.rhs, self.data.y0, t, **self._options(), **more)

    def _options(self) -> dict[str, Any]:
        config = self.config
        assert config.method is not None
        return {
            "method": config.method,
            "rtol": config.rtol,
            "atol": config.atol,
            "max_steps": config.max_steps,
            "step_control": "per-sample" if self.data.batched else "shared",
        }

    def _mean_square(self, y: Tensor) -> Tensor:
        counted = self.data.training[: self.data.steps]
        errors = torch.where(counted, y - self.data.y[: self.data.steps], 0.0)
        return errors.square().sum() / counted.sum()


class _StepCount:
    """Counts the accepted steps of one solve: its progress is told after each."""

    def __init__(self) -> None:
        self.accepted = 0

    def __call__(self, fraction: float) -> None:
        self.accepted += 1
