r"""A method that is explicit where the problem is not stiff, and implicit where it is.

Each step is one of two methods of order 5: tsit5 where :math:`|h| \rho \le 3`, with the spectral radius
:math:`\rho` of the Jacobian at the step's start, else rodas5p. Beyond some 3.5 an explicit step would be unstable for
eigenvalues on the negative axis (Hairer & Wanner, Solving ODEs II, Sect. IV.2). The choice is a function of time, state
and step size alone, so that replays take the steps that were taken, and switching back needs no rule of its own. It
costs a Jacobian a step.

The spectral radius is estimated from a matrix power (Gelfand): :math:`\rho \le |J^{16}|^{1/16}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from physode.autograd import is_mapped
from physode.solvers.clock import Number
from physode.solvers.implicit.banded import Band
from physode.solvers.implicit.jacobian import derivatives, structure_for
from physode.solvers.implicit.jacobian_structure import blocks_of
from physode.solvers.implicit.rosenbrock import RODAS5P
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Rhs, Step, coefficients, end_derivative, local_errors, take_step
from physode.solvers.tableaus import METHODS

__all__ = ["AUTO", "Auto"]

_EXPLICIT, _IMPLICIT = METHODS["tsit5"], RODAS5P
_STABLE = 3.0
_SQUARINGS = 4
_WIDEST = 64  # bands that are squared: with fewer powers the bound is a larger one


@dataclass
class Tally:
    """Attempts by each method, of all groups together."""

    explicit: int = 0
    implicit: int = 0


@dataclass(frozen=True, kw_only=True)
class Auto(StepMethod):
    """Chooses between tsit5 and rodas5p, step by step and group by group.

    Attributes
    ----------
    tally
        The attempts that the forward solve made by each.
    """

    name: str = "auto"
    order: int = 5
    error_order: int = 4
    interpolant_order: int = 4
    adaptive: bool = True
    stages: int = 8
    reference: str = "tsit5 and rodas5p"
    tally: Tally = field(default_factory=Tally, compare=False)

    def prepared(self, *, rtol: Tensor | float | None, atol: Tensor | float | None) -> Auto:
        """Return the method with a tally of its own."""
        del rtol, atol
        return replace(self, tally=Tally())

    def take(self, rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step; what stands for slopes are the error and the interpolant's coefficients but the first."""
        k1 = rhs(t, y) if k1 is None else k1
        stiff = _stiff(rhs, t, y, h)
        if is_mapped(stiff):
            raise RuntimeError(
                "method 'auto' chooses by values, which torch.func.vmap cannot map: use 'tsit5' or 'rodas5p'"
            )
        waits = h == 0.0 if isinstance(h, Tensor) else torch.tensor(h == 0.0)
        some, every = bool(stiff.any()), bool((stiff | waits).all())
        self.tally.implicit += int((stiff & ~waits).sum())
        self.tally.explicit += int((~stiff & ~waits).sum())
        if not some:
            return _explicit(rhs, t, y, h, k1)
        if every:
            return _implicit(rhs, t, y, h, k1)
        mask = stiff.reshape(-1, *[1] * (y.ndim - 1))
        one, other = _implicit(rhs, t, y, h, k1), _explicit(rhs, t, y, h, k1)
        ks = tuple(torch.where(mask, a, b) for a, b in zip(one.ks, other.ks, strict=True))
        return Step(torch.where(mask, one.y, other.y), ks)

    def attempts(self) -> dict[str, int]:
        """Return the attempts by each method."""
        return {_EXPLICIT.name: self.tally.explicit, _IMPLICIT.name: self.tally.implicit}

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the local error's estimate."""
        del h
        return [ks[0]]

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor]:
        """Return the interpolant of whichever method took the step."""
        return [step.y - y, *step.ks[1:]]


def _stiff(rhs: Rhs, t: Number, y: Tensor, h: Number) -> Tensor:
    """Whether each group's step is too long for an explicit method; NaN counts as such."""
    if not y.numel():
        return torch.zeros(h.shape if isinstance(h, Tensor) else (), dtype=torch.bool, device=y.device)
    with torch.no_grad():
        blocks = blocks_of(y, h, structure_for(rhs))
        matrix = derivatives(rhs, t, y.detach(), blocks).by_state
        radius = _log_radius(matrix)
        length = h.detach().abs() if isinstance(h, Tensor) else abs(h)
        grouped = isinstance(h, Tensor) and h.ndim == 1
        spectral_radius = radius.exp() if grouped else radius.exp().amax()
        stable: Tensor = length * spectral_radius <= _STABLE
        return ~stable


def _log_radius(matrix: Tensor | Band) -> Tensor:
    """Return the logarithm of the bound of each block's spectral radius."""
    power, size = _normed(matrix, _largest(matrix))
    radius, exponent = size.log(), 1.0
    power, size = _normed(power, _length(power))
    radius = radius + size.log()
    for _ in range(_SQUARINGS):
        if isinstance(power, Band):
            if power.lower + power.upper > _WIDEST:
                break
            power = power.times(power)
        else:
            power = power @ power
        exponent *= 2
        power, size = _normed(power, _length(power))
        radius = radius + size.log() / exponent
    return radius


def _normed(matrix: Tensor | Band, size: Tensor) -> tuple[Tensor | Band, Tensor]:
    size = size.clamp(min=torch.finfo(size.dtype).tiny)
    if isinstance(matrix, Band):
        return matrix._replace(entries=matrix.entries / size[:, None, None]), size
    return matrix / size[:, None, None], size


def _largest(matrix: Tensor | Band) -> Tensor:
    return (matrix.entries if isinstance(matrix, Band) else matrix).abs().amax((1, 2))


def _length(matrix: Tensor | Band) -> Tensor:
    norm: Tensor = torch.linalg.matrix_norm(matrix.entries if isinstance(matrix, Band) else matrix)
    return norm


def _explicit(rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor) -> Step:
    step = take_step(rhs, _EXPLICIT, t, y, h, k1)
    k_end = end_derivative(rhs, t, h, step)
    (error,) = local_errors(_EXPLICIT, h, [*step.ks, k_end])
    return Step(step.y, (error, *coefficients(rhs, _EXPLICIT, t, y, h, step, k_end)[1:]))


def _implicit(rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor) -> Step:
    step = take_step(rhs, _IMPLICIT, t, y, h, k1)
    (error,) = _IMPLICIT.local_errors(h, step.ks)
    return Step(step.y, (error, *_IMPLICIT.coefficients(y, step)[1:]))


AUTO = Auto()
