r"""Accepted steps once more: the pure step function of a solve, and cotangents carried back through it.

A record holds :math:`(t_i, h_i, y_i)` for each accepted step. The step function
:math:`(y_{i+1}, F_i) = \psi(t_i, y_i, h_i; \theta)` gives the next state and the interpolant's coefficients; every
derivative of a solve is computed from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from physode.problem.dynamics import Dynamics
from physode.problem.problem import Problem
from physode.rhs_state import changed_message
from physode.solvers.clock import Grid, Number
from physode.solvers.method import Method
from physode.solvers.runge_kutta import end_derivative, interpolant, take_step
from physode.status import Status

__all__ = [
    "Cotangents",
    "Gradients",
    "Replay",
    "Steps",
    "add",
    "check_strayed",
    "pull",
    "replayed_with_graph",
    "safe_nodes",
    "strayed",
]

_ROUNDING = {  # of a step's change, between its replay and the solve: kernels and batches differ
    torch.float64: 1e-6, torch.complex128: 1e-6, torch.float32: 1e-3, torch.complex64: 1e-3,
}  # fmt: skip


class Steps(NamedTuple):
    """Successive accepted steps: the states between them, of which the last is not needed, starts and signed sizes.

    ``ends``: where steps ended in the solve, to hold their replays against, as far as that is known.
    """

    nodes: Sequence[Tensor]
    starts: Tensor
    sizes: Tensor
    ends: Mapping[int, Tensor] = MappingProxyType({})


class Cotangents(NamedTuple):
    """dL/d(states) by node and dL/d(interpolant coefficients) by step, of those that outputs read."""

    nodes: Mapping[int, Tensor]
    dense: Mapping[int, Tensor]


class Gradients(NamedTuple):
    """dL/d(starts), dL/d(sizes), dL/d(initial state), dL/d(inputs)."""

    starts: Tensor | None
    sizes: Tensor | None
    state: Tensor
    inputs: list[Tensor | None]


def pull(
    outputs: Tensor | Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor], *, keep: bool
) -> tuple[Tensor | None, ...]:
    """Return the vector-Jacobian products; None for inputs that need none or have no part in the outputs."""
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    if not wanted:
        return (None,) * len(inputs)
    pulled = iter(torch.autograd.grad(outputs, wanted, cotangents, retain_graph=keep, allow_unused=True))
    return tuple(next(pulled) if tensor.requires_grad else None for tensor in inputs)


def add(total: Tensor | None, part: Tensor | None) -> Tensor | None:
    """Return the sum, None standing for zero."""
    if total is None or part is None:
        return part if total is None else total
    return total + part


@dataclass
class Replay:
    """The step function of one solve.

    Attributes
    ----------
    dynamics
        The right-hand side; its ``args`` are the detached copies that derivatives are taken with respect to.
    inputs
        Those copies, then the leaves.
    outside
        Whether leaves act through a graph made before the solve, which must then be kept.
    """

    tableau: Method
    dynamics: Dynamics
    inputs: list[Tensor]
    outside: bool

    @classmethod
    def of(cls, problem: Problem) -> Replay:
        """Make the step function of ``problem`` with detached inputs."""
        dynamics, copies = problem.dynamics.detached(problem.backward)
        return cls(
            problem.tableau,
            dynamics,
            [*copies, *problem.leaves.tensors],
            problem.leaves.outside,
        )

    def step(self, t: Number, y: Tensor, h: Number, *, dense: bool) -> tuple[Tensor, ...]:
        r"""Return :math:`y_{i+1}` and, if ``dense``, the interpolant's coefficients."""
        if self.dynamics.skipping:
            self.dynamics.skip(h != 0)
        step = take_step(self.dynamics, self.tableau, t, y, h)
        if not dense:
            return (step.y,)
        k_end = end_derivative(self.dynamics, t, h, step)
        return step.y, interpolant(self.dynamics, self.tableau, t, y, h, step, k_end)

    def confirm(self, problem: Problem) -> None:
        """Hold derivatives at the start, and at the end where it is known, against those of the solve.

        Raises
        ------
        RuntimeError
            If they differ by more than rounding: for passes back that keep no steps to hold a replay against.
        """
        assert problem.k0 is not None
        marks = [(problem.t[0].detach(), problem.y0.detach(), problem.k0)]
        for t, y, k in marks if problem.last is None else [problem.last, *marks]:
            check_strayed(strayed(self.dynamics(t, y)[None], k[None], torch.zeros_like(k)[None]))


