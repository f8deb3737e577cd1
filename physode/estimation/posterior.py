r"""The posterior density of the unknowns, with exact gradients on a scale without bounds.

Where the constant spread of an observable is unknown, the likelihood with the best spread in it is, up to a factor,
the one that has the spread integrated out under the prior :math:`1/s`: both are
:math:`(\sum (m - g)^2)^{-n/2}` of normal noise, and :math:`(\sum |m - g|)^{-n}` of Laplace's.

The density is that of y, which has no bounds:

.. math:: z = l + (h - l) \sigma(y), \quad z = l + e^y, \quad z = h - e^y, \quad z = y,

with bounds l and h of z, the unknown on the scale on which it is searched for. Priors of values have the factor
:math:`dx/dz`, and all have :math:`dz/dy`. Unknowns without a prior are uniform on their own scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from physode.errors import ConfigError
from physode.estimation.estimate import Estimate
from physode.estimation.scales import density
from physode.estimation.search import Problem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LogPosterior:
    """The logarithm of the posterior density, up to a constant, of the F free unknowns on a scale without bounds.

    Called with y, (F,) or (S, F), as NumPy arrays or tensors (which gradients flow back to), it returns (), or (S,);
    -inf where the equation cannot be solved.

    Attributes
    ----------
    problem
        What was estimated.
    """

    problem: Problem

    @property
    def names(self) -> tuple[str, ...]:
        """Of the free unknowns."""
        return tuple(unknown.name for unknown in self.problem.scales.free)

    @property
    def dimension(self) -> int:
        """F."""
        return len(self.names)

    @overload
    def __call__(self, y: Tensor) -> Tensor: ...

    @overload
    def __call__(self, y: Array | Sequence[float]) -> Any: ...

    def __call__(self, y: Any) -> Any:
        """Return the logarithm of the density."""
        if isinstance(y, Tensor):
            self._checked(y)
            value: Tensor = _Density.apply(y, self)  # type: ignore[no-untyped-call]
            return value
        points = self._checked(torch.as_tensor(np.asarray(y, dtype=np.float64)))
        found = self._value(points.reshape(-1, self.dimension)).reshape(points.shape[:-1])
        return float(found) if points.ndim == 1 else found.numpy()

    def value_and_gradient(self, y: Any) -> tuple[Any, Any]:
        """Return the density's logarithm, () or (S,), and its gradient, (F,) or (S, F), by exact derivatives.

        Tensors for tensors, else NumPy arrays.
        """
        points = self._checked(y if isinstance(y, Tensor) else torch.as_tensor(np.asarray(y, dtype=np.float64)))
        value, gradient = self._with_gradient(points.detach().double().reshape(-1, self.dimension))
        value, gradient = value.reshape(points.shape[:-1]), gradient.reshape(points.shape)
        if isinstance(y, Tensor):
            return value.to(y), gradient.to(y)
        return float(value) if points.ndim == 1 else value.numpy(), gradient.numpy()

    def constrain(self, y: Any) -> Any:
        """Return the values of the free unknowns, of y's shape and kind."""
        points = torch.as_tensor(y, dtype=torch.float64)
        values = self.problem.scales.values(self._bounded(points)[0])
        return values.to(y) if isinstance(y, Tensor) else values.numpy()

    def unconstrain(self, values: Any) -> Any:
        """Return y, (F,) or (S, F), of values: an array, a tensor, or a mapping by name.

        Raises
        ------
        ConfigError
            If a name is missing, or a value does not lie strictly between its bounds.
        """
        if isinstance(values, Mapping):
            missing = [name for name in self.names if name not in values]
            if missing:
                raise ConfigError(f"`values` has no {missing[0]!r}")
            values = np.stack([np.asarray(values[name], dtype=np.float64) for name in self.names], -1)
        own = self._checked(torch.as_tensor(values, dtype=torch.float64))
        z = self.problem.scales.scaled(own)
        y = self._free(z)
        wrong = (~torch.isfinite(y)).reshape(-1, self.dimension).any(0).nonzero().flatten().tolist()
        if wrong:
            unknown = self.problem.scales.free[wrong[0]]
            raise ConfigError(f"{unknown.name!r} must lie between its bounds {unknown.low:g} and {unknown.high:g}")
        return y.to(values) if isinstance(values, Tensor) else y.numpy()

    def _checked(self, y: Tensor) -> Tensor:
        if y.ndim not in (1, 2) or y.shape[-1] != self.dimension:
            raise ConfigError(
                f"the density is one of {self.dimension} unknowns, {', '.join(self.names)}: (F,) or (S, F), got the "
                f"shape {tuple(y.shape)}"
            )
        return y

    @cached_property
    def _kinds(self) -> tuple[Tensor, Tensor]:
        """Which unknowns have a lower bound, and which an upper one."""
        return torch.isfinite(self.problem.scales.low), torch.isfinite(self.problem.scales.high)

    @cached_property
    def _by_value(self) -> Tensor:
        """Which priors are densities of the value, (F,)."""
        priors = [unknown.prior for unknown in self.problem.scales.free]
        return torch.tensor([prior is not None and not prior.scaled for prior in priors])

    def _bounded(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return z, dz/dy, log dz/dy and its derivative by y."""
        below, above = self._kinds
        low = torch.where(below, self.problem.scales.low, 0.0)
        high = torch.where(above, self.problem.scales.high, 0.0)
        share, width, growth = y.sigmoid(), torch.where(below & above, high - low, 1.0), y.exp()
        one = torch.ones_like(y)
        both, either = below & above, below | above
        z = torch.where(
            both, low + width * share, torch.where(below, low + growth, torch.where(above, high - growth, y))
        )
        # The logarithm of the size: an upper bound alone turns the direction.
        size = torch.where(both, width.log() + logsigmoid(y) + logsigmoid(-y), torch.where(either, y, 0.0))
        slope = torch.where(
            above & ~below, -growth, torch.where(both, width * share * (1 - share), torch.where(either, growth, one))
        )
        bend = torch.where(both, 1 - 2 * share, torch.where(either, one, 0.0))
        return z, slope, size, bend

    def _free(self, z: Tensor) -> Tensor:
        below, above = self._kinds
        low, high = self.problem.scales.low, self.problem.scales.high
        up, down = torch.where(below, z - low, 1.0), torch.where(above, high - z, 1.0)
        both = up.log() - down.log()
        return torch.where(below & above, both, torch.where(below, up.log(), torch.where(above, down.log(), z)))

    def _value(self, y: Tensor) -> Tensor:
        z, _, size, _ = self._bounded(y)
        loss = self.problem.likelihood(z, derivatives=False).loss + self.problem.scales.priors(z)[0]
        found = size.sum(1) + self._measure(z) - loss
        return torch.where(torch.isnan(found), -torch.inf, found)

    def _measure(self, z: Tensor) -> Tensor:
        """Return the logarithm of dx/dz of those whose priors are of the value, (S,); -inf outside of uniform ones."""
        scales = self.problem.scales
        measure = torch.where(self._by_value, scales.slopes(z).expand_as(z).log(), 0.0).sum(1)
        values = scales.values(z)
        for i, unknown in enumerate(scales.free):
            if unknown.prior is not None and unknown.prior.kind == "uniform":
                own = z if unknown.prior.scaled else values
                measure = measure.masked_fill(torch.isinf(density(unknown.prior, own[:, i])), -torch.inf)
        return measure

    def _with_gradient(self, y: Tensor) -> tuple[Tensor, Tensor]:
        z, slope, size, bend = self._bounded(y)
        point = self.problem(z)
        value = size.sum(1) + self._measure(z) - point.loss
        inner = torch.where(self._by_value, self.problem.scales.base, 0.0) - point.gradient
        gradient = inner * slope + bend
        lost = ~torch.isfinite(value)
        return torch.where(lost, -torch.inf, value), torch.where(lost[:, None], 0.0, gradient)


class _Density(torch.autograd.Function):
    """The density of a tensor, with its gradient found along with it where one is wanted."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, posterior: LogPosterior) -> Tensor:
        points = y.detach().double().reshape(-1, posterior.dimension)
        if ctx.needs_input_grad[0]:
            value, gradient = posterior._with_gradient(points)
            ctx.save_for_backward(gradient.reshape(y.shape).to(y))
        else:
            value = posterior._value(points)
        return value.reshape(y.shape[:-1]).to(y)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return cotangents[0].unsqueeze(-1) * gradient, None


def log_posterior(estimate: Estimate) -> LogPosterior:
    """Return the posterior density of an estimate's free unknowns."""
    return LogPosterior(estimate.problem)
