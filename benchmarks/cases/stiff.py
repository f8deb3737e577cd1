"""Stiff problems: work against precision, beside SciPy's Radau and BDF and diffrax's Kvaerno5, in double precision.

The error is the largest of |y - reference| / (|reference| + atol / rtol) at the end, against published solutions, in
multiples of rtol. `over` compares accepted steps at the error that ours has reached, on the other's curve,
straight between its points on logarithmic axes. Times are of one run after a first; SciPy evaluates numpy, diffrax is
compiled. Gradients of the sum of y / reference, in a factor of the right-hand side and one of the initial state, on
the accepted steps, against central differences on the same steps; up to a time before the first sudden change (steps
for one solution do not suit another whose change comes elsewhere) and before rounding would rule the differences.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import physode as po
from benchmarks.figures import Curves, curves
from benchmarks.race import Settings, first_line
from benchmarks.report import Report, markdown_table
from benchmarks.stiff_problems import PROBLEMS, Problem, start_of

__all__ = ["run"]

OURS = ("rodas5p", "radau5", "kencarp5")


@dataclass(frozen=True)
class Point:
    """One solve: its tolerance, error in tolerances, steps, rejections, evaluations and seconds."""

    rtol: float
    error: float
    steps: int
    rejected: int
    evaluations: int | None
    seconds: float


def run(settings: Settings) -> Report:
    """Solve every problem with every solver and tolerance."""
    tolerances = [1e-4, 1e-6] if settings.quick else [1e-4, 1e-6, 1e-8]
    sections, panels = [(__doc__ or "").strip()], []
    for problem in PROBLEMS:
        if settings.only not in problem.title:
            continue
        settings.say(problem.title)
        found, notes = _all(problem, tolerances)
        sections += [f"### {problem.title}", _table(found), *notes, _gradients(problem)]
        panels.append(
            Curves(
                problem.title,
                "relative error",
                "accepted steps",
                {name: [(p.error * p.rtol, float(p.steps)) for p in points] for name, points in found.items()},
            )
        )
    return Report("\n\n".join(sections), lambda: curves(panels))


def _all(problem: Problem, tolerances: Sequence[float]) -> tuple[dict[str, list[Point]], list[str]]:
    found: dict[str, list[Point]] = {}
    notes = []
    for name, solver in _solvers(problem).items():
        try:
            found[name] = [_measured(solver, problem, rtol) for rtol in tolerances]
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            notes.append(f"- {name}: not measured, {first_line(error)}")
    return found, notes


Solver = Callable[[float], tuple[Any, int, int, int | None]]
"""From a relative tolerance to the end state, accepted steps, rejections and evaluations."""


def _solvers(problem: Problem) -> dict[str, Solver]:
    ours = {f"physode {name}": _physode(problem, name) for name in OURS}
    return {**ours, "SciPy Radau": _scipy(problem, "Radau"), "SciPy BDF": _scipy(problem, "BDF"),
            "diffrax Kvaerno5": _diffrax(problem)}  # fmt: skip


def _physode(problem: Problem, method: str) -> Solver:
    def solve(rtol: float) -> tuple[Any, int, int, int | None]:
        with torch.no_grad():
            found = po.solve(
                problem.system, start_of(problem), [0.0, problem.t_end], method=method, rtol=rtol,
                atol=rtol * problem.atol,
            )  # fmt: skip
        stats = found.stats
        return found.y[-1].numpy(), int(stats.accepted), int(stats.rejected), stats.rhs_forward

    return solve


def _scipy(problem: Problem, method: str) -> Solver:
    from scipy.integrate import solve_ivp

    def solve(rtol: float) -> tuple[Any, int, int, int | None]:
        found = solve_ivp(
            lambda t, y: problem.function(np, t, y), (0.0, problem.t_end), np.array(problem.y0, dtype=float),
            method=method, rtol=rtol, atol=rtol * problem.atol,
        )  # fmt: skip
        return found.y[:, -1], len(found.t) - 1, 0, found.nfev

    return solve


def _diffrax(problem: Problem) -> Solver:
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    term = diffrax.ODETerm(lambda t, y, _: problem.function(jnp, t, y))

    @jax.jit
    def compiled(rtol: Any) -> Any:
        controller = diffrax.PIDController(rtol=rtol, atol=rtol * problem.atol)
        return diffrax.diffeqsolve(
            term, diffrax.Kvaerno5(), 0.0, problem.t_end, None, jnp.array(problem.y0, dtype=float),
            stepsize_controller=controller, max_steps=200_000, saveat=diffrax.SaveAt(t1=True), throw=False,
        )  # fmt: skip

    def solve(rtol: float) -> tuple[Any, int, int, int | None]:
        found = compiled(rtol)
        counts = {key: int(found.stats[key]) for key in ("num_accepted_steps", "num_rejected_steps")}
        return np.asarray(found.ys)[-1], counts["num_accepted_steps"], counts["num_rejected_steps"], None

    return solve


def _measured(solver: Solver, problem: Problem, rtol: float) -> Point:
    before = time.perf_counter()
    end, steps, rejected, evaluations = solver(rtol)
    first = time.perf_counter() - before
    if first < 1.0:
        before = time.perf_counter()
        solver(rtol)
        first = time.perf_counter() - before
    right = np.array(problem.reference)
    error = float(np.max(np.abs(end - right) / (np.abs(right) + problem.atol))) / rtol
    return Point(rtol, error, steps, rejected, evaluations, first)


def _table(found: dict[str, list[Point]]) -> str:
    header = ["", "rtol", "error / rtol", "steps", "rejected", "evaluations", "ms", "over Radau", "over BDF"]
    rows = []
    for name, points in found.items():
        for point in points:
            ratios = ["-", "-"]
            if name.startswith("physode"):
                ratios = [_over(point, found.get(f"SciPy {other}", [])) for other in ("Radau", "BDF")]
            evaluations = "-" if point.evaluations is None else str(point.evaluations)
            rejected = "-" if name.startswith("SciPy") else str(point.rejected)
            rows.append(
                [name, f"{point.rtol:.0e}", f"{point.error:.2g}", str(point.steps), rejected, evaluations,
                 f"{point.seconds * 1e3:.0f}", *ratios]
            )  # fmt: skip
    return markdown_table(header, rows)


def _over(point: Point, others: Sequence[Point]) -> str:
    """Return the steps over those that the other solver takes for the same error; `-` outside of its errors."""
    curve = sorted((math.log(p.error * p.rtol), math.log(p.steps)) for p in others)
    place = math.log(point.error * point.rtol)
    if not curve or not curve[0][0] <= place <= curve[-1][0]:
        return "-"
    errors, steps = zip(*curve, strict=True)
    return f"{point.steps / math.exp(float(np.interp(place, errors, steps))):.2f}"


def _gradients(problem: Problem) -> str:
    """Return a line on gradients against central differences, on the same steps."""
    found = (f"{off:.1e} on {count} steps of {method}" for method in OURS for off, count in [_off(problem, method)])
    return f"Gradients to t = {problem.smooth_end:g} are off from differences by {', '.join(found)}."


def _off(problem: Problem, method: str) -> tuple[float, int]:
    """Return the error of a method's gradients, and the number of steps."""
    y0, weights = start_of(problem), 1 / torch.tensor(problem.reference, dtype=torch.float64)
    with torch.no_grad():
        steps = po.solve(
            problem.system, y0, [0.0, problem.smooth_end], method=method, rtol=1e-4, atol=1e-4 * problem.atol
        ).step_times  # fmt: skip

    def value(factors: torch.Tensor) -> torch.Tensor:
        f = lambda t, y, p: p * problem.system(t, y)  # noqa: E731
        end = po.solve(
            f, y0 * factors[1], [0.0, problem.smooth_end], args=(factors[0],), method=method, grid=steps
        ).y[-1]  # fmt: skip
        return (end * weights).sum() / len(weights)

    factors = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(value(factors), factors)
    differences = []
    with torch.no_grad():
        for i in range(2):
            e = torch.zeros(2, dtype=torch.float64)
            e[i] = 1e-5
            one, half = ((value(1 + e * s) - value(1 - e * s)) / (2e-5 * s) for s in (1.0, 0.5))
            differences.append((4 * half - one) / 3)
    off = (exact - torch.stack(differences)).abs() / torch.maximum(exact.abs(), torch.ones(2, dtype=torch.float64))
    return float(off.max()), len(steps) - 1