def replayed_with_graph(
    problem: Problem, grid: Grid, y0: Tensor, nodes: Sequence[int], steps: Sequence[int]
) -> tuple[Tensor, Tensor | None]:
    """Return states and interpolants from a replay of the steps that keeps their graph."""
    replay = Replay(
        problem.tableau, replace(problem.dynamics, calls=problem.backward, moving=None, any_order=True), [], True
    )
    wanted = set(steps)
    states, dense = [y0], {}
    for i in range(max([*nodes, *(step + 1 for step in steps)])):
        y, *coefficients = replay.step(grid.starts[i], states[-1], grid.sizes[i], dense=i in wanted)
        states.append(y)
        if coefficients:
            dense[i] = coefficients[0]
    return torch.stack([states[i] for i in nodes]), torch.stack([dense[i] for i in steps]) if wanted else None


def strayed(replayed: Tensor, recorded: Tensor, before: Tensor) -> Tensor:
    """Return how far replayed steps end from where they ended in the solve, in units of what rounding may explain.

    Parameters
    ----------
    found, recorded
        The steps' ends, ``(steps, *state)``.
    before
        Their starts.
    """
    share, eps = _ROUNDING.get(replayed.dtype, 0.1), torch.finfo(replayed.dtype).eps
    axes = tuple(range(1, replayed.ndim))
    change, size = ((part.abs().amax(axes) if axes else part.abs()) for part in (recorded - before, recorded))
    off = (replayed.detach() - recorded).abs()
    return ((off.amax(axes) if axes else off) / (share * change + 64 * eps * size).clamp(min=1e-300)).amax()


def check_strayed(off: Tensor) -> None:
    """Raise where replayed steps do not end where they ended in the solve.

    Raises
    ------
    RuntimeError
        If ``off``, by :func:`strayed`, is more than rounding.
    """
    if float(off) > 1.0:
        raise RuntimeError(changed_message())


def safe_nodes(
    nodes: Sequence[Tensor], status: Tensor, sizes: Tensor, dense: Sequence[Tensor | None] = ()
) -> list[Tensor]:
    """Replace failed samples' states by a good sample's where their steps cannot be replayed.

    A failed sample stands still in the record, perhaps where the right-hand side is not finite; replayed there, its
    NaN would spoil the gradients of what all samples share. The steps that it took before keep their states, so that
    outputs up to its end have their gradients.

    Parameters
    ----------
    nodes
        The states between steps, one more than there are steps.
    status
        Why each group ended.
    sizes
        The steps' sizes, ``(steps, *groups)``.
    dense
        The steps' interpolants, ``(m, *state)``, where they will be replayed.
    """
    failed = status != Status.SUCCESS
    if status.ndim == 0 or not bool(failed.any()):
        return list(nodes)
    finite = [_finite(node) for node in nodes]
    safe = []
    for i, (node, size) in enumerate(zip(nodes, sizes, strict=False)):
        usable = ~failed | ((size != 0) & finite[i] & finite[i + 1])
        if dense and (coefficients := dense[i]) is not None:
            usable &= ~failed | _finite(coefficients.movedim(1, 0))
        if bool(usable.any()):
            good = int(usable.nonzero()[0])
            node = torch.where(usable.reshape(-1, *[1] * (node.ndim - 1)), node, node[good : good + 1])
        safe.append(node)
    return [*safe, *nodes[len(safe) :]]


def _finite(values: Tensor) -> Tensor:
    return torch.isfinite(values).reshape(len(values), -1).all(1)
