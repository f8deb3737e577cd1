r"""Step-size controllers: from the error ratio of an attempt to its verdict and the next step size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from physode.solvers.numbers import Number, clamp, finite_or, logical_not, minimum, where

__all__ = ["PI", "PID", "Control", "Controller", "I", "Predictive"]

_SMALLEST_ERROR = 1e-12


class Control(NamedTuple):
    """What a controller carries from attempt to attempt, one value a group: floats or tensors.

    ``size``: the step size proposed, positive; ``error_1``, ``error_2``: the error ratios of the last two accepted
    steps, but with a predictive controller ``error_1`` is the ratio that the step proposed is expected to have;
    ``rejected``: whether the last attempt was rejected.
    """

    size: Number
    error_1: Number
    error_2: Number
    rejected: Number


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

    def accepts(self, error: Number, size: Number) -> Number:
        """Whether an attempt of step size ``size`` with error ratio ``error`` is accepted."""
        del size
        return error <= 1.0

    def next(self, control: Control, error: Number, size: Number, accepted: Number, error_order: int) -> Control:
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
