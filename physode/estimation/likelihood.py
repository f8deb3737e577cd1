r"""The likelihood of measurements, its gradient, and the Fisher information.

A measurement m of an observable g with spread s adds, with :math:`r = (m - g) / s`,

.. math:: -\log L = \tfrac12 r^2 + \log s + \tfrac12 \log 2\pi

for the normal distribution, :math:`|r| + \log 2 s` for Laplace's. For logarithmic distributions m and g are replaced
by their logarithms, and the logarithm's derivative is added, so that the likelihood is always that of m itself:
:math:`\log m`, or :math:`\log(m \ln 10)`.

The expected information (Fisher) of one measurement is

.. math:: I = \frac{g' g'^\top + 2 s' s'^\top}{s^2}
          \qquad\text{or}\qquad I = \frac{g' g'^\top + s' s'^\top}{s^2}

for normal and Laplace distributions. Where the spread of an observable is unknown and constant, it is its best value,
:math:`\hat s^2 = \overline{(m - g)^2}` or :math:`\hat s = \overline{|m - g|}`, wherever the others are (a profile
likelihood): for one such observable the estimate is that of least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from physode.errors import DataError
from physode.estimation.problem import Estimation, Measured
from physode.estimation.simulation import Rows

_LN10 = math.log(10.0)
_LEAST = 1e-150  # of a spread that is found: residuals that are all zero have none


@dataclass(frozen=True)
class Prediction:
    """What measurements should have been, for S sets of unknowns.

    Attributes
    ----------
    values, spreads
        g and s, (S, n); s NaN where it is unknown.
    dvalues, dspreads
        Their derivatives by the free unknowns, (S, n, F), where they were asked for.
    """

    values: Tensor
    spreads: Tensor
    dvalues: Tensor | None = None
    dspreads: Tensor | None = None


@dataclass(frozen=True)
class Likelihood:
    """At S sets of unknowns.

    Attributes
    ----------
    loss
        -log L, (S,); infinite where a solve failed.
    residuals
        (m - g) / s, of the logarithms where the distribution is logarithmic, (S, n).
    spreads
        (S, n), those found included.
    prediction
        What was predicted.
    gradient, information
        (S, F) and (S, F, F), where they were asked for.
    """

    loss: Tensor
    residuals: Tensor
    spreads: Tensor
    prediction: Prediction
    gradient: Tensor | None = None
    information: Tensor | None = None


def predict(estimation: Estimation, rows: Rows, count: int) -> Prediction:
    """Evaluate the observables on solved rows; derivatives are computed where the rows carry them."""
    n = len(estimation.measurements)
    which = torch.from_numpy(estimation.measurements.observable).repeat(count)
    values, spreads = rows.x.new_zeros(count * n), rows.x.new_full((count * n,), torch.nan)
    slopes: list[Tensor] = []
    if rows.dx is not None:
        slopes = [rows.x.new_zeros(count * n, rows.dx.shape[-1]) for _ in range(2)]
    for i, observable in enumerate(estimation.observables):
        mine = (which == i).nonzero().flatten()
        if not len(mine):
            continue
        for j, (function, into) in enumerate(((observable.value, values), (observable.spread, spreads))):
            if function is None:
                continue
            value, slope = _evaluated(function, rows, mine)
            if j == 0:
                values = into.index_copy(0, mine, value)
            else:
                spreads = into.index_copy(0, mine, value)
            if slope is not None:
                slopes[j][mine] = slope
    shape = (count, n)
    if not slopes:
        return Prediction(values.reshape(shape), spreads.reshape(shape))
    return Prediction(
        values.reshape(shape), spreads.reshape(shape), slopes[0].reshape(*shape, -1), slopes[1].reshape(*shape, -1)
    )


def _evaluated(function: Measured, rows: Rows, mine: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return a function of rows, and its derivatives by the free unknowns: rows are independent of one another."""
    t, u = rows.t[mine], rows.u[mine]
    if rows.dx is None or rows.dp is None or rows.dq is None:
        return function(t, rows.x[mine], rows.p[mine], u, rows.q[mine]).expand(len(mine)), None
    with torch.enable_grad():
        points = [part[mine].detach().requires_grad_() for part in (rows.x, rows.p, rows.q)]
        value = function(t, points[0], points[1], u, points[2]).expand(len(mine))
        slope = rows.dx.new_zeros(len(mine), rows.dx.shape[-1])
        if value.requires_grad:
            grads = torch.autograd.grad(value.sum(), points, allow_unused=True)
            for grad, moved in zip(grads, (rows.dx, rows.dp, rows.dq), strict=True):
                if grad is not None and grad.shape[1]:
                    slope += (grad.unsqueeze(1) @ moved[mine]).squeeze(1)
    return value.detach(), slope


