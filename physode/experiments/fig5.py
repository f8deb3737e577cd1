r"""Fig. 5 of the ACA paper: an image sent through :math:`dy/dt = W * y` and back, :math:`W` a random 3x3 kernel.

The patterns that the equation damps fastest, forward, grow fastest in reverse, and with them whatever error is left in
them at T. As the equation is linear, truncation errors only scale each pattern by nearly 1; it is the rounding of the
other, large patterns that falls on the damped ones and in the end buries the image. Tighter tolerances do not help;
single precision loses the image sooner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from physode.experiments.comparison_plot import colour_of
from physode.experiments.report import Deviation, Finding, Result, Row
from physode.experiments.study import Study, StudyConfig
from physode.plotting.style import MUTED, new_figure, styled
from physode.solution import Solution
from physode.solve import solve
from physode.solvers.step_control import I
from physode.typing import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Config(StudyConfig):
    """The experiment's constants.

    ``span`` is the one whose images are drawn, for the first of ``variants`` (dtype and relative tolerance);
    ``spans`` are those of the error curves. The absolute tolerance is a thousandth of the relative one and the largest
    pixel's error counts, as in MATLAB's ode45, whose defaults are 1e-3 and 1e-6. The kernel is drawn from a standard
    normal distribution with ``seed``.
    """

    study: ClassVar[str] = "fig5"

    size: int = 64
    span: float = 9.0
    spans: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)
    variants: tuple[tuple[str, float], ...] = (("float64", 1e-3), ("float64", 1e-6), ("float32", 1e-3))
    method: str = "dopri5"
    seed: int = 0


class Convolution(nn.Module):
    """The right-hand side: a convolution with one fixed kernel, zeros outside the image."""

    kernel: Tensor

    def __init__(self, *, seed: int, size: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        kernel = torch.randn(1, 1, size, size, generator=generator, dtype=torch.float64)
        self.register_buffer("kernel", kernel)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the convolution of the image ``y``, (height, width)."""
        return nn.functional.conv2d(y[None, None], self.kernel, padding="same")[0, 0]


