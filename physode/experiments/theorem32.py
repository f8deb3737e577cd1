r"""Theorem 3.2 of the ACA paper (Eqs. 15-22): the error of a solve there and back, on a linear equation.

For :math:`dz/dt = A z` all is known in closed form: the flow is :math:`\Phi_{t_0}^{t} = e^{(t - t_0) A}`, a step of
size :math:`h` of a method of order :math:`p` multiplies by its stability function :math:`R(hA)`, the local error is

.. math::
    h^{p+1} l(z) + O(h^{p+2}), \qquad l(z) = (c_{p+1} - 1/(p+1)!) \, A^{p+1} z, \qquad c_{p+1} = b^\top a^p \mathbf 1 .

The paper's Eq. 16 adds the forward solve's error at T to the reverse solve's at :math:`t_0`. These are errors at two
times. What the start is missed by has the first carried back to :math:`t_0`, too,

.. math::
    \bar z(0) - z(0) = \sum_k h^{p+1} \, \big(1 + (-1)^{p+1}\big) \, D\Phi_{t_k}^{t_0} \, l(z_k) + O(h^{p+1}) ,

so that the two add up where :math:`p` is odd, and cancel to this order where it is even. Both forms are held against
solves. Of gradients, :math:`L = |z(T)|^2 / 2` is differentiated with respect to :math:`A`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from physode.experiments.comparison_plot import colour_of
from physode.experiments.report import Deviation, Finding, Result, Row
from physode.experiments.study import Study, StudyConfig
from physode.plotting.style import COLOURS, INK, new_figure, styled
from physode.solve import solve
from physode.solvers.methods import METHODS
from physode.solvers.tableaus.base import Tableau
from physode.typing import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLOSE = 0.1  # of what the leading sum may miss of an error at the smallest step, and of an order


@dataclass(frozen=True)
class Config(StudyConfig):
    """The constants, all ours: the paper has the theorem alone. Nothing here is random."""

    study: ClassVar[str] = "theorem32"

    methods: tuple[str, ...] = ("euler", "midpoint", "bosh3", "rk4", "dopri5")
    steps: tuple[int, ...] = (16, 32, 64, 128)
    matrix: tuple[tuple[float, float], ...] = ((-0.5, -2.0), (1.5, -0.1))
    z0: tuple[float, float] = (1.0, 0.5)
    span: float = 2.0
    seed: int = 0


def run(config: Config, progress: Progress | None = None) -> Result:
    """Solve there and back by every method with every number of steps."""
    cases = [(name, steps) for name in config.methods for steps in config.steps]
    rows = []
    for done, (name, steps) in enumerate(cases, start=1):
        rows.append(_measure(config, name, steps))
        if progress is not None:
            progress(done / len(cases))
    title = "There and back on a linear equation (ACA paper, Theorem 3.2)"
    return config.result(title, rows, list(_findings(rows)))


@dataclass(frozen=True)
class Linear:
    """dz/dt = A z, walked in steps of one size by one method."""

    tableau: Tableau
    A: Tensor
    z0: Tensor
    span: float
    steps: int

    @property
    def h(self) -> float:
        """The size of a step."""
        return self.span / self.steps

    def flow(self, time: float) -> Tensor:
        """Return the flow over a time, exp(time A), which is also the variational flow."""
        return torch.matrix_exp(time * self.A)

    def step(self, h: float) -> Tensor:
        """Return the stability function R(h A) = I + sum_j b_j h A K_j, with the stages' K_j."""
        one = torch.eye(len(self.A), dtype=self.A.dtype)
        stages: list[Tensor] = []
        for row in self.tableau.a:
            before = zip(row, stages, strict=True)
            stages.append(self.A @ sum((h * weight * stage for weight, stage in before), start=one))
        return sum((h * weight * stage for weight, stage in zip(self.tableau.b, stages, strict=True)), start=one)

    def nodes(self) -> list[Tensor]:
        """Return the states of the forward solve."""
        step, z = self.step(self.h), [self.z0]
        for _ in range(self.steps):
            z.append(step @ z[-1])
        return z

    def leading(self, z: Tensor) -> Tensor:
        """Return l(z), the local error over h^(p + 1)."""
        p, stages = self.tableau.order, len(self.tableau.b)
        a = torch.zeros(stages, stages, dtype=self.A.dtype)
        for number, row in enumerate(self.tableau.a):
            a[number, : len(row)] = torch.tensor(row)
        b, ones = torch.tensor(self.tableau.b, dtype=a.dtype), torch.ones(stages, dtype=a.dtype)
        constant = float(b @ torch.matrix_power(a, p) @ ones) - 1.0 / math.factorial(p + 1)
        return constant * torch.matrix_power(self.A, p + 1) @ z

    def sums(self) -> dict[str, Tensor]:
        """Return the leading sums: of Eq. 15, of Eq. 16 as it is printed, and with forward errors carried back."""
        p, zero = self.tableau.order, torch.zeros_like(self.z0)
        forward, printed, carried = zero, zero, zero
        for k, z in enumerate(self.nodes()[:-1]):
            local, sign = self.h ** (p + 1) * self.leading(z), (-1.0) ** (p + 1)
            ahead = self.flow(self.span - k * self.h)
            forward = forward + ahead @ local
            printed = printed + ahead @ local + sign * torch.linalg.solve(ahead, local)
            carried = carried + (1.0 + sign) * self.flow(-k * self.h) @ local
        return {"forward": forward, "printed": printed, "carried": carried}


