"""Butcher tableaus: the data of explicit Runge-Kutta methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Row", "Sum", "Sums", "Tableau", "in_basis"]

Row = tuple[float, ...]
_ROUNDING, _PRINTED = 1e-13, 1e-9  # of sums of weights; of polynomials, whose coefficients are printed to some digits


@dataclass(frozen=True)
class Tableau:
    r"""An explicit Runge-Kutta method, its error estimate and its interpolant.

    One step from :math:`(t, y)` with step size :math:`h` is

    .. math::
        k_i = f\Big(t + c_i h,\; y + h \sum_{j<i} a_{ij} k_j\Big), \qquad
        y_{+} = y + h \sum_i b_i k_i .

    Further derivatives may follow the ``s`` stages: number ``s`` is :math:`k_{+} = f(t + h, y_{+})`, which is also
    the first stage of the next step, and then the ``extra`` stages that only the interpolant needs.

    Attributes
    ----------
    name, order, reference
        The method's name, its order of convergence, and where it was published.
    c, a, b
        Nodes, strictly lower triangular stage weights (row ``i`` has ``i`` entries), and weights.
    b_err
        Weights of the local error estimate :math:`h \sum_i b^{err}_i k_i`; empty for fixed-step methods. A row of
        length ``s + 1`` also weighs :math:`k_{+}`: the method is "first same as last". Two rows are combined as
        :math:`e_1^2 / \sqrt{e_1^2 + e_2^2/100}` (Hairer, Norsett & Wanner, Sect. II.10).
    error_order
        The order of the error estimate: steps scale with ``err ** (-1 / (error_order + 1))``.
    c_extra, a_extra
        Nodes and weights of the extra stages; row ``i`` weighs the ``s`` stages, :math:`k_{+}` and the extra
        stages before it.
    d
        Rows of the interpolant's coefficients beyond cubic Hermite, over all stages (see
        :mod:`physode.solvers.interpolation`).
    interpolant_order
        The order ``q`` of the interpolant: its error within one step is ``O(h**(q + 1))``.
    stages, adaptive, fsal
        The number of stages ``s``, whether the method estimates its local error, and whether that estimate needs the
        derivative at the step's end.
    step_sums, error_sums, dense_sums, extra_sums
        The rows of ``a`` (from the second) and ``b``, of ``b_err``, ``d`` and ``a_extra``, sorted out for the stepper.
    """

    name: str
    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    b_err: tuple[Row, ...] = ()
    error_order: int = 0
    c_extra: Row = ()
    a_extra: tuple[Row, ...] = ()
    d: tuple[Row, ...] = ()
    interpolant_order: int = 3
    reference: str = ""
    stages: int = field(init=False, repr=False, compare=False)
    adaptive: bool = field(init=False, repr=False, compare=False)
    fsal: bool = field(init=False, repr=False, compare=False)
    step_sums: Sums = field(init=False, repr=False, compare=False)
    error_sums: Sums = field(init=False, repr=False, compare=False)
    dense_sums: Sums = field(init=False, repr=False, compare=False)
    extra_sums: tuple[Sums, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        stages = len(self.b)
        _require(len(self.c) == len(self.a) == stages, self.name, "c, a and b differ in length")
        _require(self.c[0] == 0.0, self.name, "the first stage is not at the step's start")
        for i, (c, row) in enumerate(zip(self.c, self.a, strict=True)):
            _require(len(row) == i, self.name, f"row {i} of a has {len(row)} entries")
            _require(abs(sum(row) - c) < _ROUNDING, self.name, f"row {i} of a does not sum to c")
        _require(abs(sum(self.b) - 1.0) < _ROUNDING, self.name, "b does not sum to 1")
        for weights in self.b_err:
            _require(len(weights) in (stages, stages + 1), self.name, "b_err has the wrong length")
            _require(abs(sum(weights)) < _ROUNDING, self.name, "b_err does not sum to 0")
        for i, (c, row) in enumerate(zip(self.c_extra, self.a_extra, strict=True)):
            _require(len(row) == stages + 1 + i, self.name, f"extra row {i} has {len(row)} entries")
            _require(abs(sum(row) - c) < _ROUNDING, self.name, f"extra row {i} does not sum to its node")
        for row in self.d:
            _require(len(row) == stages + 1 + len(self.c_extra), self.name, "d has the wrong length")
        derived = {
            "stages": stages,
            "adaptive": bool(self.b_err),
            "fsal": any(len(row) > stages for row in self.b_err),
            "step_sums": Sums(*self.a[1:], self.b),
            "error_sums": Sums(*self.b_err),
            "dense_sums": Sums(*self.d),
            "extra_sums": tuple(Sums(row) for row in self.a_extra),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @classmethod
    def textbook(
        cls,
        name: str,
        *,
        order: int,
        c: Row,
        a: Sequence[Row],
        b: Row,
        b_hat: Row = (),
        error_order: int | None = None,
        b_theta: Sequence[Row] = (),
        d: tuple[Row, ...] = (),
        interpolant_order: int | None = None,
        reference: str = "",
    ) -> Tableau:
        r"""Return a method from its table as papers print it.

        A last stage whose row is ``b`` is the derivative at the step's end: the method is "first same as last".

        Parameters
        ----------
        name, order, c, reference
            As above.
        a, b
            The table's rows, up to the diagonal or with the zeros behind it, and the weights of all its stages.
        b_hat
            The embedded method's weights; empty for fixed-step methods.
        error_order
            The order of the embedded method; by default one less than the method's.
        b_theta
            The interpolant :math:`y + h \sum_i b_i(\theta) k_i`: of each stage the coefficients of :math:`\theta`,
            :math:`\theta^2`, ... in :math:`b_i`. By default it is cubic Hermite's.
        d
            The interpolant in the form of this class, where it is published so.
        interpolant_order
            The order of the interpolant; by default that of cubic Hermite's.

        Raises
        ------
        ValueError
            If the table is no explicit method's, or a row of another length than it must have.
        """
        for i, row in enumerate(a):
            _require(not any(row[i:]), name, f"row {i} of a has weights on the diagonal or behind it")
        _require(len(b_hat) in (0, len(b)), name, "b_hat and b differ in length")
        _require(len(b_theta) in (0, len(b)), name, "b_theta and b differ in length")
        rows = tuple(tuple(row[:i]) for i, row in enumerate(a))
        b_err = (tuple(weight - other for weight, other in zip(b, b_hat, strict=True)),) if b_hat else ()
        if rows[-1] == b[:-1] and b[-1] == 0.0 and c[-1] == 1.0:
            c, rows, b = c[:-1], rows[:-1], b[:-1]
        if b_theta:
            _require(not d, name, "b_theta and d are two interpolants")
            d = _beyond_hermite(name, b, [*b_theta, *[()] * (len(b) + 1 - len(b_theta))])
        return cls(
            name=name,
            order=order,
            c=c,
            a=rows,
            b=b,
            b_err=b_err,
            error_order=(order - 1 if error_order is None else error_order) if b_hat else 0,
            d=d,
            interpolant_order=min(order, 3) if interpolant_order is None else interpolant_order,
            reference=reference,
        )

    @property
    def interpolant_terms(self) -> int:
        """How many coefficients the interpolant has beside the state at the step's start."""
        return 3 + len(self.d)


