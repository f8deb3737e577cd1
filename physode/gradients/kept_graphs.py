r"""Graphs of accepted steps, kept from the forward pass for the backward pass.

A step is a map of the state and the derivative at its start,

.. math::
    (y_{i+1}, k_{i+1}, F_i) = \Psi(y_i, k_i; \theta), \qquad k_0 = f(t_0, y_0; \theta),

with :math:`k_{i+1} = f(t_{i+1}, y_{i+1})` and the interpolant's coefficients :math:`F_i`. Each attempt starts at leaves
of its own, so that its graph holds nothing of the steps before it and goes with it when it is rejected. With
:math:`\lambda_i = dL/dy_i` and :math:`\mu_i = dL/dk_i`, one pull-back a step, from the last to the first, gives

.. math::
    (\lambda_i, \mu_i) = \Big(\frac{\partial \Psi_i}{\partial (y_i, k_i)}\Big)^{\!\top}
    \Big(\lambda_{i+1}, \mu_{i+1}, \frac{\partial L}{\partial F_i}\Big)
    + \Big(\frac{\partial L}{\partial y_i}, 0\Big)

and, summed over steps, :math:`dL/d\theta`. A derivative that two steps share has one graph, in the step that it ends:
nothing is evaluated twice.

The first steps are kept, until the budget is spent; the later ones are replayed from their states, which the backward
pass does first. So nothing recorded is thrown away, and the forward pass stops recording when it stops keeping.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node

from physode.gradients.replay import Cotangents, add, pull
from physode.problem.evaluation import check_no_new_leaf, graph_clock
from physode.problem.problem import Problem
from physode.solvers.clock import Number, Verdict, all_finite, expand
from physode.solvers.driver import Plan, forward
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs, Step
from physode.solvers.trace import End, NodeStore, Trace

__all__ = ["KeptGraphs", "free_bytes", "room_for_graphs", "saved_bytes"]


_NODES = 2**12  # bytes of an evaluation's graph apart from the tensors that it saves


class _Start(NamedTuple):
    """The leaves that an attempt starts at."""

    y: Tensor
    k: Tensor | None


class KeptGraphs(NodeStore):
    """Takes the steps of a solve, and keeps the graphs of the accepted ones within a budget.

    With a clock a sample, one whose attempt is rejected, or that has arrived, stands still: it passes through a step.

    What the first evaluation saves for its gradient is taken for what every evaluation saves.

    Parameters
    ----------
    problem
        Not started yet: its first evaluation is made here, with a graph.
    budget
        Bytes that graphs may take; None for a quarter of what is free.

    Attributes
    ----------
    problem
        The problem, started.
    cost
        The bytes that a step's graph counts for.
    """

    defers = False

    def __init__(self, problem: Problem, budget: int | None) -> None:
        self._dynamics, copies = problem.dynamics.detached(problem.dynamics.calls)
        self._y0 = problem.y0.detach().requires_grad_()
        since = graph_clock()
        self.problem, first = problem.started_by(self._dynamics, copies, self._y0)
        self._k0: Tensor | None = first
        self._inputs = [*copies, *self.problem.leaves.tensors]
        state = self._y0.numel() * self._y0.element_size()
        evaluations = problem.tableau.stages + len(problem.tableau.c_extra)
        self.cost = evaluations * (_NODES + state + saved_bytes(first, since))
        self._room = room_for_graphs(self._y0.device) if budget is None else budget
        self._start: _Start | None = None
        self._tried = self._y0  # what the last attempt would make of it
        self._steps: list[tuple[_Start, End]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def forward(self, plan: Plan) -> Trace:
        """Take the problem's steps; the record has no graph."""
        record = forward(self.problem, plan, dynamics=self._dynamics, store=self)
        self._tried = self._y0
        if not self._steps:
            self._k0 = None
        return record

    def take(
        self, rhs: Rhs, tableau: Method, t: Number, y: Tensor, h: Number, k: Tensor | None, *, with_end: bool
    ) -> tuple[Step, Tensor | None]:
        """Try a step, from leaves while there is room for its graph."""
        self._start = None
        if self._room < self.cost:
            return super().take(rhs, tableau, t, y, h, k, with_end=with_end)
        self._start = _Start(y.detach().requires_grad_(), None if k is None else k.detach().requires_grad_())
        with torch.enable_grad():
            tried = super().take(rhs, tableau, t, self._start.y, h, self._start.k, with_end=with_end)
        self._tried = tried[0].y
        return tried

    def finish(
        self,
        rhs: Rhs,
        tableau: Method,
        t: Number,
        y: Tensor,
        h: Number,
        t_end: Number,
        step: Step,
        k_end: Tensor | None,
        *,
        with_end: bool,
        dense: bool,
    ) -> End:
        """Finish a step and keep its graph; the loop goes on without it."""
        if self._start is None:
            return super().finish(rhs, tableau, t, y, h, t_end, step, k_end, with_end=with_end, dense=dense)
        start, moved = self._start, _some(h != 0)
        if moved is not None and not all_finite(torch.stack([k.detach().sum() for k in step.ks])):
            self._room = 0  # a rejected sample's NaN would spoil the others' gradients: replays leave it out
            return super().finish(rhs, tableau, t, y, h, t_end, step, k_end, with_end=with_end, dense=dense)
        with torch.enable_grad():
            step = Step(self._tried, step.ks)
            if moved is not None:
                step = Step(_where(moved, self._tried, start.y), step.ks)
            end = super().finish(rhs, tableau, t, start.y, h, t_end, step, k_end, with_end=with_end, dense=dense)
            if moved is not None and end.k is not None and start.k is not None:
                end = end._replace(k=_where(moved, end.k, start.k))
        self._steps.append((start, end))
        self._room -= self.cost
        return End(end.y.detach(), _detached(end.k), _detached(end.dense))

    def pull_back(
        self, state: Tensor | None, given: Cotangents, totals: list[Tensor | None]
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        """Pull back through the kept steps, each let go at once.

        Parameters
        ----------
        state
            dL/dy where the kept steps end.
        given
            What outputs ask of the states and interpolants.
        totals
            dL/d(inputs) by the later steps.

        Returns
        -------
        tuple
            dL/dy0 and dL/d(inputs).
        """
        steps, self._steps = self._steps, []  # a second backward pass replays them
        slope: Tensor | None = None
        while steps:
            start, end = steps.pop()
            cotangents = (state, slope, given.dense.get(len(steps)))
            state, slope, totals = self._pull(end, cotangents, start, totals)
            state = add(state, given.nodes.get(len(steps)))
        before, _, totals = self._pull((self._k0,), (slope,), _Start(self._y0, None), totals)
        self._k0 = None
        return add(state, before), totals

    def _pull(
        self,
        outputs: Sequence[Tensor | None],
        cotangents: Sequence[Tensor | None],
        start: _Start,
        totals: list[Tensor | None],
    ) -> tuple[Tensor | None, Tensor | None, list[Tensor | None]]:
        """Pull back through one graph; return dL/dy and dL/dk at its start, and what dL/d(inputs) then is."""
        pairs = zip(outputs, cotangents, strict=True)
        asked = [(value, ahead) for value, ahead in pairs if value is not None and ahead is not None]
        asked = [(value, ahead) for value, ahead in asked if value.requires_grad]
        if not asked:
            return None, None, totals
        values, aheads = zip(*asked, strict=True)
        inputs = [start.y, start.y.new_empty(0) if start.k is None else start.k, *self._inputs]
        check_no_new_leaf(values, inputs)
        state, slope, *parts = pull(values, inputs, aheads, keep=self.problem.leaves.outside)
        return state, slope, [add(total, part) for total, part in zip(totals, parts, strict=True)]


def _where(moved: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Take the new where a sample moved; one that stood still is what it was, gradients included."""
    return torch.where(expand(moved, new.ndim), new, old)


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()


_SHARE = 0.25
_CGROUP = Path("/sys/fs/cgroup")


def saved_bytes(value: Tensor, since: int) -> int:
    """Return what the graph of ``value`` holds, each storage once; leaves that ask for gradients do not count.

    Only operations made after ``since`` count, a :func:`graph_clock`. The graph is read, not
    watched while it is made: hooks on what autograd saves would not let a right-hand side use ``torch.func``.
    """
    storages: dict[int, int] = {}
    seen, stack = set(), [value.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen or node._sequence_nr() < since:
            continue
        seen.add(node)
        stack += [parent for parent, _ in node.next_functions]
        for tensor in _saved(node):
            origin = tensor if tensor._base is None else tensor._base
            if not (origin.is_leaf and origin.requires_grad):
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _some(moved: Verdict) -> Tensor | None:
    """Return which samples moved; None where all did, or share their clock."""
    return moved if isinstance(moved, Tensor) and moved.ndim and not bool(moved.all()) else None


def _saved(node: Node) -> Iterator[Tensor]:
    for name in _names(type(node)):
        with suppress(RuntimeError):  # changed in place since, which the backward pass has to judge
            saved = getattr(node, name)
            yield from (
                part for part in (saved if isinstance(saved, (list, tuple)) else [saved]) if isinstance(part, Tensor)
            )


@lru_cache(maxsize=256)
def _names(kind: type) -> tuple[str, ...]:
    """Return the attributes by which an operation of the graph shows what it saved."""
    return tuple(name for name in dir(kind) if name.startswith("_saved_") or name == "saved_tensors")


def room_for_graphs(device: torch.device) -> int:
    """Return the bytes that graphs may take where nobody says how many: a quarter of what is free."""
    return int(_SHARE * free_bytes(device))


def free_bytes(device: torch.device) -> int:
    """Return how much memory the device can still give; for the CPU, as the machine and the control group have it."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return min(_free_on_machine(), _free_in_group())


def _free_on_machine() -> int:
    with suppress(OSError, KeyError):
        return _table(Path("/proc/meminfo"))["MemAvailable:"] * 1024
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**19
    return pages * 4096 // 2


def _free_in_group() -> int:
    """Return what is left of the control group's limit; caches of files count as free."""
    with suppress(OSError, ValueError, KeyError):
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        return max(0, limit - used + _table(_CGROUP / "memory.stat")["inactive_file"])
    return 2**62


def _table(file: Path) -> dict[str, int]:
    rows = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return {row[0]: int(row[1]) for row in rows}
