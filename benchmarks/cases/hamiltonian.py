"""Motion that conserves: energies over long times, close encounters, a closed orbit.

Kepler's orbit of eccentricity 0.9 for a thousand periods; Burrau's three bodies, masses 3, 4 and 5 at rest on a
Pythagorean triangle, to the end, beside a solution in 40 digits (`python -m benchmarks.burrau 70`); Arenstorf's orbit,
which closes after a period known to 29 digits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import physode as po
from benchmarks.burrau import AT_70
from benchmarks.race import Settings
from benchmarks.report import Report, markdown_table
from physode.rhs import Arenstorf, LogarithmicNBody, NBody, SecondOrder, ThreeBody, pair_distances
from physode.simulators import find_encounters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drift", "arenstorf", "kepler", "pythagorean", "run"]

_ECCENTRICITY = 0.9
_BLOCKS = 50  # of time, in each of which the largest error counts


class Drift(NamedTuple):
    """The relative energy error of one method: the largest of each block of time, by the blocks' middles in periods."""

    name: str
    t: np.ndarray[Any, Any]
    error: np.ndarray[Any, Any]
    steps: int
    calls: int
    seconds: float

    @property
    def growth(self) -> tuple[float, float]:
        """Slope of the error by time, times the span, over its mean: and the standard error of that."""
        x, y = (self.t - self.t.mean()) / (self.t[-1] - self.t[0]), self.error / self.error.mean()
        slope = float((x @ y) / (x @ x))
        rest = y - y.mean() - slope * x
        return slope, math.sqrt(float(rest @ rest) / (len(x) - 2) / float(x @ x))


def run(settings: Settings) -> Report:
    """Solve the three problems."""
    periods = 50 if settings.quick else 1000
    drifts = kepler(periods)
    end = 17.0 if settings.quick else 70.0
    parts = [
        "Energy errors are relative. Growth is the slope of the error (the largest in each of "
        f"{_BLOCKS} blocks of time) by time, times the span, over the mean error: 0 where it is bounded.",
        f"### Kepler, e = {_ECCENTRICITY}, {periods} periods",
        _drift_table(drifts),
        f"### Three bodies of masses 3, 4 and 5, to t = {end:g}",
        pythagorean(end),
        "### Arenstorf's orbit, one period of 17.0652",
        arenstorf(),
    ]
    return Report("\n\n".join(parts), lambda: _draw(drifts))


def kepler(periods: int) -> list[Drift]:
    """Follow the energy of a thin orbit."""
    plain = SecondOrder(lambda t, q: -q / q.square().sum() ** 1.5)
    speed = math.sqrt((1 + _ECCENTRICITY) / (1 - _ECCENTRICITY))
    y0 = torch.tensor([1 - _ECCENTRICITY, 0.0, 0.0, speed], dtype=torch.float64)
    span = 2 * math.pi * periods
    energy: Callable[..., Tensor] = lambda t, y: y[2:].square().sum() / 2 - 1 / y[:2].square().sum().sqrt()  # noqa: E731
    found = [
        _followed(f"{method}, {steps} steps a period", plain, y0, span, energy, method=method,
                  step_size=2 * math.pi / steps, max_steps=10**7)
        for method, steps in (("leapfrog", 2000), ("yoshida4", 1000))
    ]  # fmt: skip
    found.append(_in_own_time(y0, span))
    for method, tolerance in (("dopri5", 1e-8), ("dopri8", 1e-10)):
        options = {"method": method, "rtol": tolerance, "atol": tolerance, "max_steps": 10**7}
        found.append(_followed(f"{method}, tolerance {tolerance:g}", plain, y0, span, energy, **options))
    return found


def _in_own_time(y0: Tensor, span: float) -> Drift:
    """Leapfrog of the logarithmic equations, 60 steps a period; a light body and a heavy one at the centre of mass."""
    light = 1e-6
    bodies = NBody([1.0 - light, light], G=1.0)
    whole = torch.zeros(12, dtype=torch.float64)
    for body, share in ((0, -light), (1, 1.0 - light)):
        whole[3 * body : 3 * body + 2] = share * y0[:2]
        whole[6 + 3 * body : 8 + 3 * body] = share * y0[2:]
    system = LogarithmicNBody(bodies)
    start = system.start(whole, torch.zeros((), dtype=torch.float64))
    action = light * (1.0 - light)  # of U dt over a period, by 2 pi
    return _followed(
        "leapfrog in its own time, 60 steps a period", system, start, span * action,
        lambda t, y: bodies.invariants(system.split(y)[0])["energy"], method="leapfrog",
        step_size=2 * math.pi * action / 60, max_steps=10**7,
    )  # fmt: skip