def galaxy(size: int) -> Tensor:
    """Draw a two-armed spiral galaxy, inclined, with bulge and disk: (size, size), brightest pixel 1."""
    axis = torch.linspace(-1.0, 1.0, size, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    major, minor = 0.8 * x + 0.6 * y, (0.8 * y - 0.6 * x) / 0.6
    radius, angle = torch.hypot(major, minor), torch.atan2(minor, major)
    arms = torch.cos(angle - 4.5 * torch.log(radius + 0.05)).square()
    disk = torch.exp(-radius / 0.35) * (0.25 + 0.75 * arms)
    image = disk + 0.9 * torch.exp(-((radius / 0.12) ** 2))
    return image / image.max()


def run(config: Config, progress: Progress | None = None) -> Result:
    """Send the image to T and back for every span, precision and tolerance."""
    rows = []
    cases = [(variant, span) for variant in config.variants for span in config.spans]
    for done, (variant, span) in enumerate(cases, start=1):
        rows.append(_measure(config, variant, span)[0])
        if progress is not None:
            progress(done / (len(cases) + 1))
    shown, images = _measure(config, config.variants[0], config.span)
    return config.result(
        "An image through a convolution and back (ACA paper, Fig. 5)",
        rows,
        _findings(shown, rows),
        series={name: value.numpy() for name, value in images.items()},
    )


def _measure(config: Config, variant: tuple[str, float], span: float) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return relative errors of the state at T and of both reconstructions of the input, and the images."""
    precision, rtol = variant
    rhs, image = Convolution(seed=config.seed), galaxy(config.size)
    exact = _exact(rhs, image, span)
    rhs, start = rhs.to(getattr(torch, precision)), image.to(getattr(torch, precision))
    forward = _like_ode45(config, rhs, start, [0.0, span], rtol)
    reverse = _like_ode45(config, rhs, forward.y[-1], [span, 0.0], rtol)
    recorded = forward.y[0]  # the first checkpoint, as the record has it
    row = {
        "precision": precision,
        "rtol": rtol,
        "T": span,
        "steps": int(forward.stats.accepted),
        "growth of the image": _norm(forward.y[-1]) / _norm(image),
        "forward error": _error(forward.y[-1], exact),
        "adjoint reconstruction error": _error(reverse.y[-1], start),
        "ACA reconstruction error": _error(recorded, start),
    }
    return row, {"input": image, "state at T": forward.y[-1], "adjoint": reverse.y[-1], "aca": recorded}


def _like_ode45(config: Config, rhs: Convolution, y0: Tensor, times: list[float], rtol: float) -> Solution:
    return solve(
        rhs,
        y0,
        times,
        method=config.method,
        rtol=rtol,
        atol=1e-3 * rtol,
        norm=lambda x: x.abs().max(),
        controller=I(),
        max_step=abs(times[1] - times[0]) / 10.0,
    )


def _exact(rhs: Convolution, image: Tensor, span: float) -> Tensor:
    """Return y(T) by the Taylor series of the exponential, over pieces short enough for it to converge at once."""
    pieces = max(1, int(span * float(rhs.kernel.abs().sum())) + 1)
    for _ in range(pieces):
        term = total = image
        for n in range(1, 25):
            term = rhs(term, term) * (span / pieces / n)
            total = total + term
        image = total
    return image


def _error(found: Tensor, true: Tensor) -> float:
    return _norm(found.double() - true.double()) / _norm(true)


def _norm(image: Tensor) -> float:
    return float(image.double().norm())


def _findings(shown: Row, rows: Sequence[Row]) -> Iterator[Finding]:
    back, forth = shown["adjoint reconstruction error"], shown["forward error"]
    yield Finding(
        "the image integrated back in time differs from the input",
        f"relative error {back:.2g} from T = {shown['T']:g}, though y(T) is right within {forth:.1e}",
        back > 10 * forth,
    )
    yield Finding(
        "ACA recovers the input",
        f"its record begins with the input: over {len(rows)} solves the largest error is "
        f"{max(row['ACA reconstruction error'] for row in rows):g}, by construction",
        all(row["ACA reconstruction error"] == 0.0 for row in rows),
    )
    errors = {row["rtol"]: row["adjoint reconstruction error"] for row in rows if _alike(row, shown)}
    if len(errors) > 1:
        loose, tight = max(errors), min(errors)
        yield Finding(
            "the mismatch comes from the solver's truncation error",
            f"at T = {shown['T']:g} it is {errors[loose]:.2g} with rtol = {loose:g} and {errors[tight]:.2g} with "
            f"rtol = {tight:g}: it comes from {'truncation' if errors[tight] < 0.1 * errors[loose] else 'rounding'}",
            errors[tight] < 0.1 * errors[loose],
        )


def _alike(row: Row, shown: Row) -> bool:
    return bool(row["T"] == shown["T"] and row["precision"] == shown["precision"])


def draw(result: Result) -> Figure:
    """Draw the input, y(T), both reconstructions, and the reconstruction error against T."""
    from matplotlib.colors import PowerNorm

    with styled():
        figure = new_figure(15.0, 3.4)
        axes = figure.subplots(1, 5, width_ratios=[1, 1, 1, 1, 1.5])
        titles = {
            "input": "Input",
            "state at T": f"y(T), T = {result.config['span']:g}",
            "adjoint": "Adjoint: integrated back",
            "aca": "ACA: its first checkpoint",
        }
        largest = float(abs(result.series["state at T"]).max())
        for panel, (name, title) in zip(axes, titles.items(), strict=False):
            if name == "state at T":
                panel.imshow(result.series[name], cmap="RdBu_r", vmin=-largest, vmax=largest)
            else:
                brightness = PowerNorm(0.5, vmin=0.0, vmax=float(result.series["input"].max()), clip=True)
                panel.imshow(result.series[name], cmap="gray", norm=brightness)
            panel.set(title=title, xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
        _draw_errors(axes[-1], result)
        return figure


def _draw_errors(axes: Any, result: Result) -> None:
    for style, (precision, rtol) in zip(("-", "--", ":"), result.config["variants"], strict=False):
        rows = [row for row in result.rows if (row["precision"], row["rtol"]) == (precision, rtol)]
        for name, key in (("adjoint", "adjoint reconstruction error"), ("forward", "forward error")):
            axes.semilogy([row["T"] for row in rows], [row[key] for row in rows], style, color=colour_of(name))
        axes.plot([], [], style, color=MUTED, label=f"{precision}, rtol {rtol:g}")
    axes.plot([], [], color=colour_of("adjoint"), label="integrated back: the input")
    axes.plot([], [], color=colour_of("forward"), label="forward: y(T)")
    axes.set(xlabel="T", title="Relative error (ACA's input: 0)")
    axes.legend(fontsize="x-small")


STUDIES = {
    "fig5": Study(
        Config,
        draw,
        run=run,
        deviations=(
            Deviation(
                "Fig. 5",
                "an image, a random 3x3 kernel and an end T that are not given",
                "a drawn galaxy, a normal kernel that --seed draws, and several T, tolerances and precisions",
                "they have to be chosen",
            ),
        ),
    )
}
