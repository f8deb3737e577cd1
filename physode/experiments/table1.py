r"""Table 1 of the ACA paper: computation, memory and depth by gradient method, counted on real solves.

The right-hand side is a network of :math:`N_f` layers. A pass through each is counted, forward and back, and so is
every attempt of a step: forward, :math:`N_t` steps of :math:`m` attempts each, and in the adjoint method's reverse
solve, :math:`N_r`. Beside these, with :math:`s` evaluations an attempt, stand the paper's formulas

.. math::
    2 s N_f N_t m, \qquad s N_f (N_t + N_r) m, \qquad s N_f N_t (m + 1)

for the computation of the naive method, the adjoint method and ACA. The depth is that of what autograd differentiates:
its graphs are walked when the backward pass enters them, and layers on the longest path counted. Memory is the largest
sum of bytes of tensors that are alive at a time, without those from before the solve, in multiples of the state's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from physode.experiments.comparison_plot import colour_of
from physode.experiments.counting import Layers, Meter, Search, Tally
from physode.experiments.report import Deviation, Finding, Result, Row
from physode.experiments.study import Study, StudyConfig
from physode.gradients import ACA, Adjoint, GradientMethod, Naive
from physode.plotting.style import new_figure, styled
from physode.solve import solve
from physode.typing import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS: dict[str, GradientMethod] = {
    "naive": Naive(step_sizes=True),
    "adjoint": Adjoint(),
    "ACA": ACA(memory="checkpoint", parallel=False),
    "ACA, graphs kept": ACA(parallel=False),
}
"""The paper's three, and physode's default: ACA that keeps the graphs of accepted steps while there is memory."""

_SPREAD = 1.5  # a cost over its formula is constant where it differs by no more than this factor between cases
_MISFIT = 0.05  # of memory, beyond which it is not of the order that the paper gives


@dataclass(frozen=True)
class Config(StudyConfig):
    """The constants, all ours, as the paper's table is one of orders.

    Each of ``cases`` has a number of layers, a tolerance, and how many times longer than the controller proposes a step
    is first tried: each differs from the first in one of them. Networks and initial states are drawn from ``seed``.
    """

    study: ClassVar[str] = "table1"

    cases: tuple[tuple[int, float, float], ...] = (
        *((layers, 1e-4, 1.0) for layers in (4, 8, 16)),
        *((4, tolerance, 1.0) for tolerance in (1e-5, 1e-6)),
        *((4, 1e-4, reach) for reach in (4.0, 16.0)),
    )
    span: float = 5.0
    width: int = 16
    batch: int = 64
    method: str = "bosh3"
    seed: int = 0


def run(config: Config, progress: Progress | None = None) -> Result:
    """Count each method's work in every case."""
    jobs = [(case, name) for case in config.cases for name in METHODS]
    rows = []
    for done, (case, name) in enumerate(jobs, start=1):
        rows.append(_measure(_Solve(config, *case), name))
        if progress is not None:
            progress(done / len(jobs))
    title = "Computation, memory and depth by gradient method (ACA paper, Table 1)"
    return config.result(title, rows, _findings(rows))


@dataclass(frozen=True)
class _Solve:
    """One case."""

    config: Config
    layers: int
    tolerance: float
    reach: float

    def start(self, *, requires_grad: bool = True) -> Tensor:
        generator = torch.Generator().manual_seed(self.config.seed)
        shape = self.config.batch, self.config.width
        return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_(requires_grad)

    def network(self, tally: Tally | None = None) -> Layers:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return Layers(self.layers, self.config.width, tally)

    def differentiated(self, method: GradientMethod, tally: Tally | None) -> int:
        """Solve, pull the loss back, and return the number of accepted steps."""
        controller = Search(reach=self.reach, tally=tally or Tally())
        solution = solve(
            self.network(tally),
            self.start(),
            [0.0, self.config.span],
            method=self.config.method,
            rtol=self.tolerance,
            atol=self.tolerance,
            controller=controller,
            gradient=method,
            compile=False,
        )
        controller.tally.turn()
        solution.y[-1].square().sum().backward()
        controller.tally.close()
        return int(solution.stats.accepted)

    def reverse_error(self) -> float:
        """Return how far a solve back from the end misses the start, relative to it."""
        f, start = self.network(), self.start(requires_grad=False)
        times = torch.tensor([0.0, self.config.span], dtype=torch.float64)
        settings: Any = {"method": self.config.method, "rtol": self.tolerance, "atol": self.tolerance}
        with torch.no_grad():
            end = solve(f, start, times, controller=Search(reach=self.reach), compile=False, **settings).y[-1]
            back = solve(f, end, times.flip(0), controller=Search(reach=self.reach), compile=False, **settings).y[-1]
        return float((back - start).norm() / start.norm())