def _followed(
    name: str, f: Callable[..., Any], y0: Tensor, span: float, energy: Callable[..., Tensor], **options: Any
) -> Drift:
    before, steps, calls, largest = time.perf_counter(), 0, 0, []
    first = energy(torch.zeros(()), y0)
    for _ in range(_BLOCKS):  # one solve each, so that no more is kept
        with torch.no_grad():
            sol = po.solve(f, y0, [0.0, span / _BLOCKS], record={"energy": energy}, **options)
        y0 = sol.y[-1]
        largest.append(float((sol.recorded["energy"].values / first - 1).abs().max()))
        steps, calls = steps + int(sol.stats.accepted), calls + sol.stats.rhs_forward
    periods = (np.arange(_BLOCKS) + 0.5) / _BLOCKS * round(_periods(f, span))
    return Drift(name, periods, np.array(largest), steps, calls, time.perf_counter() - before)


def _periods(f: Callable[..., Any], span: float) -> float:
    """Return how many periods a span is, in time or in the logarithmic equations' own."""
    if not isinstance(f, LogarithmicNBody):
        return span / (2 * math.pi)
    masses = f.bodies.masses
    return span / (2 * math.pi * float(masses[0] * masses[1]))


def _drift_table(drifts: list[Drift]) -> str:
    rows = [
        [
            drift.name,
            f"{drift.error[0]:.1e}",
            f"{drift.error[-1]:.1e}",
            "{:+.3f} +- {:.3f}".format(*drift.growth),
            str(drift.steps),
            str(drift.calls),
            f"{drift.seconds:.0f}",
        ]
        for drift in drifts
    ]
    return markdown_table(["", "error at first", "at last", "growth", "steps", "forces", "seconds"], rows)


def pythagorean(end: float) -> str:
    """Solve Burrau's problem in physical time and by the regularised route."""
    bodies, preset = ThreeBody.from_preset("pythagorean"), ThreeBody.find_preset("pythagorean")
    y0, times = torch.tensor(preset.y0, dtype=torch.float64), torch.linspace(0.0, end, 101, dtype=torch.float64)
    rows, sol = [], None
    for name, tolerance in (("in time", 1e-10), ("in time", 1e-13), ("regularised", 1e-10), ("regularised", 1e-13)):
        before, options = time.perf_counter(), {"rtol": tolerance, "atol": tolerance / 100}
        with torch.no_grad():
            if name == "in time":
                sol = po.solve(bodies, y0, times, method="dopri8", **options)
            else:
                sol = po.solve_regularised(bodies, y0, times, **options)
        seconds = time.perf_counter() - before
        energy = bodies.invariants(sol.y)["energy"]
        error, steps = float((energy / energy[0] - 1).abs().max()), int(sol.stats.accepted.sum())
        apart = ", ".join(f"{float(d):.3f}" for d in pair_distances(sol.y[-1]))
        away = "-" if end != 70.0 else f"{_away(sol.y[-1]):.1e}"
        rows.append([f"dopri8 {name}, {tolerance:g}", f"{error:.1e}", away, str(steps), apart, f"{seconds:.0f}"])
    assert sol is not None
    met = sorted(find_encounters(sol, below=0.05), key=lambda each: each.distance)[:5]
    near = [[f"{each.bodies[0]} and {each.bodies[1]}", f"{each.time:.6f}", f"{each.distance:.6e}"] for each in met]
    table = markdown_table(
        ["", "energy error", "error of positions", "steps", "distances at the end: 12, 13, 23", "seconds"], rows
    )
    return f"{table}\n\nThe nearest encounters:\n\n{markdown_table(['bodies', 'time', 'distance'], near)}"


def _away(end: Tensor) -> float:
    """Return the largest error of a coordinate at t = 70."""
    return float((end[:9].reshape(3, 3)[:, :2].flatten() - end.new_tensor(AT_70)).abs().max())


def arenstorf() -> str:
    """Return how far the orbit is from closing, by tolerance."""
    orbit, rows = Arenstorf.find_preset("orbit"), []
    y0 = torch.tensor(orbit.y0, dtype=torch.float64)
    for method in ("dopri5", "dopri8"):
        for tolerance in (1e-6, 1e-8, 1e-10, 1e-12):
            with torch.no_grad():
                sol = po.solve(Arenstorf(), y0, [0.0, orbit.t_end], method=method, rtol=tolerance, atol=tolerance)
            gap = float((sol.y[-1] - y0)[:2].norm())
            rows.append([f"{method}, {tolerance:g}", f"{gap:.1e}", str(int(sol.stats.accepted))])
    return markdown_table(["", "gap", "steps"], rows)


def _draw(drifts: list[Drift]) -> Figure:
    from physode.plotting.style import COLOURS, new_figure

    figure = new_figure(7.5, 4.6)
    axes = figure.subplots()
    for i, drift in enumerate(drifts):
        axes.plot(drift.t, drift.error, color=COLOURS[i], label=drift.name)
    axes.set(yscale="log", xlabel="periods", ylabel="relative energy error", title=f"Kepler, e = {_ECCENTRICITY}")
    axes.margins(x=0)
    figure.legend(fontsize="small", ncols=2, loc="outside lower center")
    return figure
