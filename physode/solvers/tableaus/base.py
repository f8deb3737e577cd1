"""Butcher tableaus: the data of explicit Runge-Kutta methods."""

from __future__ import annotations

from dataclasses import dataclass, field

from physode.solvers.tableaus.sums import Sums

__all__ = ["Tableau"]

Row = tuple[float, ...]
_ROUNDING = 1e-13


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
        sums = {
            "step_sums": Sums(*self.a[1:], self.b),
            "error_sums": Sums(*self.b_err),
            "dense_sums": Sums(*self.d),
            "extra_sums": tuple(Sums(row) for row in self.a_extra),
        }
        for name, value in sums.items():
            object.__setattr__(self, name, value)

    @property
    def stages(self) -> int:
        """The number of stages ``s``."""
        return len(self.b)

    @property
    def adaptive(self) -> bool:
        """Whether the method estimates its local error."""
        return bool(self.b_err)

    @property
    def fsal(self) -> bool:
        """Whether the error estimate needs the derivative at the step's end."""
        return any(len(row) > self.stages for row in self.b_err)

    @property
    def interpolant_terms(self) -> int:
        """How many coefficients the interpolant has beside the state at the step's start."""
        return 3 + len(self.d)


def _require(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise ValueError(f"tableau {name!r}: {what}")
