"""Trajectories of van der Pol's oscillator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from physode.datasets import Trajectories
from physode.rhs import VanDerPol
from physode.simulators.boxes import simulate_in_box
from physode.simulators.times import Times
from physode.typing import Progress

__all__ = ["simulate_van_der_pol"]


def simulate_van_der_pol(
    *,
    n: int = 1,
    preset: str | None = None,
    mu: ArrayLike | None = None,
    threshold: ArrayLike | None = None,
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
    """Simulate `n` trajectories of :class:`physode.rhs.VanDerPol`.

    Parameters
    ----------
    n
        Number of trajectories.
    preset
        ``"aca"`` (the ACA paper's Eqs. 81-82), ``"classic"`` or ``"relaxation"``: constants, initial state and times,
        each of which a further argument replaces. All `n` trajectories start there and differ in their noise only.
    mu, threshold
        Constants, one number or one a trajectory; by default the preset's, or 1.
    y0
        Initial state of all, (2,), or of each, (n, 2); by default the preset's, or drawn between -3 and 3.
    t, t_end, points, times
        As :func:`physode.simulators.simulate_in_box`.
    noise, seed, method, rtol, atol, max_steps, progress
        As :func:`physode.simulators.simulate`.

    Raises
    ------
    ValueError
        If an argument is out of range or the preset is unknown.
    SolveError
        If not one trajectory reached the end.
    """
    constants = {"mu": mu, "threshold": threshold}
    given: dict[str, Any] = {name: value for name, value in constants.items() if value is not None}
    if preset is None:
        system = VanDerPol(**given)
    else:
        start = VanDerPol.find_preset(preset)
        system = VanDerPol.from_preset(preset, **given)
        y0 = start.y0 if y0 is None else y0
        if t is None:
            t_end = start.t_end if t_end is None else t_end
            points = start.points if points is None else points
    return simulate_in_box(
        system,
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
