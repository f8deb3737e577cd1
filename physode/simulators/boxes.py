"""Systems whose initial states are drawn from a box, one call for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from numpy.typing import ArrayLike

from physode.datasets import Trajectories
from physode.rhs import System
from physode.simulators.arguments import check_constants, checked_count, repeated
from physode.simulators.core import simulate
from physode.simulators.sampling import sample_box
from physode.simulators.times import Times, count_points, observation_times
from physode.typing import Progress

__all__ = ["BOXES", "Box", "simulate_in_box"]


@dataclass(frozen=True)
class Box:
    """Where initial states are drawn from, and how long a system is watched unless told otherwise."""

    bounds: tuple[tuple[float, float], ...]
    t_end: float
    points: int


BOXES: Mapping[str, Box] = MappingProxyType(
    {
        "van_der_pol": Box(((-3.0, 3.0), (-3.0, 3.0)), t_end=20.0, points=1000),
        "lotka_volterra": Box(((0.5, 5.0), (0.5, 5.0)), t_end=10.0, points=500),
        "pendulum": Box(((-2.5, 2.5), (-1.0, 1.0)), t_end=10.0, points=500),
        "harmonic_oscillator": Box(((-1.0, 1.0), (-1.0, 1.0)), t_end=20.0, points=500),
        "lorenz": Box(((-15.0, 15.0), (-15.0, 15.0), (10.0, 40.0)), t_end=10.0, points=1000),
    }
)
"""The boxes by system."""


def simulate_in_box(
    system: System,
    *,
    n: int = 1,
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
    """Simulate `n` trajectories of a system, from states drawn uniformly in its box or given.

    Parameters
    ----------
    system
        One of the systems in ``BOXES``.
    n
        Number of trajectories.
    y0
        Initial state of all, (D,), or of each, (n, D); drawn if None.
    t
        Output times, (T,), or each trajectory's own, (n, T); the first is that of the initial state. Or give `t_end`
        and `points` for equally spaced ones from 0.
    times
        ``"random"`` for each trajectory's own `points` times in place of the grid: uniform in (0, `t_end`], sorted. The
        initial state, at 0, is then not among the outputs.
    noise, seed, method, rtol, atol, max_steps, progress
        As :func:`physode.simulators.simulate`.

    Raises
    ------
    ValueError
        If an argument is out of range, or the system has no box.
    SolveError
        If not one trajectory reached the end.
    """
    if system.name not in BOXES:
        raise ValueError(f"`system` must be one of: {', '.join(BOXES)}; got {system.name}; use `simulate` with `y0`")
    box = BOXES[system.name]
    checked_count(n, points=count_points(t, points, box.points), columns=len(system.columns))
    check_constants(system, n)
    observed, start = observation_times(
        t, times=times, t_end=t_end, points=points, default=(box.t_end, box.points), n=n, seed=seed
    )
    drawn = sample_box(box.bounds, n=n, seed=seed) if y0 is None else y0
    states = repeated(drawn, n, components=len(system.columns))
    return simulate(
        system,
        states,
        observed,
        start=start,
        noise=noise,
        seed=seed,
        method=method,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        progress=progress,
    )