def _require(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise ValueError(f"tableau {name!r}: {what}")


def in_basis(powers: Sequence[Row]) -> tuple[Row, ...]:
    r"""Return polynomials in the basis of interpolants (see :mod:`physode.solvers.interpolation`).

    From rows of coefficients of :math:`\theta, \theta^2, \dots`, one entry a polynomial, to as many rows of those of
    :math:`\varphi_1, \varphi_2, \dots`. As :math:`\varphi_p` is of degree p, the highest is found first.
    """
    basis = [[1.0]]  # of each function the coefficients of theta, theta^2, ...
    for p in range(1, len(powers)):
        last = [*basis[-1], 0.0]
        shifted = [0.0, *basis[-1]]
        basis.append([x - y for x, y in zip(last, shifted, strict=True)] if p % 2 else shifted)
    rows: list[Row] = []  # from the highest degree to the lowest
    for p in reversed(range(len(powers))):
        above = list(zip(reversed(basis[p + 1 :]), rows, strict=True))
        taken = [sum(function[p] * row[j] for function, row in above) for j in range(len(powers[p]))]
        rows.append(tuple((value - other) / basis[p][p] for value, other in zip(powers[p], taken, strict=True)))
    return tuple(reversed(rows))


def _beyond_hermite(name: str, b: Row, b_theta: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows ``d`` of an interpolant that is given by polynomials of all stages and the end's derivative."""
    degree = max(3, *map(len, b_theta))
    powers = list(zip(*((*row, *[0.0] * (degree - len(row))) for row in b_theta), strict=True))
    rows = in_basis(powers)
    weights = (*b, 0.0)
    first, last = [float(j == 0) for j in range(len(weights))], [float(j == len(b)) for j in range(len(weights))]
    hermite = (
        weights,
        [one - w for one, w in zip(first, weights, strict=True)],
        [2 * w - one - other for w, one, other in zip(weights, first, last, strict=True)],
    )
    for row, expected in zip(rows, hermite, strict=False):
        meets = all(abs(x - y) < _PRINTED for x, y in zip(row, expected, strict=True))
        _require(meets, name, "b_theta does not lead to the step's end with the derivatives at both ends")
    return rows[3:]


class Sum(NamedTuple):
    """A row of weights as ``lead * (k[first] + sum_j ratios[j] k[others[j]])``, without weights of 0.

    Of these only ``lead`` is multiplied by the step size: the rest is the same for every step.
    """

    lead: float
    first: int
    others: tuple[int, ...]
    ratios: Row

    @classmethod
    def of(cls, row: Row) -> Sum:
        """Sort a row of weights out."""
        first, *others = (j for j, weight in enumerate(row) if weight != 0.0)
        return cls(row[first], first, tuple(others), tuple(row[j] / row[first] for j in others))


class Sums:
    """Rows of weights, sorted out once for a method; compared by identity, so that looking something up is quick."""

    def __init__(self, *rows: Row) -> None:
        self.each = tuple(Sum.of(row) for row in rows)
        self.leads = tuple(one.lead for one in self.each)
