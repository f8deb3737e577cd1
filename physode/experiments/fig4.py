r"""Figs. 4 and 9 of the ACA paper: van der Pol's equation (Eqs. 81-82), forward and in reverse.

A trajectory that settles on a limit cycle forgets where it came from: integrated back from :math:`y(T)`, the cycle
repels what it attracted, so that the forward solve's errors grow by the inverse of the contraction. The adjoint method
takes its gradient along that reversed trajectory; ACA takes it along the recorded one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.experiments.comparison_plot import LABELS, colour_of
from physode.experiments.report import Deviation, Finding, Result, Row, Series
from physode.experiments.study import Study, StudyConfig
from physode.plotting.style import new_figure, styled
from physode.rhs import VanDerPol
from physode.solution import Solution
from physode.solve import solve
from physode.solvers.step_control import I
from physode.typing import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METHODS = ("aca", "adjoint", "naive")


@dataclass(frozen=True)
class Config(StudyConfig):
    """The experiment's constants.

    ``method``, ``rtol``, ``atol``, the largest error over components and steps of at most a tenth of the span are those
    that MATLAB's ode45 has by default. The last of ``spans`` is drawn. Nothing here is random.
    """

    study: ClassVar[str] = "fig4"

    spans: tuple[float, ...] = (2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0, 22.5, 25.0)
    method: str = "dopri5"
    rtol: float = 1e-3
    atol: float = 1e-6
    points: int = 1001
    seed: int = 0


def run(config: Config, progress: Progress | None = None) -> Result:
    """Solve forward and back over every span; measure what is missed at t = 0 and what that does to gradients."""
    system = VanDerPol.from_preset("aca")
    y0 = torch.tensor(VanDerPol.find_preset("aca").y0, dtype=torch.float64)
    rows = []
    for i, span in enumerate(config.spans):
        row, series = _measure(config, system, y0, span)
        rows.append(row)
        if progress is not None:
            progress((i + 1) / len(config.spans))
    return config.result(
        "Van der Pol, forward and in reverse (ACA paper, Figs. 4 and 9)",
        rows,
        _findings(rows[-1]),
        series={name: value.numpy() for name, value in series.items()},
    )


def _measure(config: Config, system: VanDerPol, y0: Tensor, span: float) -> tuple[dict[str, Any], dict[str, Tensor]]:
    times = torch.linspace(0.0, span, config.points, dtype=torch.float64)
    exact = solve(system, y0, times, method="dopri8", rtol=1e-12, atol=1e-13).y
    forward = _like_ode45(config, system, y0, times)
    reverse = _like_ode45(config, system, forward.y[-1], times.flip(0))
    checkpoints = forward(forward.step_times)
    row = {
        "T": span,
        "forward error at T": _distance(forward.y[-1], exact[-1]),
        "reverse error at 0": _distance(reverse.y[-1], y0),
        "ACA error at 0": _distance(checkpoints[0], y0),
        "ACA replay error": _replay_error(config, system, forward.step_times, checkpoints),
        **_gradient_errors(config, system, y0, span),
    }
    series = {
        "t": times,
        "forward": forward.y,
        "reverse": reverse.y.flip(0),
        "t_checkpoints": forward.step_times,
        "checkpoints": checkpoints,
    }
    return row, series


def _like_ode45(config: Config, system: VanDerPol, y0: Tensor, times: Tensor, gradient: str = "aca") -> Solution:
    return solve(
        system,
        y0,
        times,
        method=config.method,
        rtol=config.rtol,
        atol=config.atol,
        norm=lambda x: x.abs().max(),
        controller=I(),
        max_step=float((times[-1] - times[0]).abs()) / 10.0,
        gradient=gradient,
        dense=True,
    )


def _replay_error(config: Config, system: VanDerPol, times: Tensor, checkpoints: Tensor) -> float:
    """Take every step again from its checkpoint, as ACA's backward pass does; return the largest miss of the next."""
    missed = 0.0
    for i in range(len(times) - 1):
        ends = times[i : i + 2]
        again = solve(system, checkpoints[i], ends, method=config.method, grid=ends).y[-1]
        missed = max(missed, _distance(again, checkpoints[i + 1]))
    return missed


def _gradient_errors(config: Config, system: VanDerPol, y0: Tensor, span: float) -> dict[str, float]:
    """Relative errors of :math:`d y_1(T) / d y(0)` at the configured tolerance; infinite where a reverse solve fails.

    In reverse time what starts outside the limit cycle reaches infinity in finite time: that the reverse solve then
    finds no steps is no fault of the solver.
    """
    ends = torch.tensor([0.0, span], dtype=torch.float64)
    start = y0.clone().requires_grad_()
    exact = _gradient(solve(system, start, ends, method="dopri8", rtol=1e-12, atol=1e-13).y, start)
    errors = {}
    for method in _METHODS:
        try:
            gradient = "naive-steps" if method == "naive" else method  # the paper's differentiates step sizes
            found = _gradient(_like_ode45(config, system, start, ends, gradient).y, start)
        except SolveError:
            found = torch.full_like(exact, torch.inf)
        errors[f"gradient error, {method}"] = _distance(found, exact) / float(exact.norm())
    return errors