def _measure(case: _Solve, name: str) -> dict[str, Any]:
    """Solve and differentiate twice, once to count passes and once to measure memory, and return one row."""
    tally, meter = Tally(), Meter()
    accepted = case.differentiated(METHODS[name], tally)
    with meter:
        case.differentiated(METHODS[name], None)
    attempts, attempts_back = tally.attempts
    row: dict[str, Any] = {
        "method": name,
        "N_f": case.layers,
        "tolerance": case.tolerance,
        "N_t": accepted,
        "m": attempts / accepted,
        "N_r": tally.accepted[1] or None,
        "evaluations an attempt": tally.forward_solve // (case.layers * attempts),
        "layers forward": tally.forward,
        "layers back": tally.backward,
        "computation": tally.forward + tally.backward,
    }
    row["computation / formula"] = row["computation"] / _formula(row)
    row["deepest graph"], row["depth"] = tally.deepest, tally.depth
    row["depth / formula"] = tally.depth / _depth(row)
    row["memory (states)"] = meter.peak / (8 * case.config.batch * case.config.width)
    row["reverse error"] = case.reverse_error() if attempts_back else None
    return row


def _formula(row: Row) -> float:
    """Return the computation that the paper's formula gives."""
    steps, tries = row["N_t"], row["m"]
    times = {"naive": 2 * steps * tries, "adjoint": (steps + (row["N_r"] or 0)) * tries}
    return float(row["evaluations an attempt"] * row["N_f"] * times.get(row["method"], steps * (tries + 1)))


def _depth(row: Row) -> float:
    """Return the depth that the paper's formula gives."""
    times = {"naive": row["N_t"] * row["m"], "adjoint": row["N_r"]}
    return float(row["evaluations an attempt"] * row["N_f"] * times.get(row["method"], row["N_t"]))


_ORDERS = {
    "naive": ("O(N_f N_t m 2)", "O(N_f N_t m)", "O(N_f N_t m)"),
    "adjoint": ("O(N_f (N_t + N_r) m)", "O(N_f)", "O(N_f N_r)"),
    "ACA": ("O(N_f N_t (m + 1))", "O(N_f + N_t)", "O(N_f N_t)"),
}
"""The paper's computation, memory and depth."""

_MEMORY: dict[str, Callable[[Row], list[float]]] = {
    "naive": lambda row: [row["N_t"] * row["m"], row["N_f"] * row["N_t"] * row["m"]],
    "adjoint": lambda row: [1.0, row["N_f"]],
    "ACA": lambda row: [1.0, row["N_f"], row["N_t"]],
}
"""The terms whose sum, with constants, memory is to be: those of the paper, and the share that has no layers."""


def _findings(rows: Sequence[Row]) -> Iterator[Finding]:
    by = {name: [row for row in rows if row["method"] == name] for name in METHODS}
    for name, (computation, memory, depth) in _ORDERS.items():
        yield _constant(f"computation of {name}: {computation}", by[name], "computation / formula")
        yield _of_order(f"memory of {name}: {memory}", by[name], _MEMORY[name])
        yield _constant(f"depth of {name}'s graph: {depth}", by[name], "depth / formula")
    yield _lowest(by)
    most = [max(row["memory (states)"] for row in by[name]) for name in ("adjoint", "ACA", "naive")]
    yield Finding(
        "ACA has a medium memory cost",
        "at most {:.0f} states (adjoint), {:.0f} (ACA), {:.0f} (naive)".format(*most),
        most == sorted(most),
    )
    misses = [row["reverse error"] for row in by["adjoint"]]
    yield Finding(
        "reverse accuracy: not of the adjoint method",
        f"its reverse solve misses y(0) by {min(misses):.1g} to {max(misses):.1g}; tolerances are "
        f"{min(row['tolerance'] for row in rows):.0e} to {max(row['tolerance'] for row in rows):.0e}",
        all(row["reverse error"] > row["tolerance"] for row in by["adjoint"]),
    )


