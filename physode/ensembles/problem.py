r"""Many independent fits of one equation, posed: what is unknown of each, and its loss with derivatives.

For normal measurements the loss is :math:`-2 \log L` up to a constant,

.. math:: F = \sum_{c \text{ known}} \sum_i r_{ci}^2 + \sum_{c \text{ unknown}} n_c \log \sum_i r_{ci}^2 ,

with residuals r in standard deviations where these are known, and one spread a column, found with the others, where
they are not: what :func:`physode.fit` minimises. Derivatives are the exact discrete ones of one batched solve on clocks
of each member's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.ensembles.least_squares import Box, Normal
from physode.ensembles.members import Members, Part
from physode.ensembles.normal_equations import each, exponential, pairwise_sum, products
from physode.errors import ConfigError
from physode.estimation.from_callable import Wishes, estimation_of
from physode.estimation.observed import Observed
from physode.estimation.problem import Unknown
from physode.estimation.simulation import SolverOptions
from physode.problem.checks import checked_method
from physode.sensitivity import sensitivities

_DECADE = math.log(10.0)
_SMALLEST = 1e-300

Rows = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Posed:
    """One equation, and what is unknown of each member.

    Attributes
    ----------
    rhs
        f(t, x, p) row by row: (R,), (R, D), (R, K) to (R, D).
    values
        Names of all that a member has: K elements of constants, then its D initial states ``x(0)``.
    constants
        K.
    unknowns
        Of all of them, what is wished: bounds, scale, guess, and whether it is fitted.
    observed
        Which state each column is.
    solver
        How members are solved.
    """

    rhs: Rows
    values: tuple[str, ...]
    constants: int
    unknowns: tuple[Unknown, ...]
    observed: tuple[int, ...]
    solver: SolverOptions

    @property
    def free(self) -> tuple[int, ...]:
        """Places of what is fitted among the values."""
        return tuple(i for i, unknown in enumerate(self.unknowns) if unknown.free)

    @property
    def logged(self) -> Tensor:
        """Which of these are searched for as logarithms, (P,)."""
        return torch.tensor([self.unknowns[i].scale == "log" for i in self.free], dtype=torch.bool)

    def box(self, count: int) -> Box:
        """Return the bounds of so many members, on the scale of the search."""
        ends = torch.tensor([[self.unknowns[i].low, self.unknowns[i].high] for i in self.free], dtype=torch.float64)
        low, high = self.searched(ends.T.reshape(2, -1))
        reach = torch.where(self.logged, _DECADE, torch.inf).double()
        return Box(low.expand(count, -1).clone(), high.expand(count, -1).clone(), reach)

    def searched(self, values: Tensor) -> Tensor:
        """Return the free values, (S, P), as they are searched for."""
        logs = each(lambda x: -math.inf if x <= 0 else math.log(x) if x < math.inf else x, values)
        return torch.where(self.logged, logs, values)

    def physical(self, z: Tensor) -> Tensor:
        """Return the free values from what is searched for."""
        return torch.where(self.logged, each(exponential, z), z) if bool(self.logged.any()) else z

    def slopes(self, physical: Tensor) -> Tensor:
        """Return derivatives of values by what is searched for."""
        return torch.where(self.logged, physical, 1.0)


def pose(
    f: Callable[..., Any],
    members: Members,
    *,
    constants: Mapping[str, Any] | None = None,
    start: Any = "fit",
    states: Sequence[str] | None = None,
    observe: Sequence[str] | None = None,
    sigma: float | Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Sequence[str] = (),
    log: Sequence[str] | bool = False,
    method: str = "dopri8",
    rtol: float = 1e-9,
    atol: float = 1e-11,
    max_steps: int = 10_000,
) -> Posed:
    """Pose the fits of members; arguments and errors as of :func:`physode.fit_ensemble`."""
    if callable(observe):
        raise ConfigError("`observe` of an ensemble names states; fit functions of them one by one with physode.fit")
    if not checked_method(method).adaptive:
        raise ConfigError(f"`method` {method!r} takes fixed steps; choose one that adapts them, such as 'dopri8'")
    known = isinstance(start, str) and start == "known"
    estimation = estimation_of(
        f,
        Observed(members.columns, (members.first(0),)),
        constants=constants,
        start="fit" if known else start,
        observe=observe,
        states=states,
        sigma=sigma,
        wishes=Wishes(bounds=dict(bounds or {}), priors={}, fixed=fixed, log=log, own=()),
        stiff=None,
    )
    model, own = estimation.model, {unknown.name: unknown for unknown in estimation.unknowns}
    names = model.constants
    count = len(names) - len(model.states)
    given = dict(estimation.experiments[0].constants)
    unknowns = [own[name] if name in own else Unknown(name, guess=float(given[name]), free=False) for name in names]  # type: ignore[arg-type]
    if known:
        unknowns[count:] = [Unknown(one.name, guess=one.guess, free=False) for one in unknowns[count:]]
    if not any(one.free for one in unknowns):
        raise ConfigError("nothing is to be fitted: all constants are fixed; free at least one")
    wanted = members.columns if observe is None else tuple(observe)
    return Posed(
        rhs=lambda t, x, p: model.rhs(t, x, p, x[:, :0]),
        values=names,
        constants=count,
        unknowns=tuple(unknowns),
        observed=tuple(model.states.index(name) for name in wanted),
        solver=SolverOptions(method, rtol, atol, max_steps),
    )


@dataclass(frozen=True)
class Fits:
    """S fits of members' first times.

    Attributes
    ----------
    posed
        The equation.
    part
        The data of the members, R = S.
    values
        All values of each member, (S, K + D); those that are free are replaced.
    known
        Which columns have known standard deviations, (C, S).
    """

    posed: Posed
    part: Part
    values: Tensor
    known: Tensor

    def taken(self, rows: Tensor) -> Fits:
        """Return some of them."""
        part = self.part
        parts = (part.t, part.order, part.y, part.counted, part.weights)
        cut = Part(*(values[..., rows] for values in parts))
        return Fits(self.posed, cut, self.values[rows], self.known[:, rows])

    def loss(self, z: Tensor, rows: Tensor, *, corrected: bool = False) -> Normal:
        """Return the losses of some members at unknowns (R, P), with their derivatives.

        With `corrected`, gradient and matrix are those of spreads that know of the P unknowns which took up degrees of
        freedom: n - P of n.
        """
        own = self if len(rows) == len(self.values) else self.taken(rows)
        residuals, jacobian = own._linearised(z)
        counted = own.part.counted
        n = counted.sum((0, 1)).double()
        share = (n - z.shape[1]).clamp_min(1.0) / n if corrected else torch.ones_like(n)
        squares = pairwise_sum(residuals * residuals)
        by_z, by_both = products(jacobian, residuals)
        counts, least = counted.sum(0).double(), squares.clamp_min(_SMALLEST)
        lost = ~torch.isfinite(squares)
        logarithms = counts * each(math.log, torch.where(lost, 1.0, least))
        weights = torch.where(own.known, 1.0, torch.where(counts > 0, counts / least * share, 0.0))
        losses = torch.where(lost, torch.inf, torch.where(own.known, squares, logarithms))
        loss = pairwise_sum(losses)
        gradient = pairwise_sum(weights.unsqueeze(-1) * by_z)
        matrix = pairwise_sum(weights.unsqueeze(-1).unsqueeze(-1) * by_both)
        there = torch.isfinite(loss) & torch.isfinite(gradient).all(1) & torch.isfinite(matrix).flatten(1).all(1)
        return Normal(torch.where(there, loss, torch.inf), gradient, matrix)

    def squares(self, z: Tensor) -> Tensor:
        """Return sums of squared residuals by column, in standard deviations where these are known, (S, C)."""
        residuals = self._linearised(z)[0]
        return pairwise_sum(residuals * residuals).T

    def _linearised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return residuals, (L, C, R), and their derivatives by what is searched for, (L, C, R, P)."""
        posed, part = self.posed, self.part
        free, count = posed.free, posed.constants
        physical = posed.physical(z)
        values = self.values.index_copy(1, torch.tensor(free), physical)
        usable = torch.isfinite(values).all(1)
        values = torch.where(usable.unsqueeze(1), values, 1.0)
        own = torch.arange(len(z)).repeat(2)[: _batch(len(z))]
        t, values = part.t[:, own], values[own]
        active = torch.tensor([i for i in free if i < count], dtype=torch.int64)
        started = [i - count for i in free if i >= count]
        p = values[:, :count]
        moving = p[:, active]

        def f(t: Tensor, x: Tensor, moving: Tensor, p: Tensor) -> Tensor:
            return posed.rhs(t.reshape(-1), x, p.index_copy(1, active, moving))

        moved = sensitivities(
            f, values[:, count:].contiguous(), t, [moving], args=[moving, p], sample_args=True,
            initial_state=bool(started), step_control="per-sample", throw=False, compile=True, **vars(posed.solver),
        )  # fmt: skip
        columns = [*range(len(active)), *(len(active) + d for d in started)]
        y = torch.where(usable.unsqueeze(1), moved.y[:, : len(z)], torch.nan)[..., list(posed.observed)]
        slopes = (
            moved.jacobian[:, : len(z)][..., list(posed.observed), :][..., columns] * posed.slopes(physical)[:, None]
        )
        y, slopes = part.own(y).transpose(1, 2), part.own(slopes).transpose(1, 2)
        lost = ~torch.isfinite(y).all(0).all(0)
        counted, weights = part.counted, part.weights
        residuals = torch.where(counted, (y - part.y) * weights, 0.0)
        jacobian = torch.where(counted.unsqueeze(-1), slopes * weights.unsqueeze(-1), 0.0)
        return torch.where(lost, torch.nan, residuals), jacobian


def _batch(count: int) -> int:
    """Return in batches of which size so many members are solved: 2 or more, of few sizes, which share kernels."""
    grain = 1 << max(0, count.bit_length() - 3)
    return max(2, -(-count // grain) * grain)
