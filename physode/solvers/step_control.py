"""Step control: the size of an attempt, its error, the controller's verdict and the next size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from physode.rhs_state import Statistics
from physode.solvers.clock import (
    Number,
    Verdict,
    absolute,
    clamp,
    detached,
    error_ratio,
    expand,
    finite_or,
    is_shared,
    like_clock,
    logical_not,
    maximum,
    minimum,
    scale_of,
    sign,
    tensor_beside,
    where,
)
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs, Step, local_errors
from physode.solvers.trace import NodeStore
from physode.typing import Norm

__all__ = [
    "PI",
    "PID",
    "Adaptive",
    "Control",
    "Controller",
    "I",
    "Predictive",
    "attempt",
    "first_size",
    "initial_step",
    "next_step",
    "underflow",
]


_SMALLEST_ERROR = 1e-12
_STRETCH = 0.999  # a last step may be this much shorter than what remains: no sliver is left behind it
_RESOLUTION = 4 * torch.finfo(torch.float64).eps
_SMALLEST_SHARE = 1e-30  # of the span: ends a failing start at t = 0, where the clock resolves anything


class Control(NamedTuple):
    """What a controller carries from attempt to attempt, one value a group: floats or tensors.

    ``size``: the step size proposed, positive; ``error_1``, ``error_2``: the error ratios of the last two accepted
    steps, but with a predictive controller ``error_1`` is the ratio that the step proposed is expected to have;
    ``rejected``: whether the last attempt was rejected.
    """

    size: Number
    error_1: Number
    error_2: Number
    rejected: Verdict


@dataclass(frozen=True)
class Controller:
    r"""A PID controller (Soderlind, ACM TOMS 29 (2003) 1-26, Eq. 34 and Sect. 5).

    With :math:`e_n` the error ratio of an accepted step and :math:`k` one more than the order of the error estimate,

    .. math::
        h_{n+1} = h_n \, s \; e_n^{-(k_P + k_I + k_D)/k} \; e_{n-1}^{(k_P + 2 k_D)/k} \; e_{n-2}^{-k_D/k} ,

    the factor held within ``[min_factor, max_factor]``. A predictive controller (Gustafsson, ACM TOMS 20 (1994)
    496-517; Hairer & Wanner, Solving ODEs II, Sect. IV.8) multiplies it by

    .. math::
        \min\Big(1, \; \frac{h_n}{h_{n-1}} \Big(\frac{e_{n-1}}{e_n}\Big)^{1/k}\Big) :

    where an error came out larger than the step before had led to expect, it is expected to grow as much once more.
    On the way into a close encounter or a fast transient this saves rejections; into a pole it goes without any, until
    the state overflows. After a rejection the integral rule alone shrinks the step, and the step accepted next does not
    grow. A ratio that is NaN or infinite is rejected with ``min_factor``.

    Attributes
    ----------
    proportional, integral, derivative
        The coefficients :math:`k_P, k_I, k_D`.
    safety
        The factor :math:`s`.
    min_factor, max_factor
        Bounds of a step's change.
    predictive
        Whether the error's growth from step to step is expected to go on.
    """

    proportional: float = 0.0
    integral: float = 1.0
    derivative: float = 0.0
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0
    predictive: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.safety <= 1.0:
            raise ValueError(f"`safety` must lie in (0, 1], got {self.safety}")
        if not 0.0 < self.min_factor < 1.0 < self.max_factor:
            raise ValueError(
                f"`min_factor` must lie in (0, 1) and `max_factor` above 1, got {self.min_factor} and {self.max_factor}"
            )
        if self.predictive and not self._is_integral:
            raise ValueError("`predictive` goes with the integral rule only: proportional=0, integral=1, derivative=0")

    def start(self, size: Number) -> Control:
        """Return the controller's memory before the first attempt with the step size ``size``."""
        if not isinstance(size, Tensor):
            return Control(size, 1.0, 1.0, False)
        one = torch.ones_like(size.detach())
        return Control(size, one, one, torch.zeros_like(one, dtype=torch.bool))

    def accepts(self, error: Number, size: Number) -> Verdict:
        """Whether an attempt of step size ``size`` with error ratio ``error`` is accepted."""
        del size
        return error <= 1.0

    def next(self, control: Control, error: Number, size: Number, accepted: Verdict, error_order: int) -> Control:
        """Return the memory after an attempt of step size ``size`` with error ratio ``error``."""
        k = error_order + 1.0
        error = clamp(error, _SMALLEST_ERROR)
        rule = self.safety * error ** (-1.0 / k)
        error_1, error_2 = control.error_1, control.error_2  # of no use to the integral rule
        if self.predictive:
            growth = (error_1 / error) ** (1.0 / k)
            rule = where(accepted, rule * clamp(growth, high=1.0), rule)
        elif not self._is_integral:
            rule = where(accepted, self._pid(control, error, k), rule)
            error_1, error_2 = where(accepted, error, error_1), where(accepted, error_1, error_2)
        ceiling = where(accepted, where(control.rejected, 1.0, self.max_factor), self.safety)
        factor = minimum(clamp(finite_or(rule, self.min_factor), self.min_factor), ceiling)
        if self.predictive:
            error_1 = clamp(where(accepted, error, error_1) * factor**k, _SMALLEST_ERROR)
        return Control(size * factor, error_1, error_2, logical_not(accepted))

    @property
    def _is_integral(self) -> bool:
        return self.proportional == 0.0 and self.derivative == 0.0 and self.integral == 1.0

    def _pid(self, control: Control, error: Number, k: float) -> Number:
        p, i, d = self.proportional / k, self.integral / k, self.derivative / k
        return self.safety * error ** -(p + i + d) * control.error_1 ** (p + 2 * d) * control.error_2**-d