def _measure(config: Config, name: str, steps: int) -> dict[str, Any]:
    """Solve forward and back; return the errors beside the leading sums, and what gradients are off by."""
    A, z0 = (torch.tensor(value, dtype=torch.float64) for value in (config.matrix, config.z0))
    tableau = METHODS[name]
    assert isinstance(tableau, Tableau)
    linear = Linear(tableau, A, z0, config.span, steps)
    times = torch.linspace(0.0, config.span, steps + 1, dtype=torch.float64)
    forward = _solved(name, A, z0, times)
    back = _solved(name, A, forward[-1], times.flip(0))[-1]
    miss, error, sums = back - z0, forward[-1] - linear.flow(config.span) @ z0, linear.sums()
    replays = [_solved(name, A, forward[k], times[k : k + 2])[-1] - forward[k + 1] for k in range(steps)]
    return {
        "method": name,
        "p": tableau.order,
        "steps": steps,
        "error at T": _norm(error),
        "Eq. 15 is off by": _norm(error - sums["forward"]) / _norm(error),
        "miss of z(0)": _norm(miss),
        "Eq. 16, printed": _norm(sums["printed"]),
        "carried back": _norm(sums["carried"]),
        "carried back is off by": _norm(miss - sums["carried"]) / _norm(miss) if tableau.order % 2 else None,
        "ACA's replays miss": max(map(_norm, replays)),
        **_gradients(linear, name, times),
    }


def _gradients(linear: Linear, name: str, times: Tensor) -> dict[str, float]:
    """Return what dL/dA is off by, relative to the derivative of what the forward solve computed."""
    A = linear.A.clone().requires_grad_()
    computed = Linear(linear.tableau, A, linear.z0, linear.span, linear.steps).nodes()[-1]
    (right,) = torch.autograd.grad(0.5 * computed.square().sum(), A)
    errors = {}
    for method in ("aca", "adjoint"):
        A = linear.A.clone().requires_grad_()
        end = _solved(name, A, linear.z0, times, gradient=method)[-1]
        (gradient,) = torch.autograd.grad(0.5 * end.square().sum(), A)
        errors[f"gradient, {method}"] = _norm(gradient - right) / _norm(right)
    return errors


def _solved(name: str, A: Tensor, z0: Tensor, times: Tensor, gradient: str = "aca") -> Tensor:
    """Return the states at all times, with steps between them; the adjoint method's reverse solve has as many."""
    ends = times if gradient == "aca" else times[[0, -1]]
    options: dict[str, Any] = {"grid": times}
    if gradient == "adjoint":
        options = {"step_size": float((times[-1] - times[0]).abs()) / (len(times) - 1)}
    states: Tensor = solve(
        lambda t, z, A: A @ z, z0, ends, args=(A,), method=name, gradient=gradient, compile=False, **options
    ).y
    return states


def _norm(x: Tensor) -> float:
    return float(x.detach().norm())


def _findings(rows: Sequence[Row]) -> Iterator[Finding]:
    by = {name: [row for row in rows if row["method"] == name] for name in dict.fromkeys(row["method"] for row in rows)}
    finest = [group[-1] for group in by.values()]
    off = max(row["Eq. 15 is off by"] for row in finest)
    yield Finding(
        "Eq. 15: the error at T is the sum of local errors carried there",
        f"with {finest[0]['steps']} steps to {100 * off:.1f} % or better, {_listed(finest)}",
        off < _CLOSE,
    )
    for parity, name in ((1, "odd"), (0, "even")):
        yield from _reverse_findings([row for row in finest if row["p"] % 2 == parity], by, name)
    aca, adjoint = (max(row[f"gradient, {method}"] for row in rows) for method in ("aca", "adjoint"))
    replays = max(row["ACA's replays miss"] for row in rows)
    yield Finding(
        "the adjoint method has errors of truncation, ACA is accurate in reverse",
        f"dL/dA is off the derivative of the computed solution by up to {adjoint:.1g} (adjoint) and {aca:.0e} (ACA); "
        f"replayed steps meet the next checkpoint within {replays:.0e}",
        aca < 1e-12 < min(row["gradient, adjoint"] for row in rows) and replays < 1e-14,
    )


