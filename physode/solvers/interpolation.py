r"""Outputs between steps: a step's interpolant, and which step each output lies in.

With :math:`\theta = (t - t_i) / h_i` in :math:`[0, 1]`, a step's interpolant is

.. math::
    y(\theta) = y_i + \sum_{p=1}^{m} \varphi_p(\theta) F_p, \qquad
    \varphi_1 = \theta, \quad \varphi_{2q} = \varphi_{2q-1} (1 - \theta), \quad \varphi_{2q+1} = \varphi_{2q} \theta ,

the form that Hairer, Norsett & Wanner (Solving ODEs I, Sect. II.6) give for dopri5 and DOP853. It is linear in the
state and the stages, exact at both ends, and well conditioned.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from physode.autograd import to_keep
from physode.solvers.clock import Number, expand, stacked
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs, Step, interpolant

if TYPE_CHECKING:
    from physode.solvers.trace import Trace

__all__ = ["DeferredInterpolants", "Location", "StepInterpolant", "interpolate", "locate"]


class Location(NamedTuple):
    """Where outputs lie: in which step of the record, and how far into it.

    ``step`` (outputs, *groups) and ``theta`` of the same shape, float64; ``theta`` is 0 or 1 exactly at steps' ends.
    """

    step: Tensor
    theta: Tensor


def locate(times: Tensor, starts: Tensor, sizes: Tensor, ends: Tensor) -> Location:
    """Find the step that each output time lies in.

    Parameters
    ----------
    times
        Output times, ``(outputs, *groups)``, inside the span that the steps cover.
    starts, sizes, ends
        The steps' starts, signed sizes and ends, ``(steps, *groups)``. A step of size 0 is no step.
    """
    direction = torch.where(ends[-1:] >= starts[:1], 1.0, -1.0)
    rows, wanted = (ends * direction).movedim(0, -1), (times.detach() * direction).movedim(0, -1)
    index = torch.searchsorted(rows.contiguous(), wanted.contiguous()).movedim(-1, 0).clamp(max=len(starts) - 1)
    start, size, end = (values.gather(0, index) for values in (starts, sizes, ends))
    theta = (times - start) / torch.where(size == 0, 1.0, size)
    at_end, at_start = times.detach() == end, times.detach() == start
    # The derivative with respect to the time stays that of theta also where its value is set exactly.
    exact = torch.where(at_end, 1.0, torch.where(at_start, 0.0, theta.detach()))
    return Location(index, theta + (exact - theta.detach()))


def interpolate(
    location: Location, y_start: Tensor, coefficients: Tensor | None, y_end: Tensor, *, moves: bool = False
) -> Tensor:
    """Evaluate the interpolants at the located outputs.

    Parameters
    ----------
    location
        Indices into the leading axis of the next three.
    y_start, y_end
        The states at the steps' ends, ``(steps, *state)``.
    coefficients
        The interpolants' coefficients, ``(steps, m, *state)``; None where every output is at a step's end.
    moves
        Whether outputs at steps' ends get their derivative in ``theta``, too: the interpolants', by the coefficients.

    Returns
    -------
    Tensor
        ``(outputs, *state)``.
    """
    index, theta = location
    at_end = theta == 1.0
    ends = _pick(y_end, index)
    if coefficients is None:
        return torch.where(expand_outputs(at_end, y_end), ends, _pick(y_start, index))
    left = theta.to(y_end.real.dtype if y_end.is_complex() else y_end.dtype)
    right = 1.0 - left
    basis = left
    inside = _pick(y_start, index)
    for p in range(coefficients.shape[1]):
        inside = torch.addcmul(inside, expand_outputs(basis, y_end).to(y_end.dtype), _pick(coefficients[:, p], index))
        basis = basis * (right if p % 2 == 0 else left)
    if moves:  # at theta = 1 no basis function but the first three has a slope
        slope = coefficients[:, 0] - coefficients[:, 1:3].sum(1)
        beyond = expand_outputs(left - left.detach(), y_end).to(y_end.dtype)
        ends = ends + torch.where(expand_outputs(at_end, y_end), beyond * _pick(slope, index), 0.0)
    return torch.where(expand_outputs(at_end, y_end), ends, inside)


def expand_outputs(values: Tensor, states: Tensor) -> Tensor:
    """Shape ``(outputs,)`` or ``(outputs, batch)`` values to broadcast against ``(outputs, *state)``."""
    return expand(values, states.ndim)


def _pick(values: Tensor, index: Tensor) -> Tensor:
    """Take ``values[index]`` along the first axis, sample by sample where the index has a batch axis."""
    if index.ndim == 1:
        return values.index_select(0, index)
    return values[index, torch.arange(index.shape[1], device=index.device)]


@lru_cache(maxsize=64)
def _bases(thetas: tuple[float, ...], count: int, dtype: torch.dtype, device: torch.device) -> Sequence[Tensor]:
    """Return the interpolant's basis functions at some places."""
    with to_keep():
        left = torch.tensor(thetas, dtype=dtype, device=device)
        bases = [left]
        for p in range(count - 1):
            bases.append(bases[-1] * ((1.0 - left) if p % 2 == 0 else left))
        return bases