def Predictive() -> Controller:  # noqa: N802 - the field's names
    """Return Gustafsson's predictive controller, the default: fewer rejections where errors grow from step to step."""
    return Controller(predictive=True)


def I() -> Controller:  # noqa: E743, N802
    """Return the integral controller: of an attempt's error alone."""
    return Controller()


def PI(proportional: float = 0.4, integral: float = 0.3) -> Controller:  # noqa: N802
    """Return a proportional-integral controller: fewer rejections where stability limits the step size."""
    return Controller(proportional, integral)


def PID(proportional: float = 0.3, integral: float = 0.3, derivative: float = 0.05) -> Controller:  # noqa: N802
    """Return a proportional-integral-derivative controller: the smoothest step sizes."""
    return Controller(proportional, integral, derivative)


def initial_step(
    rhs: Rhs,
    *,
    t: Tensor,
    y: Tensor,
    k: Tensor,
    span: Tensor,
    order: int,
    rtol: Tensor | float,
    atol: Tensor | float,
    norm: Norm,
) -> Tensor:
    r"""Return the size, positive, of a first step whose error should be near the tolerance.

    With :math:`d_0 = |y|`, :math:`d_1 = |f|` in the error norm, an Euler step of :math:`h_0 = 0.01 d_0 / d_1` estimates
    the second derivative :math:`d_2`; then :math:`h_1^{p+1} \max(d_1, d_2) = 0.01` and
    :math:`h = \min(100 h_0, h_1)`. The probe stays inside the span.

    Parameters
    ----------
    t, y, k
        The start, the state and its derivative there.
    span
        The signed length of the integration, one value a group.
    order
        The order :math:`p` of the error estimate.
    """
    length = span.abs()
    scale = scale_of(y, y, rtol, atol)
    d0, d1 = norm(y / scale).double(), norm(k / scale).double()
    tiny = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = torch.where(tiny, 1e-6 * length, 0.01 * d0 / torch.where(tiny, 1.0, d1))
    h0 = torch.minimum(torch.nan_to_num(h0, nan=0.0, posinf=0.0, neginf=0.0), length)
    h0 = torch.where(h0 > 0, h0, 1e-6 * length)
    probe = h0 * torch.sign(span)
    k_probe = rhs(t + probe, y + expand(probe.to(y.dtype), y.ndim) * k)
    d2 = norm((k_probe - k) / scale).double() / h0
    steepest = torch.maximum(d1, d2)
    flat = steepest <= 1e-15
    h1 = torch.where(
        flat, torch.clamp(1e-3 * h0, min=1e-6), (0.01 / torch.where(flat, 1.0, steepest)) ** (1.0 / (order + 1))
    )
    h = torch.minimum(100 * h0, h1)
    return torch.minimum(torch.where(torch.isfinite(h) & (h > 0), h, h0), length)


