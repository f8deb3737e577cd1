r"""Fig. 6 of the ACA paper: errors of gradients of the toy problem, Eqs. 27-29.

.. math::
    \frac{dz}{dt} = k z, \qquad L = z(T)^2, \qquad \frac{dL}{dz_0} = 2 z_0 e^{2 k T} .

What each method's error is made of, with :math:`\epsilon` the relative error of the forward solve's :math:`z(T)`:

- ACA differentiates the accepted steps, :math:`z_N = z_0 \prod_i R(k h_i)`: its gradient is
  :math:`2 z_N^2 / z_0`, off by :math:`(1 + \epsilon)^2 - 1`, exactly.
- The naive method differentiates the choice of the :math:`h_i`, too, and adds
  :math:`d\epsilon / d\ln z_0`, of the size of :math:`\epsilon` and of either sign.
- The adjoint method has :math:`\epsilon` once from :math:`z(T)` and an error of its own from the reverse solve. Where
  :math:`k > 0`, that solve is the easier one: it decays towards :math:`z_0`. Where :math:`k < 0`, it grows, and so does
  its error.

The paper's naive and adjoint methods are those of torchdiffeq, whose last step passes T and whose z(T) is interpolated;
where torchdiffeq is installed they are measured as well.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from physode.experiments.comparison_plot import LABELS, colour_of
from physode.experiments.report import Deviation, Finding, Result, Row
from physode.experiments.study import Study, StudyConfig
from physode.plotting.style import new_figure, styled
from physode.solve import solve
from physode.solvers.step_control import I
from physode.typing import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METHODS = ("aca", "adjoint", "naive")
_PEERS = ("torchdiffeq adjoint", "torchdiffeq naive")
_EQUAL = 1e-9  # errors that differ by less than this share count as equal
_ROUNDING = 64  # units in the last place that gradients may differ by, beside


@dataclass(frozen=True)
class Config(StudyConfig):
    """The experiment's constants: the paper gives the method, the tolerance and the range of T; not k, z0 or the dtype.

    ``peers`` adds torchdiffeq's naive and adjoint methods where that package is installed. Nothing here is random.
    """

    study: ClassVar[str] = "fig6"

    rates: tuple[float, ...] = (0.5, -0.5)
    z0: float = 1.0
    spans: tuple[float, ...] = tuple(float(span) for span in range(1, 21))
    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    dtype: str = "float64"
    peers: bool = True
    seed: int = 0


class Growth(nn.Module):
    """The right-hand side, Eq. 27."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return k z."""
        return self.rate * z


EndState = Callable[[Growth, Tensor, Tensor], Tensor]
"""Solves from z0 over the two times, differentiably, and returns z(T)."""


def run(config: Config, progress: Progress | None = None) -> Result:
    """Measure every method's gradient for each rate and span."""
    methods = _own(config) | (_peers(config) if config.peers else {})
    cases = [(rate, span) for rate in config.rates for span in config.spans]
    rows = []
    for done, (rate, span) in enumerate(cases, start=1):
        rows.append(_measure(config, methods, rate, span))
        if progress is not None:
            progress(done / len(cases))
    return config.result(
        "Errors of gradients of dz/dt = k z (ACA paper, Fig. 6)",
        rows,
        _findings(config, rows),
    )


def _own(config: Config) -> dict[str, EndState]:
    def end_state(gradient: str) -> EndState:
        return lambda f, z0, times: solve(
            f, z0, times, method=config.method, rtol=config.rtol, atol=config.atol, gradient=gradient, controller=I()
        ).y[-1]

    return {name: end_state("naive-steps" if name == "naive" else name) for name in _METHODS}


def _peers(config: Config) -> dict[str, EndState]:
    """Return torchdiffeq's methods, or none where it is not installed."""
    try:
        peer = importlib.import_module("torchdiffeq")
    except ModuleNotFoundError:
        return {}
    options = {"method": config.method, "rtol": config.rtol, "atol": config.atol}
    return {
        "torchdiffeq adjoint": lambda f, z0, times: peer.odeint_adjoint(f, z0, times, **options)[-1],
        "torchdiffeq naive": lambda f, z0, times: peer.odeint(f, z0, times, **options)[-1],
    }


