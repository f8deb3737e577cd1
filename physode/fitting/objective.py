"""What one stage of a fit minimises, with its gradient or its residuals' Jacobian."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.fitting.config import FitConfig
from physode.fitting.data import FitData
from physode.fitting.multiple_shooting import Segments, Stage, cut
from physode.fitting.parameters import FitParameters
from physode.fitting.robust_losses import SCALES, rho
from physode.rhs import System
from physode.sensitivity import sensitivities
from physode.solution import Solution
from physode.solve import solve

MOST_BYTES = 4 * 2**30
"""The largest Jacobian that is computed."""


@dataclass(frozen=True)
class Evaluation:
    """The loss at one point, and the work that it took; summed over trajectories.

    Attributes
    ----------
    loss
        The loss a value, see :class:`Objective`.
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
    """Residuals and their Jacobian with respect to the free parameters.

    Attributes
    ----------
    residuals
        (m,): predicted minus observed, over the standard deviation where that is known; then gaps between segments;
        then distances from priors' means.
    jacobian
        (m, P).
    values
        How many of the residuals are those of observed values.
    loss
        As :class:`Objective` defines it.
    accepted
        Accepted steps, of a solve with one clock.
    """

    residuals: Tensor
    jacobian: Tensor
    values: int
    loss: float
    accepted: int | None = None


