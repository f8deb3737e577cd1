"""Trajectories of predators and prey."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from physode.datasets import Trajectories
from physode.rhs import LotkaVolterra
from physode.simulators.arguments import Floats, checked_count
from physode.simulators.boxes import BOXES, simulate_in_box
from physode.simulators.sampling import generator
from physode.simulators.times import Times, count_points
from physode.typing import Progress

__all__ = ["simulate_lotka_volterra"]


def simulate_lotka_volterra(
    *,
    n: int = 1,
    alpha: ArrayLike = 1.5,
    beta: ArrayLike = 1.0,
    delta: ArrayLike = 1.0,
    gamma: ArrayLike = 3.0,
    vary: float = 0.0,
    y0: ArrayLike | None = None,
    t: ArrayLike | None = None,
    t_end: float | None = None,
    points: int | None = None,
    times: Times = "grid",
    noise: float | Sequence[float] = 0.0,
    seed: int = 0,
    method: str = "dopri8",
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 20_000,
    progress: Progress | None = None,
) -> Trajectories:
    """Simulate `n` trajectories of :class:`physode.rhs.LotkaVolterra`.

    Parameters
    ----------
    n
        Number of trajectories.
    alpha, beta, delta, gamma
        The rates, one number or one a trajectory.
    vary
        Share, below 1, by which the rates of a trajectory differ from these at most: each is multiplied by a number
        drawn uniformly between 1 - `vary` and 1 + `vary`.
    y0
        Initial numbers of prey and predators of all, (2,), or of each, (n, 2); by default drawn between 0.5 and 5.
    t, t_end, points, times
        As :func:`physode.simulators.simulate_in_box`.
    noise, seed, method, rtol, atol, max_steps, progress
        As :func:`physode.simulators.simulate`.

    Raises
    ------
    ValueError
        If an argument is out of range.
    SolveError
        If not one trajectory reached the end.
    """
    checked_count(n, points=count_points(t, points, BOXES[LotkaVolterra.name].points), columns=2)
    if not 0.0 <= vary < 1.0:
        raise ValueError(f"`vary` must be at least 0 and below 1, got {vary}")
    rates = {"alpha": alpha, "beta": beta, "delta": delta, "gamma": gamma}
    return simulate_in_box(
        LotkaVolterra(**(_varied(rates, vary, n=n, seed=seed) if vary else rates)),
        n=n,
        y0=y0,
        t=t,
        t_end=t_end,
        points=points,
        times=times,
        noise=noise,
        seed=seed,
        method=method,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        progress=progress,
    )


def _varied(rates: dict[str, ArrayLike], vary: float, *, n: int, seed: int) -> dict[str, Floats]:
    """Return each rate times a number of each trajectory's own: (n,) by name."""
    factors = np.stack([generator(seed, "constants", index).uniform(1 - vary, 1 + vary, 4) for index in range(n)])
    varied = {}
    for (name, rate), factor in zip(rates.items(), factors.T, strict=True):
        values = np.asarray(rate, dtype=np.float64)
        if values.shape not in {(), (n,)}:
            raise ValueError(f"`{name}` must be given once, or for each of n = {n} trajectories, got {values.size}")
        varied[name] = values * factor
    return varied
