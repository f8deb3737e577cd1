r"""Steps of quadratic models, damped, inside a box, for many of them at once.

With gradient g, information I and damping :math:`\lambda`, a step is

.. math:: \Delta = \arg\min_{l \le d \le u} \; g^\top d + \tfrac12 d^\top (I + \lambda D) d,
          \qquad D = \max(\operatorname{diag} I, \text{floor}),

found by an active set: from d = 0 on towards the minimum of what is free, up to the first end of the box, which is
held from there on; what is held is let go where the slope leads inwards. A step that was cut off at the box, in place
of this, would leave the others where they are best only without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDS = 60  # of holding and letting go; what is left then is cut off
_ROOM = 1e-12  # of a bound, by the size of what is bounded


@dataclass(frozen=True)
class Quadratic:
    """S quadratic models of a loss in F unknowns.

    Attributes
    ----------
    gradient, information
        (S, F) and (S, F, F); information that is not finite counts as 0.
    """

    gradient: Tensor
    information: Tensor

    def decrement(self, held: Tensor) -> Tensor:
        """Return g I^-1 g of the unknowns that are not held, (S,); infinite where they are not determined."""
        gradient = torch.where(held, 0.0, self.gradient)
        nothing = torch.zeros_like(gradient)
        decrement = (gradient * self._solved(gradient, held, nothing[:, 0], nothing)).sum(1)
        return torch.where(torch.isfinite(decrement), decrement, torch.inf)

    def step(self, damping: Tensor, floor: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return the steps in a box around 0, (S, F), and the falls that the undamped models foretell, (S,).

        Parameters
        ----------
        damping
            (S,).
        floor
            The least of D, (S, F).
        low, high
            Ends of the boxes, (S, F), at most and at least 0.
        """
        matrix = self.information.nan_to_num(posinf=0.0, neginf=0.0)
        damped = damping.unsqueeze(1) * torch.maximum(matrix.diagonal(dim1=1, dim2=2), floor)
        d = torch.zeros_like(self.gradient)
        held = self._held(d, self.gradient, low, high)
        for _ in range(_ROUNDS):
            pull = self.gradient + (matrix @ torch.where(held, d, 0.0).unsqueeze(-1)).squeeze(-1)
            aim = torch.where(held, d, -self._solved(pull, held, damping, floor))
            share, first = _shares(d, aim, low, high)
            outside = share < 1.0
            d = torch.where(outside.unsqueeze(1), d + share.unsqueeze(1) * (aim - d), aim)
            d = torch.where(first & outside.unsqueeze(1), torch.where(aim > d, high, low), d)
            slope = self.gradient + (matrix @ d.unsqueeze(-1)).squeeze(-1) + damped * d
            wrong = held & ~self._held(d, slope, low, high) & ~outside.unsqueeze(1)
            worst = torch.where(wrong, slope.abs(), -1.0).argmax(1, keepdim=True)
            go = torch.zeros_like(held).scatter(1, worst, wrong.any(1, keepdim=True)) & wrong
            held = (held | (first & outside.unsqueeze(1))) & ~go
            if not bool((outside | go.any(1)).any()):
                break
        d = torch.minimum(torch.maximum(d, low), high)
        bend = (d.unsqueeze(1) @ matrix @ d.unsqueeze(2)).flatten()
        return d, -(self.gradient * d).sum(1) - 0.5 * bend

    @staticmethod
    def _held(d: Tensor, slope: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return what is at an end of the box, and is pushed against it."""
        return ((d <= low) & (slope >= 0)) | ((d >= high) & (slope <= 0))

    def _solved(self, gradient: Tensor, held: Tensor, damping: Tensor, floor: Tensor) -> Tensor:
        """Return (I + damping D)^-1 g, 0 where held.

        It is scaled to a unit diagonal, and solved by an eigendecomposition; what nothing tells of is left alone.
        """
        keep = ~held
        both = keep.unsqueeze(1) & keep.unsqueeze(2)
        matrix = torch.where(both, self.information, 0.0).nan_to_num(posinf=0.0, neginf=0.0)
        diagonal = torch.maximum(matrix.diagonal(dim1=1, dim2=2), floor)
        usable = keep & (diagonal > 0)
        scale = torch.where(usable, diagonal, 1.0).sqrt()
        values, vectors = torch.linalg.eigh(matrix / (scale.unsqueeze(1) * scale.unsqueeze(2)))
        damped = values.clamp_min(0.0) + damping.unsqueeze(1)
        least = torch.finfo(values.dtype).eps * values.amax(1, keepdim=True).clamp_min(1e-300) * len(values[0])
        inverse = torch.where(damped > least, 1.0 / damped.clamp_min(1e-300), 0.0)
        right = torch.where(usable, gradient / scale, 0.0)
        solution = (vectors @ (inverse.unsqueeze(-1) * (vectors.mT @ right.unsqueeze(-1)))).squeeze(-1)
        return torch.where(usable, solution / scale, 0.0)


def pushed(z: Tensor, gradient: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return which unknowns are at a bound that the gradient pushes them against, (S, F)."""
    room = _ROOM * torch.maximum(z.abs(), torch.ones_like(z))
    return ((z - low <= room) & (gradient > 0)) | ((high - z <= room) & (gradient < 0))


def _shares(d: Tensor, aim: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much of the way from d to an aim lies inside the box, (S,), and which unknown leaves it first."""
    way = aim - d
    room = torch.where(way > 0, high - d, torch.where(way < 0, low - d, torch.inf))
    shares = torch.where((aim > high) | (aim < low), room / way, torch.inf).nan_to_num(nan=torch.inf).clamp_min(0.0)
    least, at = shares.min(1)
    return least.clamp_max(1.0), torch.zeros_like(d, dtype=torch.bool).scatter(1, at.unsqueeze(1), True)