def _reverse_findings(finest: Sequence[Row], by: dict[str, list[Row]], parity: str) -> Iterator[Finding]:
    """Return what holds of the miss of z(0) by methods of odd or of even order."""
    if not finest:
        return
    shares = [f"{row['Eq. 16, printed'] / row['miss of z(0)']:.2g}" for row in finest]
    yield Finding(
        f"Eqs. 16 and 21, {parity} p: the leading sum is what z(0) is missed by",
        f"as printed it is {', '.join(shares)} times the miss, {_listed(finest)}",
        all(abs(row["Eq. 16, printed"] / row["miss of z(0)"] - 1.0) < _CLOSE for row in finest),
    )
    orders = {row["method"]: _order(by[row["method"]]) for row in finest}
    seen = ", ".join(f"{order:.2f} ({name})" for name, order in orders.items())
    if parity == "odd":
        off = max(row["carried back is off by"] for row in finest)
        yield Finding(
            "Eq. 22, odd p: the two errors add up",
            f"carried back to z(0) their sum is right to {100 * off:.1f} %; the miss is of the orders {seen}",
            off < _CLOSE,
        )
        return
    yield Finding(
        "Eq. 22, even p: e_k = 0 only where the flow is the identity",
        f"carried back to z(0) the two cancel, whatever the flow: the miss is of the orders {seen}, one above p",
        all(abs(orders[row["method"]] - row["p"]) < _CLOSE for row in finest),
    )


def _order(rows: Sequence[Row]) -> float:
    """Return the order of the miss of z(0), from the last two numbers of steps."""
    coarse, fine = rows[-2:]
    return math.log(coarse["miss of z(0)"] / fine["miss of z(0)"]) / math.log(fine["steps"] / coarse["steps"])


def _listed(rows: Sequence[Row]) -> str:
    return "by " + ", ".join(row["method"] for row in rows)


def draw(result: Result) -> Figure:
    """Draw the miss of z(0) against the number of steps beside both sums, and what gradients are off by."""
    names = list(dict.fromkeys(row["method"] for row in result.rows))
    with styled():
        figure = new_figure(12.5, 4.4)
        left, right = figure.subplots(1, 2)
        for number, name in enumerate(names):
            rows = [row for row in result.rows if row["method"] == name]
            steps, colour = [row["steps"] for row in rows], (*COLOURS[3:], INK)[number % 5]
            label = f"{name}, p = {rows[0]['p']}"
            left.loglog(steps, [row["miss of z(0)"] for row in rows], "o-", ms=4, color=colour, label=label)
            left.loglog(steps, [row["Eq. 16, printed"] for row in rows], ":", color=colour)
            if rows[0]["p"] % 2:
                left.loglog(steps, [row["carried back"] for row in rows], "x", ms=8, color=colour)
            for method, style in (("adjoint", "o-"), ("aca", "s-")):
                values = [max(row[f"gradient, {method}"], 1e-17) for row in rows]
                right.loglog(steps, values, style, ms=4, lw=1.0, color=colour_of(method), mfc="none")
                if method == "adjoint":
                    right.annotate(
                        f"p = {rows[0]['p']}", (steps[-1], values[-1]), xytext=(6, -3), textcoords="offset points"
                    )
        left.plot([], [], ":", color=INK, label="Eq. 16 as printed")
        left.plot([], [], "x", ms=8, color=INK, label="its sum, carried back (odd p)")
        for method, marker in (("adjoint", "o"), ("aca", "s")):
            right.plot([], [], f"{marker}-", color=colour_of(method), mfc="none", label=method.replace("aca", "ACA"))
        left.set(title="Miss of z(0), there and back", xlabel="steps", ylabel="|error|")
        right.set(title="dL/dA off the derivative of what was computed", xlabel="steps", ylabel="relative error")
        for axes in (left, right):
            axes.set_xticks(steps, list(map(str, steps)))
            axes.minorticks_off()
        left.legend(fontsize="x-small")
        right.legend(fontsize="small", loc="center left")
        return figure


STUDIES = {
    "theorem32": Study(
        Config,
        draw,
        run=run,
        deviations=(
            Deviation(
                "Theorem 3.2, Eqs. 16-22",
                "the error there and back is the forward error at T plus the reverse error at the start",
                "both are shown: this sum, and the one with forward errors carried back to the start",
                "errors at two times do not add; carried back, they cancel to the leading order where p is even",
            ),
        ),
    )
}
