"""What the engine asks of a one-step method that is no explicit Runge-Kutta method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from physode.solvers.clock import Number
from physode.solvers.tableaus.base import Tableau

if TYPE_CHECKING:
    from physode.problem.problem import Problem
    from physode.solvers.runge_kutta import Rhs, Step

__all__ = ["Method", "StepMethod"]


class StepMethod(ABC):
    """A one-step method with a step function of its own: implicit, splitting, ...

    It is used as a :class:`~physode.solvers.tableaus.Tableau` is: the loop tries steps and judges their errors, records
    and replays. Its step is a pure function of time, state and step size, one value a group, and of what the right-hand
    side depends on; a step of size 0 is the identity. Where a step cannot be found, as when Newton's method does not
    converge, its result is NaN in that group: the attempt is rejected.

    Attributes
    ----------
    name, order, error_order, reference, interpolant_order
        As a tableau's.
    adaptive
        Whether it estimates its local error.
    fsal
        Whether that estimate needs the derivative at the step's end.
    stages
        Evaluations of the right-hand side in a step, about: memory is planned by it.
    symmetric
        Whether a step of size -h from a step's end leads back to its start: solves can be run backwards.
    backward
        The method of the adjoint's backward solve, where this one does not take its state; None for itself.
    """

    name: str
    order: int
    error_order: int = 0
    interpolant_order: int = 3
    reference: str = ""
    adaptive: bool = False
    fsal: bool = False
    stages: int = 1
    c_extra: tuple[float, ...] = ()
    symmetric: bool = False
    backward: str | None = None

    def posed(self, problem: Problem) -> Problem:
        """Return the problem as the method solves it; raise where it cannot."""
        return problem

    @abstractmethod
    def take(self, rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step, whose first slope is the derivative at its start."""

    def prepared(self, *, rtol: Tensor | float | None, atol: Tensor | float | None) -> StepMethod:
        """Return the method made ready for one solve with these tolerances, None where its steps are given."""
        del rtol, atol
        return self

    def attempts(self) -> dict[str, int]:
        """Return the attempts so far by each method that this one is made of; empty where it is one."""
        return {}

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor] | None:
        """Return the interpolant's coefficients, as :mod:`physode.solvers.interpolation` has them; None for Hermite's.

        Hermite's cubic takes the derivatives at both ends; where a problem is stiff these magnify a state's error, so
        that implicit methods have interpolants of their own, made of what :meth:`take` has found.
        """
        del y, step
        return None

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the estimates of the local error from the slopes of :meth:`take`, and the end's derivative if fsal."""
        raise NotImplementedError(f"{self.name} estimates no error")


Method = Tableau | StepMethod
"""Either kind."""