@dataclass(frozen=True)
class Objective:
    r"""FitParameters facing the data of one stage.

    With residuals :math:`r` of the n observed values that count, in standard deviations where these are known, the loss
    is

    .. math:: \frac{1}{n} \Bigl(\sum \rho(r) + \sum g^2 + \sum \pi^2 \Bigr)

    :math:`\rho(r) = r^2` unless a robust loss is chosen, :math:`g` the gaps between segments, weighted so that gaps and
    residuals of equal relative size count alike, and :math:`\pi` the distances from priors' means in standard
    deviations. Without these it is the mean squared error. With a time weight c, the residuals at t are times
    :math:`c^{(t - t_0) / 2}`.
    """

    parameters: FitParameters
    data: FitData
    config: FitConfig
    stage: Stage
    spread: Tensor | None = None

    @property
    def rhs(self) -> System:
        """The right-hand side."""
        return self.parameters.rhs

    @cached_property
    def segments(self) -> Segments:
        """The stage's pieces of the data."""
        return cut(self.data, self.stage)

    def evaluate(self) -> Evaluation:
        """Compute the loss, and its gradient into the parameters' ``grad``.

        Raises
        ------
        SolveError
            If the solve fails, or the loss or a gradient is not finite.
        """
        for parameter in self.parameters.tensors:
            parameter.grad = None
        config = self.config
        solution = self._solve(self.segments.t, gradient=config.gradient)
        loss = self._loss(*self._residuals(solution.y))
        loss.backward()  # type: ignore[no-untyped-call]
        self.parameters.mask_gradients()
        gradients = [parameter.grad for parameter in self.parameters.tensors if parameter.grad is not None]
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

    def loss(self) -> float:
        """Compute the loss alone; infinite where the solve fails."""
        with torch.no_grad():
            try:
                found = float(self._loss(*self._residuals(self._solve(self.segments.t).y)))
            except SolveError:
                return torch.inf
        return found if found < torch.inf else torch.inf

    def linearise(self) -> Linearisation:
        """Solve once for residuals and Jacobian together.

        Raises
        ------
        SolveError
            If the solve fails, or a residual or derivative is not finite.
        """
        parameters, segments = self.parameters, self.segments
        own = parameters.has_free_states
        found = sensitivities(
            self.rhs,
            parameters.states.detach(),
            segments.t,
            parameters.rhs_parameters,
            initial_state=own,
            **self._options(),
        )
        jacobian = found.jacobian if segments.batched else found.jacobian[:, None]
        if own:
            jacobian = _own_columns(jacobian)
        jacobian = jacobian[..., parameters.mask]
        values, gaps, priors = self._residuals(found.y)
        rows = [self._weighted(jacobian.reshape(*found.y.shape, -1))]
        if gaps is not None:
            rows.append(self._gap_rows(jacobian))
        if priors is not None:
            rows.append(parameters.prior_jacobian())
        residuals = torch.cat([part.detach() for part in (values, gaps, priors) if part is not None]).double()
        jacobian = torch.cat([part.double() for part in rows])
        if not bool(torch.isfinite(residuals).all()) or not bool(torch.isfinite(jacobian).all()):
            raise SolveError("a residual or its derivative is not finite; start closer")
        loss = float(self._loss(values, gaps, priors).detach())
        if not loss < torch.inf:
            raise SolveError("the residuals are too large to be squared; start closer")
        accepted = None if segments.batched else int(found.accepted)
        return Linearisation(residuals, jacobian, len(values), loss, accepted)

    def rho(self, squares: Tensor) -> Tensor:
        """Return the loss of squared residuals of observed values."""
        name = self.config.robust
        return rho(name, squares, 1.0 if name is None else (self.config.robust_scale or SCALES[name]))

    def predict(self) -> Solution:
        """Solve over the whole span, beyond the training too, without gradients; NaN where a solve had ended early."""
        with torch.no_grad():
            return self._solve(self.data.t, throw=False)

    def states_at(self, trajectories: tuple[int, ...], starts: tuple[int, ...]) -> Tensor:
        """Return the solved states at the beginnings of another stage's segments, (R, D); NaN where a solve ended.

        A beginning beyond this stage's span is that of the end of its last segment.
        """
        segments = self.segments
        with torch.no_grad():
            y = self._solve(segments.t, throw=False).y.detach()
        if not segments.batched:
            y = y.unsqueeze(1)
        rows = []
        for trajectory, start in zip(trajectories, starts, strict=True):
            before = [
                row
                for row, (own, begin) in enumerate(zip(segments.trajectories, segments.starts, strict=True))
                if own == trajectory and begin <= start
            ]
            row = before[-1]
            rows.append(y[min(start - segments.starts[row], len(y) - 1), row])
        return torch.stack(rows)

    def _solve(self, t: Tensor, **more: Any) -> Solution:
        return solve(self.rhs, self.parameters.states, t, **self._options(), **more)

    def _options(self) -> dict[str, Any]:
        config = self.config
        assert config.method is not None
        return {
            "method": config.method,
            "rtol": config.rtol,
            "atol": config.atol,
            "max_steps": config.max_steps,
            "step_control": "per-sample" if self.parameters.states.ndim == 2 else "shared",
            "compile": config.compile or "auto",
        }

    def _residuals(self, y: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the residuals of observed values, the gaps between segments, and the distances from priors."""
        values = self._weighted((y - self.segments.y).unsqueeze(-1)).squeeze(-1)
        return values, self._gaps(y), self.parameters.priors()

    def _weighted(self, rows: Tensor) -> Tensor:
        """Return what stands at the values that count, over their standard deviations; (..., k) becomes (n, k)."""
        counted = self.segments.counted
        for weights in (self.segments.weights, self._early):
            if weights is not None:
                rows = rows * weights.unsqueeze(-1)
        return rows[counted]

    @cached_property
    def _early(self) -> Tensor | None:
        """Return by how much residuals count for their time, the root of c^(t - t_0), shaped like the observations."""
        segments, start = self.segments, self.data.t[0]
        if self.config.time_weight is None:
            return None
        since = (segments.t - (start if start.ndim == 0 else start[list(segments.trajectories)])).abs()
        root = self.config.time_weight ** (0.5 * since)
        shape = (len(root), *(1,) * (segments.y.ndim - 1 - root.ndim), *root.shape[1:], 1)
        return root.reshape(shape).to(segments.y.dtype).expand_as(segments.y)

    def _gaps(self, y: Tensor) -> Tensor | None:
        if not self.segments.links:
            return None
        before, index, after = self._links()
        return ((y[index, before] - self.parameters.states[after]) * self._gap_weights).reshape(-1)

    def _gap_rows(self, jacobian: Tensor) -> Tensor:
        """Return the derivatives of the gaps, (gaps * D, P), from those of the solution, (L, R, D, P)."""
        before, index, after = self._links()
        states = torch.zeros(
            (*self.parameters.states.shape, len(self.parameters.mask)), dtype=jacobian.dtype, device=jacobian.device
        )
        size = self.parameters.states.numel()
        states.view(size, -1)[:, -size:] = torch.eye(size, dtype=jacobian.dtype, device=jacobian.device)
        difference = jacobian[index, before] - states[after][..., self.parameters.mask]
        return (difference * self._gap_weights.unsqueeze(-1)).reshape(-1, jacobian.shape[-1])

    def _links(self) -> tuple[list[int], list[int], list[int]]:
        links = self.segments.links
        return [link.before for link in links], [link.index for link in links], [link.after for link in links]

    @cached_property
    def _gap_weights(self) -> Tensor:
        """Return by how much gaps count, (D,): a gap is measured in the spread of its column, like residuals."""
        segments, spread = self.segments, self.spread
        assert spread is not None
        counted = segments.counted
        weighted = segments.y if segments.weights is None else segments.y * segments.weights
        size = weighted[counted].square().mean().sqrt()
        gaps = len(segments.links) * len(spread)
        return size / spread * (counted.sum() / gaps) ** 0.5

    def _loss(self, values: Tensor, gaps: Tensor | None, priors: Tensor | None) -> Tensor:
        total = self.rho(values.square()).sum()
        for more in (gaps, priors):
            if more is not None:
                total = total + more.square().sum()
        return total / len(values)


def jacobian_bytes(data: FitData, unknowns: int) -> int:
    """Return the size of the solution's Jacobian with respect to all unknowns, in float64."""
    return 8 * data.steps * data.y0.numel() * unknowns


def _own_columns(jacobian: Tensor) -> Tensor:
    """Put each segment's derivatives by its own initial state beside those by the others', which are 0.

    From (L, R, D, P + D) to (L, R, D, P + R D).
    """
    length, rows, dimension, columns = jacobian.shape
    shared = columns - dimension
    found = jacobian.new_zeros(length, rows, dimension, shared + rows * dimension)
    found[..., :shared] = jacobian[..., :shared]
    for row in range(rows):
        begin = shared + row * dimension
        found[:, row, :, begin : begin + dimension] = jacobian[:, row, :, shared:]
    return found
