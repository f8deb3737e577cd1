"""Point masses under Newton's gravitation, the hot path of the three-body experiments."""

from __future__ import annotations

import math
from functools import reduce
from operator import add
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physode.rhs.base import Span, System
from physode.rhs.constants import Constant, ConstantLike, Names

__all__ = ["G_ASTRONOMICAL", "G_GAUSS", "NBody", "body_columns", "pair_distances", "sample_bound_bodies"]

G_ASTRONOMICAL = 4.0 * math.pi**2
"""Gravitational constant in AU^3 / (solar mass yr^2), from Kepler's third law for the Earth."""

G_GAUSS = (0.01720209895 * 365.25) ** 2
"""The same with the Sun's measured mass and Julian years of 365.25 d: Gauss' constant squared, 39.47693."""

Floats = NDArray[np.float64]

_IN_ORDER = 3  # terms
_LARGEST = 1e150
_MAX_DRAWS = 10_000


class NBody(System):
    r"""Newton's equations for `n` point masses (Eq. 32 of the ACA paper, with its units made explicit).

    .. math::

        \dot r_i = K v_i, \qquad
        \dot v_i = G \sum_{j \ne i} m_j \frac{r_j - r_i}{(|r_j - r_i|^2 + \epsilon^2)^{3/2}}

    with :math:`K` = `velocity_scale` and :math:`\epsilon` = `softening`. The state is
    :math:`(r_1, \ldots, r_n, v_1, \ldots, v_n)`, three coordinates each, of shape (..., 6 n).

    Sums over bodies and coordinates are additions in a fixed order, never matrix products or reductions in parallel: a
    sample's result then does not depend, in any bit, on how many samples are evaluated beside it. The batch is the
    innermost axis throughout: each operation runs along memory over many samples, not over three coordinates.

    Parameters
    ----------
    masses
        Shape (n,), or (batch, n) for one set a sample; then `y` must be (..., batch, 6 n). Finite and not negative.
    G
        Gravitational constant. The default, with ``velocity_scale=1``, makes the units AU, years and solar masses;
        with any other pair the units are the user's own, and physode names none.
    velocity_scale
        Length unit covered in a time unit at unit velocity.
    softening
        Length below which the attraction is weakened; 0 for exact point masses.
    learnable, positive
        Whether the masses are parameters, and whether they are stored as logarithms.

    Raises
    ------
    ValueError
        If a mass is negative or not finite, if there are fewer than two bodies, or if a scale is out of range.
    """

    name = "n_body"
    separable = True
    span = Span(2.0, 2000)
    bodies: ClassVar[int | None] = None
    masses = Constant(None, "masses", domain="nonnegative", ndim=1)

    def __init__(
        self,
        masses: ConstantLike,
        *,
        G: float = G_ASTRONOMICAL,
        velocity_scale: float = 1.0,
        softening: float = 0.0,
        learnable: Names = False,
        positive: Names = False,
    ) -> None:
        super().__init__(masses, learnable=learnable, positive=positive)
        values = self.masses.detach()
        self.n = int(values.shape[-1])
        if self.n < 2:
            raise ValueError(f"`masses` must hold at least two bodies, got {values.tolist()}")
        self.G = _checked("G", G)
        self.velocity_scale = _checked("velocity_scale", velocity_scale)
        self.softening = _checked("softening", softening, zero=True)
        self.columns = body_columns(self.n)
        self.kinematic = self.columns[: 3 * self.n]
        length, velocity = ("", "")
        if self.G in (G_ASTRONOMICAL, G_GAUSS) and self.velocity_scale == 1.0:
            length, velocity, self.time_unit, self.constant_units = "AU", "AU/yr", "yr", {"masses": "Msun"}
        self.units = (length,) * (3 * self.n) + (velocity,) * (3 * self.n)
        self._diagonal: Tensor
        self.register_buffer("_diagonal", torch.eye(self.n, dtype=torch.float64), persistent=False)
        self._scales: Tensor
        scales = torch.tensor([[[self.velocity_scale]], [[self.G]]], dtype=torch.float64)
        self.register_buffer("_scales", scales, persistent=False)
        if self.bodies not in (None, self.n):
            raise ValueError(f"`masses` must hold three masses, got {self.n}: {values.tolist()}; use NBody")

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        state = _batch_last(y)
        r, v = state.view(2, self.n, 3, *state.shape[1:]).unbind(0)  # (body, coordinate, ...)
        scaled = torch.stack((v, self._pull(r, y))) * _beside(y, self._scales)
        change = scaled.flatten(0, 2)
        return change if y.ndim == 1 else change.movedim(0, -1)

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        """Return the positions' derivative from the velocities `p`, (..., 3 n)."""
        return p * self._scales[0, 0].to(p.dtype)

    def force(self, t: Tensor, q: Tensor) -> Tensor:
        """Return the velocities' derivative from the positions `q`, (..., 3 n)."""
        state = _batch_last(q)
        a = self._pull(state.reshape(self.n, 3, *state.shape[1:]), q) * _beside(q, self._scales[1])
        change = a.flatten(0, 1)
        return change if q.ndim == 1 else change.movedim(0, -1)

    def _pull(self, r: Tensor, y: Tensor) -> Tensor:
        """Return the accelerations (body, coordinate, ...) but for G, in the form that `y` has."""
        d = r - r.unsqueeze(1)  # (i, j, coordinate, ...): r_j - r_i
        # A body's distance to itself is set to 1: its term is then 0, and so is its derivative.
        q = _sum(d.square(), 2) + _beside(y, self._diagonal)
        if self.softening:
            q = q + self.softening**2
        weight = self._masses(y) / (q * q.sqrt())
        return _sum(d * weight.unsqueeze(2), 1)

    def _masses(self, y: Tensor) -> Tensor:
        """Return m_j, to be broadcast over (i, j, ...)."""
        masses = self.masses
        if masses.ndim == 1:
            return _beside(y, masses)
        return masses.to(y.dtype).mT.reshape(self.n, *(1,) * (y.ndim - 2), -1)

    def config(self) -> dict[str, Any]:
        """Return constructor arguments, JSON-able, with the current masses."""
        scales = {"G": self.G, "velocity_scale": self.velocity_scale, "softening": self.softening}
        return {**super().config(), **scales}

    def kinetic(self, p: Tensor) -> Tensor:
        """Return the kinetic part of the energy, (...), from the velocities `p`, (..., 3 n)."""
        v = torch.unflatten(p, -1, (self.n, 3))
        return 0.5 * self.velocity_scale * (self.masses.to(p.dtype) * v.square().sum(-1)).sum(-1)

    def potential(self, q: Tensor) -> Tensor:
        """Return the potential part of the energy, (...), from the positions `q`, (..., 3 n)."""
        r, m = torch.unflatten(q, -1, (self.n, 3)), self.masses.to(q.dtype)
        i, j = torch.triu_indices(self.n, self.n, 1, device=q.device)
        square = (r[..., i, :] - r[..., j, :]).square().sum(-1)
        return -self.G * (m[..., i] * m[..., j] / (square + self.softening**2).sqrt()).sum(-1)

    def draw_state(self, rng: np.random.Generator, index: int) -> Floats:
        """Draw a bound initial state of trajectory `index`, (6 n,): see :func:`sample_bound_bodies`."""
        masses = self.masses.detach().numpy()
        return sample_bound_bodies(
            rng,
            masses if masses.ndim == 1 else masses[index],
            G=self.G,
            velocity_scale=self.velocity_scale,
            softening=self.softening,
        )

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        r"""Return energy (...), momentum (..., 3) and angular momentum (..., 3).

        The energy is :math:`\frac{K}{2} \sum_i m_i |v_i|^2 - G \sum_{i<j} m_i m_j / \sqrt{|r_i - r_j|^2 + \epsilon^2}`:
        with :math:`\dot r = K v` the kinetic term carries `K` too.
        """
        r, v = torch.unflatten(y, -1, (2, self.n, 3)).unbind(-3)
        momenta = self.masses.to(y.dtype).unsqueeze(-1) * v
        return {
            "energy": self.kinetic(v.flatten(-2)) + self.potential(r.flatten(-2)),
            "momentum": momenta.sum(-2),
            "angular_momentum": torch.linalg.cross(r, momenta).sum(-2),
        }