@dataclass(frozen=True)
class Facing:
    """Measurements that predictions face.

    Attributes
    ----------
    values
        m, or its logarithm, (n,); (S, n) where each set of unknowns faces values of its own.
    logs, units
        Which are logarithms, (n,), and the logarithm of their base, 1 or ln 10.
    laplace
        Which are Laplace's, (n,).
    constant
        The part of -log L that depends on m alone, as `values`.
    groups
        Of each unknown constant spread, its measurements.
    """

    values: Tensor
    logs: Tensor
    units: Tensor
    laplace: Tensor
    constant: Tensor
    groups: tuple[Tensor, ...]

    @staticmethod
    def of(estimation: Estimation) -> Facing:
        """Make it of an estimation's measurements.

        Raises
        ------
        DataError
            If a value that is not above 0 has a logarithmic distribution.
        """
        data = estimation.measurements
        kinds = [estimation.observables[i].distribution for i in data.observable.tolist()]
        values = torch.from_numpy(data.values).double()
        logs = torch.tensor(["log" in kind for kind in kinds], dtype=torch.bool)
        wrong = (logs & ~(values > 0)).nonzero().flatten().tolist()
        if wrong:
            name = estimation.observables[int(data.observable[wrong[0]])].name
            raise DataError(
                f"{name} is {float(values[wrong[0]]):g} at time {data.times[wrong[0]]:g}: of a logarithmic "
                "distribution all values must be above 0"
            )
        tens = torch.tensor(["log10" in kind for kind in kinds], dtype=torch.bool)
        laplace = torch.tensor(["laplace" in kind for kind in kinds], dtype=torch.bool)
        units = _either(tens, _LN10, 1.0)
        logarithm = torch.where(logs, values, 1.0).log()
        values = torch.where(logs, logarithm / units, values)
        which = torch.from_numpy(data.observable)
        groups = [
            (which == i).nonzero().flatten() for i, own in enumerate(estimation.observables) if own.spread is None
        ]
        return Facing(
            values=values,
            logs=logs,
            units=units,
            laplace=laplace,
            constant=_constant(values, logs, units, laplace),
            groups=tuple(group for group in groups if len(group)),
        )

    def facing(self, values: Tensor) -> Facing:
        """Return the same with other values, (n,) or (S, n): logarithms where these are logarithms."""
        return replace(self, values=values, constant=_constant(values, self.logs, self.units, self.laplace))

    def take(self, sets: Tensor) -> Facing:
        """Return what some sets of unknowns face."""
        if self.values.ndim == 1:
            return self
        return replace(self, values=self.values[sets], constant=self.constant[sets])

    def scaled(self, prediction: Prediction) -> tuple[Tensor, Tensor | None]:
        """Return predictions as these are compared, (S, n): logarithms where values are; and their derivatives."""
        g = prediction.values
        positive = torch.where(self.logs, g, 1.0)
        scaled = torch.where(self.logs, positive.log() / self.units, g)
        if prediction.dvalues is None:
            return scaled, None
        return scaled, prediction.dvalues * torch.where(self.logs, 1 / (positive * self.units), 1.0).unsqueeze(-1)

    def compare(self, prediction: Prediction, counted: Tensor | None = None) -> Likelihood:
        """Return the likelihood of the measurements, or of those that count, (n,)."""
        predicted, slope = self.scaled(prediction)
        difference = self.values - predicted
        weight = self.units.new_ones(len(self.units)) if counted is None else counted.to(self.values)
        spread = prediction.spreads
        for group in self.groups:
            spread = spread.index_copy(1, group, self._found(difference[:, group], weight[group], group))
        r = difference / spread
        each = torch.where(self.laplace, r.abs(), 0.5 * r.square()) + spread.log() + self.constant
        each = torch.where(weight > 0, each, 0.0)
        loss = each.sum(1)
        loss = torch.where(torch.isfinite(loss), loss, torch.inf)
        if slope is None or prediction.dspreads is None:
            return Likelihood(loss, r, spread, prediction)
        slope = slope * (weight > 0).to(weight)[..., None] / spread.unsqueeze(-1)
        spreading = prediction.dspreads * (weight > 0).to(weight)[..., None] / spread.unsqueeze(-1)
        pull = torch.where(self.laplace, r.sign(), r)
        push = torch.where(self.laplace, 1 - r.abs(), 1 - r.square())
        gradient = (push.unsqueeze(-1) * spreading - pull.unsqueeze(-1) * slope).nan_to_num().sum(1)
        doubled = spreading * _either(self.laplace, 1.0, math.sqrt(2.0)).unsqueeze(-1)
        design = torch.cat([slope, doubled], 1).nan_to_num()
        return Likelihood(loss, r, spread, prediction, gradient, design.mT @ design)

    def _found(self, difference: Tensor, weight: Tensor, group: Tensor) -> Tensor:
        """Return the best constant spread, (S, m)."""
        count = weight.sum().clamp_min(1.0)
        if bool(self.laplace[group[0]]):
            best = (difference.abs() * weight).sum(1) / count
        else:
            best = ((difference.square() * weight).sum(1) / count).sqrt()
        return best.clamp_min(_LEAST)[:, None].expand_as(difference)


def _either(which: Tensor, one: float, other: float) -> Tensor:
    """Return one of two numbers in float64: ``torch.where`` would take them for single precision."""
    return torch.where(which, torch.tensor(one, dtype=torch.float64), torch.tensor(other, dtype=torch.float64))


def _constant(values: Tensor, logs: Tensor, units: Tensor, laplace: Tensor) -> Tensor:
    """Return the part of -log L that depends on m alone: logarithms have their derivative."""
    constant = _either(laplace, math.log(2.0), 0.5 * math.log(2 * math.pi))
    return constant + torch.where(logs, values * units + units.log(), 0.0)