def _measure(config: Config, methods: Mapping[str, EndState], rate: float, span: float) -> dict[str, Any]:
    """Return one row: the exact gradient and each method's relative error."""
    dtype = getattr(torch, config.dtype)
    exact = 2.0 * config.z0 * math.exp(2.0 * rate * span)
    times = torch.tensor([0.0, span], dtype=dtype)
    row: dict[str, Any] = {"k": rate, "T": span, "exact dL/dz0": exact}
    for name, end_state in methods.items():
        z0 = torch.tensor([config.z0], dtype=dtype, requires_grad=True)
        end = end_state(Growth(rate), z0, times)
        (gradient,) = torch.autograd.grad(end.square().sum(), z0)
        row[name] = float((gradient.double() - exact).abs()) / abs(exact)
        if name == "aca":
            # The error that exact differentiation of the steps must have; in float64, to be free of L's own rounding.
            share = float(end.detach().double()) / (config.z0 * math.exp(rate * span))
            row["forward error"] = abs(share - 1.0)
            row["aca, predicted"] = abs(share**2 - 1.0)
    return row


def _findings(config: Config, rows: Sequence[Row]) -> Iterator[Finding]:
    for sign, name in ((1.0, "growth"), (-1.0, "decay")):
        some = [row for row in rows if row["k"] * sign > 0]
        for group, origin in ((_METHODS[1:], "on this engine"), (_PEERS, "as torchdiffeq has them")):
            for other in group:
                if some and other in some[0]:
                    yield _comparison(config, some, other, f"{name} (k {'>' if sign > 0 else '<'} 0), {origin}")
    worst = max(abs(row["aca"] - row["aca, predicted"]) for row in rows)
    yield Finding(
        "ACA's gradient is that of the forward steps",
        f"its error is the forward solve's, (1 + e)^2 - 1, within {worst:.1e}",
        worst <= _slack(config),
    )


def _comparison(config: Config, rows: Sequence[Row], other: str, where: str) -> Finding:
    slack = _slack(config)
    below = [row["aca"] <= row[other] * (1.0 + _EQUAL) + slack for row in rows]
    shares = [row["aca"] / max(row[other], slack) for row in rows]
    return Finding(
        f"ACA's error is below the {other.split()[-1]} method's",
        f"{where}: at {sum(below)} of {len(rows)} values of T; ACA's error is {min(shares):.2g} to {max(shares):.2g} "
        "times the other's",
        all(below),
    )


def _slack(config: Config) -> float:
    return _ROUNDING * torch.finfo(getattr(torch, config.dtype)).eps


def draw(result: Result) -> Figure:
    """Draw the absolute errors, as the paper does, and below them each error as a multiple of ACA's."""
    rates = result.config["rates"]
    with styled():
        figure = new_figure(5.6 * len(rates), 6.6)
        axes = figure.subplots(2, len(rates), sharex=True, squeeze=False)
        for (top, bottom), rate in zip(axes.T, rates, strict=True):
            rows = [row for row in result.rows if row["k"] == rate]
            spans = [row["T"] for row in rows]
            bottom.axhline(1.0, color=colour_of("aca"), lw=2.5)
            for name in (*_METHODS, *_PEERS):
                if name not in rows[0]:
                    continue
                peer, method = name in _PEERS, name.split()[-1]
                style = {"color": colour_of(method), "ls": ":" if peer else "-", "marker": "o", "ms": 3}
                label = f"{LABELS[method]}{' (torchdiffeq)' if peer else ''}"
                top.semilogy(spans, [row[name] * row["exact dL/dz0"] for row in rows], label=label, **style)
                if name != "aca":
                    bottom.plot(spans, [row[name] / row["aca"] for row in rows], **style)
            top.set(title=f"k = {rate:g}: {'growth' if rate > 0 else 'decay'}", ylabel="|error of dL/dz0|")
            bottom.set_yscale("log")
            bottom.set(xlabel="T", ylabel="error / ACA's error", xticks=[t for t in spans if t % 5 == 0] or spans)
        axes[0, 0].legend(fontsize="small")
        return figure


STUDIES = {
    "fig6": Study(
        Config,
        draw,
        run=run,
        deviations=(
            Deviation(
                "Fig. 6, Eqs. 27-29",
                "k, z0 and the precision are not given",
                "a positive and a negative k, from z0 = 1, in double precision",
                "which error is the smallest depends on the sign of k",
            ),
            Deviation(
                "Fig. 6",
                "the naive and the adjoint method are torchdiffeq's, whose last step passes T",
                "both methods on this engine, whose last step ends at T, and torchdiffeq's where it is installed",
                "so that methods differ in their gradients alone",
            ),
        ),
    )
}
