"""The systems of the recovery study: what is observed of them, the truth, and where fits begin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physode.datasets import Trajectories
from physode.simulators import simulate_three_body

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Systems:
    """Systems of three bodies, n of them.

    Attributes
    ----------
    labels
        One a system: the simulator's seed and the index, such as ``"3/7"``.
    data
        Observed positions; velocities are missing. With noise, the exact states stand beside them.
    starts
        The masses at which fits begin, (n, 3).
    """

    labels: tuple[str, ...]
    data: Trajectories
    starts: Array

    @property
    def masses(self) -> Array:
        """The true masses, (n, 3)."""
        found: Array = self.data.params["masses"]
        return found

    @property
    def distances(self) -> Array:
        """The smallest distance of two bodies at any time, (n,)."""
        found: Array = self.data.params["min_distance"]
        return found

    @property
    def states(self) -> Array:
        """The exact initial states, (n, 18)."""
        clean = self.data.y_clean
        assert clean is not None
        found: Array = clean[:, 0]
        return found

    def about(self, index: int) -> dict[str, Any]:
        """Return what a fit of a system says of the system."""
        return {
            "system": self.labels[index],
            "min_distance": float(self.distances[index]),
            "masses": self.masses[index].tolist(),
            "start": self.starts[index].tolist(),
        }


def simulated(*, seed: int, count: int, t_end: float, points: int, noise: float, spread: float) -> Systems:
    r"""Draw systems, and observe their positions.

    They are those of ``simulate_three_body(n=count, seed=seed, t_end=t_end, points=points, noise=noise)``, the same at
    every noise, whose random numbers are scaled from one to the next. Fits begin at :math:`m (1 + u)` with
    :math:`u \sim U(-s, s)` drawn for each mass, s = `spread`.

    Parameters
    ----------
    seed
        Of systems, noise and starts.
    count
        Number of systems; the first ones are the same for any number.
    t_end, points
        Observed are `points` times from 0 to `t_end`, in years.
    noise
        Standard deviation of observed positions in AU.
    spread
        Largest relative error of a mass where fits begin.
    """
    truth = simulate_three_body(n=count, seed=seed, t_end=t_end, points=points, noise=noise)
    clean = truth.y if truth.y_clean is None else truth.y_clean
    observed = truth.y.copy()
    observed[..., 9:] = np.nan
    errors = np.random.default_rng([seed, 1]).uniform(-spread, spread, (count, 3))
    return Systems(
        labels=tuple(f"{seed}/{index}" for index in range(count)),
        data=dataclasses.replace(truth, y=observed, y_clean=clean),
        starts=truth.params["masses"] * (1.0 + errors),
    )


def several(seeds: Sequence[int], counts: Sequence[int], **options: Any) -> tuple[Systems, ...]:
    """Return the systems of several seeds, as :func:`simulated` makes them of each."""
    return tuple(simulated(seed=seed, count=count, **options) for seed, count in zip(seeds, counts, strict=True))