@dataclass(frozen=True)
class Adaptive:
    """What decides the steps of an adaptive solve.

    ``max_steps``: the most attempts; ``left``: those of each group, where some may make fewer.
    """

    tableau: Method
    controller: Controller
    norm: Norm
    rtol: Tensor | float
    atol: Tensor | float
    first_step: float | None = None
    min_step: float = 0.0
    max_step: float | None = None
    max_steps: int = 100_000
    left: Tensor | None = None

    def with_tolerances(self, rtol: Tensor | float, atol: Tensor | float) -> Adaptive:
        """Return the same choices with other tolerances."""
        return replace(self, rtol=rtol, atol=atol)


def first_size(
    rhs: Rhs, steps: Adaptive, t0: Number, t1: Number, y0: Tensor, k0: Tensor, statistics: Statistics
) -> Number:
    """Return the size of the first attempt: what was asked for, or Hairer's choice, positive, one a group."""
    start, span = tensor_beside(t0, y0), tensor_beside(t1 - t0, y0)
    if steps.first_step is not None:
        return like_clock(t0, torch.full_like(span, steps.first_step).minimum(span.abs()))
    with statistics.preserved():
        size = initial_step(
            rhs,
            t=start,
            y=y0,
            k=k0,
            span=span,
            order=steps.tableau.error_order,
            rtol=steps.rtol,
            atol=steps.atol,
            norm=steps.norm,
        )
    return like_clock(t0, size)


def next_step(
    steps: Adaptive, control: Control, t: Number, t1: Number, active: Verdict
) -> tuple[Number, Number, Number]:
    """Return the attempt's size, signed size and end; the last step lands on the end time exactly."""
    direction = detached(sign(t1 - t))
    remaining = direction * (t1 - t)
    proposed = control.size
    if steps.min_step > 0.0 or steps.max_step is not None:
        proposed = clamp(proposed, steps.min_step, steps.max_step)
    is_last = proposed >= _STRETCH * remaining
    size = where(is_last, remaining, proposed)
    if not is_shared(active):
        size = where(active, size, 0.0)
    h = direction * size
    return size, h, where(is_last, t1, t + h)


def attempt(
    rhs: Rhs, steps: Adaptive, t: Number, y: Tensor, h: Number, k: Tensor, store: NodeStore
) -> tuple[Step, Tensor | None, Tensor]:
    """Return a step, the derivative at its end if the error estimate needs it, and the error ratio."""
    step, k_end = store.take(rhs, steps.tableau, t, y, h, k, with_end=steps.tableau.fsal)
    ks = step.ks if k_end is None else (*step.ks, k_end)
    scale = scale_of(y, step.y, steps.rtol, steps.atol)
    return step, k_end, error_ratio(local_errors(steps.tableau, h, ks), scale, steps.norm)


def underflow(
    steps: Adaptive, size: Number, rejected: Verdict, active: Verdict, t: Number, t0: Number, t1: Number
) -> tuple[Verdict, Number]:
    """Return which groups can go no further, and the smallest step size worth a try.

    That is ``min_step`` or the clock's resolution. A step as small is the last of a group if it was rejected; one
    within the resolution is, accepted or not: an approach to a pole by ever smaller steps ends.
    """
    finest = maximum(_RESOLUTION * absolute(detached(t)), _SMALLEST_SHARE * absolute(detached(t1 - t0)))
    floor = clamp(finest, low=steps.min_step)
    return active & (size <= where(rejected, floor, finest)), floor