def sample_bound_bodies(
    rng: np.random.Generator,
    masses: Floats,
    *,
    G: float,
    velocity_scale: float = 1.0,
    softening: float = 0.0,
    radius: float = 1.0,
    separation: float = 0.5,
    kinetic_share: tuple[float, float] = (0.3, 0.7),
) -> Floats:
    r"""Draw a bound system of bodies at rest as a whole: (6 n,), positions then velocities.

    Positions are uniform in a ball and drawn again until every pair is apart; velocities point anywhere and are scaled
    so that the kinetic energy is a share of the potential's depth, :math:`T = q |V|` with `q` uniform. With q < 1 the
    total energy is negative: the bodies cannot all escape. The centre of mass rests at the origin.

    Parameters
    ----------
    rng
        Source of randomness.
    masses
        Shape (n,), at least two of them above 0.
    G, velocity_scale, softening
        As :class:`physode.rhs.NBody`.
    radius
        Radius of the ball.
    separation
        Smallest initial distance of a pair, as a share of `radius`.
    kinetic_share
        Bounds of `q`.

    Raises
    ------
    ValueError
        If fewer than two masses are above 0, or the ball has no room for the separations.
    """
    if np.count_nonzero(masses) < 2:
        raise ValueError(f"`masses` must have two above 0 for a bound system, got {masses.tolist()}; or give `y0`")
    n = len(masses)
    i, j = np.triu_indices(n, 1)
    for _ in range(_MAX_DRAWS):
        r = _in_ball(rng, n, radius)
        distances = np.linalg.norm(r[i] - r[j], axis=-1)
        if (distances >= separation * radius).all():
            break
    else:
        raise ValueError(f"`separation` of {separation} leaves no room for {n} bodies; lower it")
    r -= np.average(r, axis=0, weights=masses)
    v = rng.standard_normal((n, 3))
    v -= np.average(v, axis=0, weights=masses)
    depth = G * (masses[i] * masses[j] / np.sqrt(distances**2 + softening**2)).sum()
    kinetic = 0.5 * velocity_scale * (masses[:, None] * v**2).sum()
    v *= np.sqrt(rng.uniform(*kinetic_share) * depth / kinetic)
    return np.concatenate([r.ravel(), v.ravel()])


