r"""Rosenbrock methods: one linear system a stage, no iteration (Hairer & Wanner, Solving ODEs II, Sect. IV.7).

With :math:`J = \partial f / \partial y` and :math:`f_t = \partial f / \partial t` at the step's start,

.. math::
    (I - h \gamma J) \, u_i = h \gamma f\Big(t + c_i h, \; y + \sum_{j<i} a_{ij} u_j\Big)
        + \gamma \sum_{j<i} C_{ij} u_j + h^2 \gamma d_i f_t , \qquad y_{+} = y + \sum_i m_i u_i .

That is Eq. (IV.7.25) times :math:`h \gamma`, so that a step of size 0 is the identity. The step is differentiated as it
stands, J included: the derivatives are those of the numerical solution, of any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from physode.autograd import refuse_forward_over_forward
from physode.solvers.clock import Number, sized
from physode.solvers.implicit.jacobian import derivatives, structure_for
from physode.solvers.implicit.jacobian_structure import blocks_of, to_solve
from physode.solvers.implicit.linear import factor, shifted
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Rhs, Row, Step, added, column, stage_times

__all__ = ["RODAS5P", "Rosenbrock", "Running", "columns_of", "combined"]


@dataclass(frozen=True, kw_only=True)
class Rosenbrock(StepMethod):
    r"""A Rosenbrock method with an embedded error estimate and an interpolant.

    Attributes
    ----------
    gamma, a, big_c, c, d, m
        The coefficients above; ``a`` and ``big_c`` strictly lower triangular, row i with i entries.
    error
        Weights of the :math:`u_i` that give the local error.
    dense
        Rows of weights of the interpolant's coefficients from the second on (the first is the step's change).
    """

    name: str
    order: int
    error_order: int
    gamma: float
    a: tuple[Row, ...]
    big_c: tuple[Row, ...]
    c: Row
    d: Row
    m: Row
    error: Row
    dense: tuple[Row, ...]
    interpolant_order: int = 4
    reference: str = ""
    adaptive: bool = True

    @property
    def stages(self) -> int:  # type: ignore[override]
        """The number of stages."""
        return len(self.m)

    def take(self, rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step; what stands for slopes are the :math:`u_i`."""
        refuse_forward_over_forward("Rosenbrock methods")
        blocks = blocks_of(y, h, structure_for(rhs))
        slopes = derivatives(rhs, t, y, blocks, with_time=True)
        factors = factor(shifted(slopes.by_state, h, self.gamma))
        dtype, y = y.dtype, to_solve(y)  # weights of more than a hundred magnify what half precision rounds
        length = self.gamma * sized(h, y)
        drift = None if slopes.by_time is None else length * sized(h, y) * blocks.join(to_solve(slopes.by_time))
        sums, us = Running(self._columns), []
        for i, time in enumerate(stage_times(self.c, t, h)):
            if i == 0:
                k1 = slopes.value if k1 is None else k1
                right = length * to_solve(rhs(time, y.to(dtype)) if k1 is None else k1)
            else:
                change, right = sums.take(2)
                right = added(right, length, to_solve(rhs(time, (y + change).to(dtype))))
            if drift is not None and self.d[i] != 0.0:
                right = torch.add(right, drift, alpha=self.d[i])
            us.append(blocks.join(factors.solve(blocks.split(right))))
            sums.add(us[i])
        (change,) = sums.take(1)
        return Step((y + change).to(dtype), tuple(us))

    @cached_property
    def _columns(self) -> tuple[Row, ...]:
        r"""What each :math:`u_j` counts for later: :math:`a_{ij}` and :math:`\gamma C_{ij}`, and :math:`m_j`."""
        rows = [row for a, c in zip(self.a, self.big_c, strict=True) for row in (a, tuple(self.gamma * v for v in c))]
        return columns_of([*rows, self.m])

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the local error's estimate."""
        del h
        return [combined(self.error, ks)]

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor]:
        """Return the method's own interpolant."""
        return [step.y - y, *(combined(row, step.ks).to(y.dtype) for row in self.dense)]


def combined(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    """Return a weighted sum, as a chain of elementwise operations: no sample's result depends on its company."""
    total: Tensor | None = None
    for weight, part in zip(weights, parts, strict=False):
        if weight == 0.0:
            continue
        scaled = part if weight == 1.0 or total is not None else weight * part
        total = scaled if total is None else torch.add(total, part, alpha=weight)
    return torch.zeros_like(parts[0]) if total is None else total


def columns_of(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the columns of rows of weights, each row as long as there are stages before it."""
    return tuple(tuple(row[j] for row in rows if len(row) > j) for j in range(max(map(len, rows))))


class Running:
    """Sums that each new stage is added to, one operation a stage, and that are taken off in order.

    They are elementwise operations: no sample's result depends on its company.

    Parameters
    ----------
    columns
        What each stage counts for in the sums that are still needed after it.
    """

    def __init__(self, columns: Sequence[Row]) -> None:
        self._columns, self._rest = columns, torch.empty(0)
        self._stage = 0

    def add(self, part: Tensor) -> None:
        """Add the next stage to all sums."""
        weights = column(self._columns[self._stage], part.ndim, part.dtype, part.device)
        self._rest = torch.addcmul(self._rest, weights, part) if self._stage else weights * part
        self._stage += 1

    def take(self, count: int) -> tuple[Tensor, ...]:
        """Take off the next sums."""
        left = self._rest.shape[0] - count
        if left == 0:
            return self._rest.unbind(0)
        heads, self._rest = torch.split_with_sizes(self._rest, (count, left))
        return heads.unbind(0)


_A6 = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)

# The interpolant is y + theta (y_+ - y) + theta (1 - theta) (D1 + theta (D2 + theta D3)).
_D1 = (
    25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204,
    0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493,
)  # fmt: skip
_D2 = (
    -9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796,
    20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372,
)  # fmt: skip
_D3 = (
    11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643,
    -52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722,
)  # fmt: skip

RODAS5P = Rosenbrock(
    name="rodas5p",
    order=5,
    error_order=4,
    gamma=0.21193756319429014,
    a=(
        (),
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _A6,
        (*_A6, 1.0),
        (*_A6, 1.0, 1.0),
    ),
    big_c=(
        (),
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
        (
            30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
            -28.087943162872662,
        ),
        (
            37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
            -54.66780262877968, -9.48861652309627,
        ),
    ),
    c=(0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0),
    d=(
        0.21193756319429014, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069,
        0.0, 0.0, 0.0,
    ),
    m=(*_A6, 1.0, 1.0, 1.0),
    error=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    dense=(
        _D1,
        tuple(second + third for second, third in zip(_D2, _D3, strict=True)),  # theta^3 = theta^2 - theta^2 (1-theta)
        tuple(-third for third in _D3),
    ),
    reference="G. Steinebach, BIT Numer. Math. 63 (2023) 27",
)  # fmt: skip
