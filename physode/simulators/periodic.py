"""Toy series: sinusoids of random amplitude, frequency and phase."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from physode.datasets import Trajectories
from physode.simulators.noise_model import checked_noise, observe
from physode.simulators.sampling import Floats, checked_count, generator
from physode.simulators.times import Times, count_points, observation_times

__all__ = ["simulate_periodic"]

_END, _POINTS = 5.0, 100
_MOST_TURNS = 1e12  # whose phases still have three digits


def simulate_periodic(
    *,
    n: int = 1000,
    amplitude: tuple[float, float] = (0.5, 1.5),
    frequency: tuple[float, float] = (0.2, 0.8),
    t: ArrayLike | None = None,
    t_end: float | None = None,
    points: int | None = None,
    times: Times = "random",
    noise: float = 0.05,
    seed: int = 0,
) -> Trajectories:
    r"""Make `n` periodic series.

    .. math::

        x_i(t) = a_i \sin(2 \pi f_i t + \varphi_i)

    with :math:`a_i` and :math:`f_i` uniform between bounds and :math:`\varphi_i` uniform in [0, 2 pi). By default a
    series is observed at 100 random times in (0, 5], during which it turns one to four times. They are toy data of the
    kind that Rubanova, Chen and Duvenaud (2019) begin with; the numbers are our choice.

    Parameters
    ----------
    n
        Number of series.
    amplitude, frequency
        Bounds, low and high, which may be equal; the frequency in turns a unit of time.
    t, t_end, points, times
        As :func:`physode.simulators.simulate_in_box`.
    noise
        Standard deviation of the normal noise on every value.
    seed
        Seed of everything drawn.

    Returns
    -------
    Trajectories
        The column ``value``; ``params`` hold ``amplitude``, ``frequency`` and ``phase``.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    checked_count(n, points=count_points(t, points, _POINTS))
    checked_noise(noise, 1)
    bounds = (_bounds("amplitude", amplitude), _bounds("frequency", frequency), (0.0, 2.0 * math.pi))
    observed, _ = observation_times(t, times=times, t_end=t_end, points=points, default=(_END, _POINTS), n=n, seed=seed)
    turns = bounds[1][1] * float(np.abs(observed).max())
    if not turns <= _MOST_TURNS:
        raise ValueError(
            f"`frequency` {bounds[1][1]:g} makes {turns:.3g} turns until the last time; beyond {_MOST_TURNS:g} "
            "rounding decides the phase: lower it, or shorten the span (`t_end`)"
        )
    low, high = np.array(bounds).T
    drawn = np.stack([generator(seed, "constants", index).uniform(low, high) for index in range(n)])
    rows = np.broadcast_to(observed, (n, observed.shape[-1]))
    clean = np.stack([_values(own, row) for own, row in zip(drawn, rows, strict=True)])
    return observe(
        clean[..., None],
        observed,
        noise=noise,
        seed=seed,
        columns=("value",),
        units=("",),
        params=dict(zip(("amplitude", "frequency", "phase"), drawn.T, strict=True)),
        attrs={"system": "periodic", "method": "closed form", "param_units": {"phase": "rad"}, "failures": []},
    )


def _values(drawn: Floats, t: Floats) -> Floats:
    """Return one series at its own times, so that no other can change its last bits."""
    amplitude, frequency, phase = drawn
    values: Floats = amplitude * np.sin(2.0 * math.pi * frequency * t + phase)
    return values


def _bounds(name: str, bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = map(float, bounds)
    if not (0.0 < low <= high < math.inf):
        raise ValueError(f"`{name}` must be two finite bounds above 0, the lower one first, got {low:g} and {high:g}")
    return low, high