class StepInterpolant:
    """A step's interpolant at one place a group."""

    @classmethod
    def on(cls, clock: Sequence[Number], y: Tensor, dense: Tensor, end: Tensor) -> StepInterpolant:
        """Return that of a step whose start, size and end are numbers of any kind."""
        t, h, t_next = (torch.as_tensor(v, dtype=torch.float64, device=y.device).detach() for v in clock)
        return cls(t, h, t_next, y, dense, end)

    def __init__(self, t: Tensor, h: Tensor, t_next: Tensor, y: Tensor, dense: Tensor, end: Tensor) -> None:
        self.t, self.h, self.t_next = t, h, t_next
        self._y, self._dense, self.end = y, dense.unbind(0), end

    def place(self, t: Tensor) -> Tensor:
        """Return where in the step times lie, 0 for groups that stand still or whose time lies outside."""
        theta = (t - self.t) / torch.where(self.h == 0, 1.0, self.h)
        return torch.where((theta >= 0.0) & (theta <= 1.0), theta, 0.0)

    def time(self, theta: Tensor) -> Tensor:
        """Return the time at ``theta``."""
        return torch.where(theta == 1.0, self.t_next, self.t + theta * self.h)

    def points(self, thetas: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return the times and the states at some places, the same in all groups: ``(places, ...)`` each."""
        y, groups = self._y, self.t.ndim
        real = y.real.dtype if y.is_complex() else y.dtype
        left, *bases = _bases(tuple(thetas), len(self._dense), real, y.device)
        state = y.expand(len(thetas), *y.shape)
        for basis, coefficient in zip((left, *bases), self._dense, strict=True):
            state = torch.addcmul(state, expand(basis, 1 + y.ndim).to(y.dtype), coefficient)
        return self.t + expand(left.double(), 1 + groups) * self.h, state

    def at(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the time and the state at ``theta``; see :mod:`physode.solvers.interpolation`."""
        left = expand(theta, self._y.ndim).to(self._y.real.dtype if self._y.is_complex() else self._y.dtype)
        state, basis = self._y, left
        for p, coefficient in enumerate(self._dense):
            state = torch.addcmul(state, basis.to(state.dtype), coefficient)
            basis = basis * ((1.0 - left) if p % 2 == 0 else left)
        return self.time(theta), torch.where(left == 1.0, self.end, state)


_ELEMENTS = 2**15  # of the stages of the steps that wait


class _Waiting(NamedTuple):
    row: int
    h: Number
    y: Tensor
    step: Step
    k_end: Tensor


class DeferredInterpolants:
    """Steps of a record whose interpolants are wanted but not computed yet.

    A step's place in the record is to a batch of steps what a sample is to a batch of samples: :func:`interpolant`
    takes one more leading axis as it is, unless it must evaluate the right-hand side at extra stages.
    """

    def __init__(self, rhs: Rhs, tableau: Method, y: Tensor) -> None:
        self._rhs, self._tableau = rhs, tableau
        self._most = 0 if tableau.c_extra else _ELEMENTS // max(1, y.numel() * (tableau.stages + 1))
        self._waiting: list[_Waiting] = []

    @property
    def useful(self) -> bool:
        """Whether interpolants can wait at all."""
        return self._most > 1

    def add(self, record: Trace, h: Number, step: Step, k_end: Tensor) -> None:
        """Let the interpolant of the step just recorded wait."""
        self._waiting.append(_Waiting(len(record) - 1, h, record.nodes[-2], step, k_end))
        if len(self._waiting) >= self._most:
            self.fill(record)

    def fill(self, record: Trace) -> None:
        """Compute what waits and put it into the record."""
        if not self._waiting:
            return
        rows, sizes, starts, steps, k_ends = zip(*self._waiting, strict=True)
        self._waiting = []
        y = torch.stack(starts)
        stages = zip(*(step.ks for step in steps), strict=True)
        step = Step(torch.stack([step.y for step in steps]), tuple(torch.stack(ks) for ks in stages))
        h = stacked(sizes, y.device)
        coefficients = interpolant(self._rhs, self._tableau, h, y, h, step, torch.stack(k_ends))
        for row, dense in zip(rows, coefficients.unbind(1), strict=True):
            record.dense[row] = dense