def _constant(statement: str, rows: Sequence[Row], column: str) -> Finding:
    """Return whether what was counted is a constant times the formula."""
    low, high = min(row[column] for row in rows), max(row[column] for row in rows)
    times = " to ".join(dict.fromkeys((f"{low:.3g}", f"{high:.3g}")))
    return Finding(statement, f"counted, {times} times that over {len(rows)} cases", high < _SPREAD * low)


def _of_order(statement: str, rows: Sequence[Row], terms: Callable[[Row], list[float]]) -> Finding:
    """Return whether memory is a sum of terms, with constants found by least squares of relative misfits."""
    memory = np.array([row["memory (states)"] for row in rows])
    shares = np.array([terms(row) for row in rows]) / memory[:, None]
    constants, *_ = np.linalg.lstsq(shares, np.ones(len(rows)))
    worst = float(np.abs(shares @ constants - 1.0).max())
    return Finding(
        statement,
        f"{memory.min():.0f} to {memory.max():.0f} states, that with constants to {100 * worst:.1f} %",
        worst < _MISFIT and bool((constants > 0).all()),
    )


def _lowest(by: dict[str, list[Row]]) -> Finding:
    """Return whether ACA passes through the fewest layers, and from how many attempts a step on."""
    costs = {name: np.array([row["computation"] for row in rows]) for name, rows in by.items()}
    tries = np.array([row["m"] for row in by["ACA"]])
    others = np.minimum(costs["naive"], costs["adjoint"])
    fewest, kept = costs["ACA"] < others, costs["ACA, graphs kept"] < others
    least = f", those of at least {tries[fewest].min():.2g} attempts a step" if fewest.any() else ""
    return Finding(
        "ACA has the lowest computation cost",
        f"in {fewest.sum()} of {len(tries)} cases{least}, as each accepted step is evaluated again; "
        f"in {kept.sum()} where its graphs are kept, which is the default here",
        bool(fewest.all()),
    )


def draw(result: Result) -> Figure:
    """Draw computation, depth and memory of every method, case by case, on logarithmic scales."""
    cases = list(dict.fromkeys((row["N_f"], row["tolerance"], row["N_t"], round(row["m"], 1)) for row in result.rows))
    labels = [f"$N_f$ {layers}\n$N_t$ {steps}\n$m$ {tries:g}" for layers, _, steps, tries in cases]
    with styled():
        figure = new_figure(13.0, 4.0)
        axes: Any = figure.subplots(1, 3)
        for panel, column, title in zip(
            axes,
            ("computation", "depth", "memory (states)"),
            ("Passes through a layer", "Layers differentiated in a row", "Most memory, in states"),
            strict=True,
        ):
            for name in METHODS:
                face = "none" if "kept" in name else colour_of(name)
                values = [row[column] for row in result.rows if row["method"] == name]
                style: Any = {"ls": "", "marker": "s" if "kept" in name else "o", "ms": 6, "mfc": face}
                panel.semilogy(range(len(values)), values, color=colour_of(name), label=name, **style)
            panel.set_xticks(range(len(labels)), labels, fontsize="x-small")
            panel.set_title(title)
        axes[0].legend(fontsize="small")
        return figure


STUDIES = {
    "table1": Study(
        Config,
        draw,
        run=run,
        deviations=(
            Deviation(
                "Table 1, ACA's computation",
                "N_f N_t (m + 1): forward attempts, and one pass for the backward pass",
                "the local forward and the local backward pass count as two: N_f N_t (m + 2); with graphs kept, "
                "N_f N_t (m + 1)",
                "Algorithm 2 has both",
            ),
            Deviation(
                "Table 1, adjoint's computation",
                "N_f (N_t + N_r) m: an evaluation in the reverse solve counts once",
                "each is counted forward and back",
                "the augmented state needs both",
            ),
        ),
    )
}