def _in_ball(rng: np.random.Generator, n: int, radius: float) -> Floats:
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    reach: Floats = radius * np.cbrt(rng.uniform(size=(n, 1)))
    return reach * direction


def body_columns(n: int) -> tuple[str, ...]:
    """Return the column names r1_x .. rn_z, v1_x .. vn_z of `n` bodies."""
    return tuple(f"{kind}{body}_{axis}" for kind in "rv" for body in range(1, n + 1) for axis in "xyz")


def pair_distances(y: Tensor) -> Tensor:
    r"""Return :math:`|r_i - r_j|` for the pairs (1,2), (1,3), ..., (n-1,n): (..., n (n-1) / 2) from `y` (..., 6 n)."""
    n = y.shape[-1] // 6
    r = torch.unflatten(y[..., : 3 * n], -1, (n, 3))
    i, j = torch.triu_indices(n, n, 1, device=y.device)
    return (r[..., i, :] - r[..., j, :]).square().sum(-1).sqrt()


def _batch_last(y: Tensor) -> Tensor:
    """Move the state's axis to the front."""
    return y if y.ndim == 1 else y.movedim(-1, 0)


def _sum(x: Tensor, dim: int) -> Tensor:
    """Sum along an axis, term after term: torch's own sum does so on a CPU if terms are few, in any layout."""
    if x.shape[dim] <= _IN_ORDER and x.device.type == "cpu":
        return x.sum(dim)
    return reduce(add, x.unbind(dim))


def _beside(y: Tensor, x: Tensor) -> Tensor:
    """Return a constant in the dtype of `y`, with axes of length 1 for its batch appended."""
    if x.dtype != y.dtype:
        x = x.to(y.dtype)
    return x if y.ndim == 1 else x.reshape(x.shape + (1,) * (y.ndim - 1))


def _checked(name: str, value: float, *, zero: bool = False) -> float:
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"`{name}` must be finite and {'not below' if zero else 'above'} 0, got {value!r}")
    if value > _LARGEST:
        raise ValueError(f"`{name}` must not be above {_LARGEST:g}, whose square is the largest number, got {value!r}")
    return float(value)
