"""How often 95 % intervals and bands contain the truth, over simulated data sets of two equations of the examples.

Data are drawn about curves of SciPy's from known constants, at the times of the examples' tables. All data sets are
fitted as one batch, each from the truth on; intervals and bands are those that a user gets. At each of fifty times a
band of the mean is held against the true curve, one of new measurements against one more draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from benchmarks.race import Settings
from benchmarks.report import Report, markdown_table
from physode.equations.model_file import read_model
from physode.estimation import Estimate, bands
from physode.estimation.likelihood import Facing
from physode.estimation.scoring import Point, minimise_each
from physode.estimation.search import Problem, prepare
from physode.plotting.style import COLOURS, MUTED, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STUDIES", "Coverage", "Study", "cover", "run"]

Array = NDArray[np.float64]

EXAMPLES = Path(__file__).parents[2] / "examples" / "own_equations"
LEVEL, LEAST, MOST = 0.95, 0.90, 0.99
_TIMES = 50


@dataclass(frozen=True)
class Study:
    """An equation with known constants, and how it is measured.

    Attributes
    ----------
    title
        What is simulated.
    name
        Of the model file and its table in ``examples/own_equations``.
    truth
        The unknowns' values.
    curve
        The observable's true values at some times, (T,) to (T,).
    draw
        Measurements about a curve.
    """

    title: str
    name: str
    truth: Mapping[str, float]
    curve: Callable[[Array], Array]
    draw: Callable[[np.random.Generator, Array], Array]


@dataclass(frozen=True)
class Coverage:
    """Shares of data sets.

    Attributes
    ----------
    study
        What was simulated.
    sets
        How many data sets.
    arrived
        How many of their searches arrived.
    constants
        How often the intervals contain each unknown's true value.
    times
        Of the bands, (T,).
    mean, new
        How often, at each time, the mean's band contains the true curve, and the other band a new measurement, (T,).
    """

    study: Study
    sets: int
    arrived: int
    constants: Mapping[str, float]
    times: Array
    mean: Array
    new: Array


def _swing(times: Array) -> Array:
    path = solve_ivp(
        lambda t, y: [y[1], -2.0 * y[0] - 0.3 * y[1] + np.cos(1.2 * t)],
        (0.0, times[-1]), [1.0, 0.0], t_eval=times, method="DOP853", rtol=1e-10, atol=1e-12,
    )  # fmt: skip
    return np.asarray(path.y[0])


def _epidemic(times: Array) -> Array:
    n = 50_000.0
    path = solve_ivp(
        lambda t, y: [-0.45 * y[0] * y[1] / n, 0.45 * y[0] * y[1] / n - 0.18 * y[1]],
        (0.0, times[-1]), [n - 12.0, 12.0], t_eval=times, method="DOP853", rtol=1e-10, atol=1e-9,
    )  # fmt: skip
    return np.asarray(path.y[1])


_OSCILLATION = {"k": 2.0, "c": 0.3, "A": 1.0, "w": 1.2, "x(0)": 1.0, "v(0)": 0.0}
_INFECTION = {"b": 0.45, "g": 0.18, "I0": 12.0}

STUDIES = (
    Study(
        "a driven oscillator, noise of unknown spread", "swing", _OSCILLATION, _swing,
        lambda rng, curve: rng.normal(curve, 0.02),
    ),
    Study(
        "an epidemic, noise of the declared spread", "epidemic", _INFECTION, _epidemic,
        lambda rng, curve: rng.normal(curve, np.sqrt(1.0 + curve)),
    ),
    Study(
        "an epidemic, counts of Poisson's distribution", "epidemic", _INFECTION, _epidemic,
        lambda rng, curve: rng.poisson(curve).astype(np.float64),
    ),
)  # fmt: skip


def run(settings: Settings) -> Report:
    """Simulate all studies."""
    sets = 40 if settings.quick else 200
    coverages = [cover(study, sets) for study in STUDIES if settings.only in study.title]
    return Report("\n\n".join(map(_section, coverages)), lambda: _figure(coverages))


def cover(study: Study, sets: int, seed: int = 0) -> Coverage:
    """Fit simulated data sets and count what their intervals and bands contain."""
    rng = np.random.default_rng(seed)
    estimation = read_model(EXAMPLES / f"{study.name}.toml").estimation(EXAMPLES / f"{study.name}.csv")
    problem = prepare(estimation)
    measured = estimation.measurements.times
    curve = np.broadcast_to(study.curve(measured), (sets, len(measured)))
    estimates = _estimates(problem, study, study.draw(rng, curve))
    times = np.linspace(measured[0], measured[-1], _TIMES)
    truth = study.curve(times)
    drawn = study.draw(rng, np.broadcast_to(truth, (sets, _TIMES)))
    curves = [bands(estimate, times.tolist()).observables[0] for estimate in estimates]
    return Coverage(
        study=study,
        sets=sets,
        arrived=sum(estimate.converged for estimate in estimates),
        constants={
            name: float(np.mean([_contains(estimate, name, value) for estimate in estimates]))
            for name, value in study.truth.items()
        },
        times=times,
        mean=np.mean([(own.low <= truth) & (truth <= own.high) for own in curves], axis=0),
        new=np.mean(
            [(own.lowest <= values) & (values <= own.highest) for own, values in zip(curves, drawn, strict=True)],
            axis=0,
        ),
    )


def _estimates(problem: Problem, study: Study, values: Array) -> list[Estimate]:
    """Return the estimates from values, (S, n), each as if it had been made alone."""
    scales, estimation = problem.scales, problem.estimation
    truth = torch.tensor([study.truth[unknown.name] for unknown in scales.free], dtype=torch.float64)
    z = scales.scaled(truth).expand(len(values), -1)
    drawn = problem.facing.facing(torch.from_numpy(values))
    minima = minimise_each(partial(_point, problem, drawn), z, scales.low, scales.high)
    estimates = []
    for i, own in enumerate(values):
        measured = replace(estimation, measurements=replace(estimation.measurements, values=own))
        alone = replace(minima, z=minima.z[[i]], loss=minima.loss[[i]], iterations=minima.iterations[i : i + 1],
                        reasons=minima.reasons[i : i + 1])  # fmt: skip
        estimates.append(Estimate(replace(problem, estimation=measured), alone, minima.z[i]))
    return estimates


def _point(problem: Problem, drawn: Facing, z: Tensor, rows: Tensor) -> Point:
    return problem.facing_others(z, drawn.take(rows))


def _contains(estimate: Estimate, name: str, value: float) -> bool:
    constant = estimate[name]
    return constant.low is not None and constant.high is not None and constant.low <= value <= constant.high


def _section(coverage: Coverage) -> str:
    rows = [[name, f"{share:.1%}", "", "", _verdict(share)] for name, share in coverage.constants.items()]
    for label, shares in (("band of the mean", coverage.mean), ("band of new measurements", coverage.new)):
        ends = shares.min(), shares.max()
        rows.append([label, f"{shares.mean():.1%}", *(f"{end:.1%}" for end in ends), _verdict(*ends)])
    header = ("", "contained", "least of all times", "most", f"within {100 * LEAST:.0f} to {100 * MOST:.0f} %")
    title = f"### {coverage.study.title}: {coverage.sets} data sets, {coverage.arrived} searches arrived"
    return f"{title}\n\n{markdown_table(header, rows)}"


def _verdict(*shares: float) -> str:
    return "yes" if all(LEAST <= share <= MOST for share in shares) else "no"


def _figure(coverages: list[Coverage]) -> Figure:
    with styled():
        figure = new_figure(6.4, 2.4 * len(coverages))
        for row, coverage in enumerate(coverages):
            axes = figure.add_subplot(len(coverages), 1, row + 1)
            axes.axhspan(LEAST, MOST, color=MUTED, alpha=0.15, linewidth=0)
            axes.axhline(LEVEL, color=MUTED, linewidth=0.8)
            axes.plot(coverage.times, coverage.mean, color=COLOURS[0], label="band of the mean: the true curve")
            axes.plot(coverage.times, coverage.new, ".", color=COLOURS[1], label="the other band: a new measurement")
            axes.set_ylim(0.85, 1.005)
            axes.set_xlabel("time")
            axes.set_ylabel("share contained")
            axes.set_title(coverage.study.title, fontsize=10)
            axes.legend(loc="lower left", ncols=2, fontsize=8)
        return figure
