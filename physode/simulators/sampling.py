"""Random initial states and observation noise, reproducible trajectory by trajectory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physode.simulators.arguments import Floats

__all__ = ["add_noise", "generator", "sample_bound_bodies", "sample_box", "sample_masses"]

_STREAMS = ("initial state", "constants", "noise", "galaxy", "field", "times")  # new ones go to the end
_MAX_DRAWS = 10_000


def generator(seed: int, stream: str, index: int) -> np.random.Generator:
    """Return the random numbers of one trajectory for one purpose.

    Every trajectory has its own, so that it does not depend on how many others are simulated: trajectory 7 of ten is
    trajectory 7 of a thousand.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(stream), index)))


def add_noise(y: Floats, sigma: Floats, *, seed: int) -> Floats:
    """Return `y` (N, T, D) plus independent normal noise with standard deviation `sigma` (D,)."""
    noisy = np.empty_like(y)
    for index, path in enumerate(y):
        noisy[index] = path + sigma * generator(seed, "noise", index).standard_normal(path.shape)
    return noisy


def sample_box(box: Sequence[tuple[float, float]], *, n: int, seed: int) -> Floats:
    """Return `n` states drawn uniformly between the ends of each component: (n, len(box))."""
    low, high = np.array(box, dtype=np.float64).T
    return np.stack([generator(seed, "initial state", index).uniform(low, high) for index in range(n)])


def sample_masses(bounds: tuple[float, float], *, bodies: int, n: int, seed: int) -> Floats:
    """Return masses drawn uniformly between `bounds`: (n, bodies)."""
    return np.stack([generator(seed, "constants", index).uniform(*bounds, bodies) for index in range(n)])


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