def _gradient(y: Tensor, start: Tensor) -> Tensor:
    return torch.autograd.grad(y[-1, 0], start)[0]


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm())


def _findings(last: Row) -> list[Finding]:
    forward, reverse = last["forward error at T"], last["reverse error at 0"]
    aca, adjoint = last["gradient error, aca"], last["gradient error, adjoint"]
    return [
        Finding(
            "the reverse-time trajectory does not meet the forward one",
            f"from y({last['T']:g}), itself within {forward:.1e}, the reverse solve misses y(0) by {reverse:.2g}",
            reverse > 10 * forward,
        ),
        Finding(
            "ACA's reverse trajectory is the forward one",
            f"its checkpoints miss y(0) by {last['ACA error at 0']:g}; "
            f"replayed steps meet the next checkpoint within {last['ACA replay error']:.0e}",
            last["ACA error at 0"] == 0.0 and last["ACA replay error"] < 1e-12,
        ),
        Finding(
            "the mismatch causes errors in the adjoint method's gradients",
            f"relative error of dy1(T)/dy(0): adjoint {adjoint:.2g}, ACA {aca:.2g}",
            adjoint > aca,
        ),
    ]


def draw(result: Result) -> Figure:
    """Draw both trajectories over time and in the phase plane, and errors against the span."""
    with styled():
        figure = new_figure(13.0, 4.2)
        left, middle, right = figure.subplots(1, 3)
        _draw_over_time(left, result.series)
        _draw_phase_plane(middle, result.series)
        _draw_errors(right, result.rows)
        return figure


def _draw_over_time(axes: Any, data: Series) -> None:
    axes.plot(data["t"], data["forward"][:, 0], color=colour_of("forward"), label="forward")
    axes.plot(data["t"], data["reverse"][:, 0], "--", color=colour_of("reverse"), label="reverse, from y(T)")
    axes.plot(
        data["t_checkpoints"], data["checkpoints"][:, 0], "o", ms=3.5, color=colour_of("aca"), label="ACA's checkpoints"
    )
    axes.set(xlabel="t", ylabel="$y_1$", title="Over time", ylim=(-1.3, 2.6))
    axes.legend(loc="upper right")


def _draw_phase_plane(axes: Any, data: Series) -> None:
    axes.plot(*data["forward"].T, color=colour_of("forward"))
    axes.plot(*data["reverse"].T, "--", color=colour_of("reverse"))
    axes.plot(*data["checkpoints"].T, "o", ms=3.5, color=colour_of("aca"))
    for point, marker, text, offset in (
        (data["forward"][0], "*", "y(0)", (4, 12)),
        (data["reverse"][0], "X", "the reverse\nsolve ends here", (-12, -12)),
    ):
        color = "black" if marker == "*" else colour_of("reverse")
        axes.plot(*point, marker, ms=11, color=color, zorder=5)
        axes.annotate(text, point, xytext=offset, textcoords="offset points", color=color, ha="right")
    axes.set(xlabel="$y_1$", ylabel="$y_2$", title="Phase plane")


def _draw_errors(axes: Any, rows: Sequence[Row]) -> None:
    spans = [row["T"] for row in rows]
    for name, style, column, label in (
        ("reverse", "s--", "reverse error at 0", "reverse solve, |error of y(0)|"),
        ("forward", "s-", "forward error at T", "forward solve, |error of y(T)|"),
    ):
        axes.semilogy(spans, [row[column] for row in rows], style, ms=4, color=colour_of(name), label=label)
    for method in _METHODS:
        values = [row[f"gradient error, {method}"] for row in rows]
        color = colour_of(method)
        axes.semilogy(spans, values, "o-", ms=4, color=color, label=f"{LABELS[method]}, gradient (relative)")
        failed = [span for span, value in zip(spans, values, strict=True) if not math.isfinite(value)]
        axes.plot(failed, [0.97] * len(failed), "x", color=color, transform=axes.get_xaxis_transform())
    if any(not math.isfinite(row["gradient error, adjoint"]) for row in rows):
        axes.plot([], [], "x", color=colour_of("adjoint"), label="adjoint: its reverse solve diverges")
    axes.set(xlabel="span T", ylabel="error", title="Errors against the span")
    axes.legend(fontsize="x-small", loc="lower right", frameon=True)


STUDIES = {
    "fig4": Study(
        Config,
        draw,
        run=run,
        deviations=(
            Deviation(
                "Figs. 4 and 9",
                "MATLAB's ode45 with its default settings; the end T is not given",
                "dopri5, which is ode45's pair, with ode45's tolerances, error norm and largest step, to several T",
                "MATLAB is no part of this",
            ),
        ),
    )
}
