"""The adaptive loop as one tensor program: attempts run to the end, or to a full record, without the interpreter.

The same pure functions make an attempt here and in :mod:`physode.solvers.driver`; what Python decides there by looking,
``where`` decides here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from physode.compiled.build import Layout
from physode.compiled.capture import Program
from physode.compiled.loops import Loop
from physode.solvers.clock import Number, expand
from physode.solvers.runge_kutta import Rhs, Step, coefficients, take_step
from physode.solvers.step_control import Adaptive, Control, attempt, initial_step, next_step, underflow
from physode.solvers.tableaus import Tableau
from physode.solvers.trace import EVERY_NODE
from physode.status import Status

__all__ = [
    "Clock",
    "Groups",
    "Record",
    "Summary",
    "Walk",
    "advance",
    "begin",
    "grid_walk",
    "rhs_of",
    "summary",
    "walking",
]


Inputs = tuple[Tensor, ...]


class Clock(NamedTuple):
    """Times, one a group: the span's ends, and its low and high end, where the right-hand side's time is held."""

    t0: Tensor
    t1: Tensor
    low: Tensor
    high: Tensor

    def pack(self) -> Tensor:
        """Join in one tensor, ``(4, *groups)``: an input less is a handle less made at every turn of a loop."""
        return torch.stack(self)


class Walk(NamedTuple):
    """What the loop carries, in few tensors, since each costs an allocation an attempt.

    ``counts``: the rows filled and the attempts made. ``groups``: one row for each of :class:`Groups`. ``y``, ``k``:
    the state and its derivative as stored rows.
    """

    counts: Tensor
    groups: Tensor
    y: Tensor
    k: Tensor

    @classmethod
    def fresh(cls, t0: Tensor, y0: Tensor) -> Walk:
        """Return what a solve starts from; :func:`begin` fills in the rest."""
        counts = torch.zeros(2, dtype=torch.int64, device=y0.device)
        return cls(counts, t0.new_zeros(len(Groups._fields), *t0.shape), y0, torch.zeros_like(y0))


class Groups(NamedTuple):
    """Each group's time, controller memory, verdicts and counts, in float64."""

    t: Tensor
    size: Tensor
    error_1: Tensor
    error_2: Tensor
    was_rejected: Tensor
    active: Tensor
    status: Tensor
    ended: Tensor
    accepted: Tensor
    rejected: Tensor

    def pack(self) -> Tensor:
        """Join in one tensor, ``(10, *groups)``."""
        return torch.stack([value.double() for value in self])

    @classmethod
    def unpack(cls, packed: Tensor) -> Groups:
        """Split :meth:`pack`'s tensor; verdicts are booleans again."""
        groups = cls(*packed.unbind(0))
        return groups._replace(was_rejected=groups.was_rejected != 0, active=groups.active != 0)


class Record(NamedTuple):
    """A block of steps as it is filled, one row a step: the clock, and ``(rows, 1 + m, *stored)``, the state at the
    step's start and its interpolant's coefficients, if any.
    """

    starts: Tensor
    sizes: Tensor
    ends: Tensor
    steps: Tensor


def rhs_of(program: Program, clock: Clock, tensors: Sequence[Tensor]) -> Rhs:
    """Return the right-hand side as the solvers call it, its clock in float64 and inside the span."""

    def rhs(t: Tensor, y: Tensor) -> Tensor:
        real = y.real.dtype if y.is_complex() else y.dtype
        return program(torch.clamp(t, clock.low, clock.high).to(real), y, tensors)

    return cast("Rhs", rhs)


def begin(rhs: Rhs, steps: Adaptive, layout: Layout, clock: Clock, y0: Tensor) -> Walk:
    """Return the state before the first attempt."""
    t0, t1 = clock.t0, clock.t1
    y = layout.view(y0)
    k = rhs(t0, y)
    good = torch.isfinite(steps.norm(k))
    if steps.first_step is None:
        size = initial_step(
            rhs,
            t=t0,
            y=y,
            k=k,
            span=t1 - t0,
            order=steps.tableau.error_order,
            rtol=steps.rtol,
            atol=steps.atol,
            norm=steps.norm,
        )
    else:
        size = torch.full_like(t0, steps.first_step).minimum((t1 - t0).abs())
    one, none = torch.ones_like(t0), torch.zeros_like(t0)
    status = torch.where(good, int(Status.SUCCESS), int(Status.NON_FINITE))
    groups = Groups(t0, size, one, one, none, good, status, torch.where(good, t1, t0), none, none)
    return Walk(torch.zeros(2, dtype=torch.int64, device=t0.device), groups.pack(), y0, layout.store(k))


def walking(program: Program, steps: Adaptive, layout: Layout, *, dense: bool) -> Loop:
    """Return the loop that takes attempts until every group has ended, the record is full or none is left.

    Its inputs are ``(fresh, state, record, clock, tensors, rtol, atol, most)``; with ``fresh`` it begins a solve from
    the state's ``y``. It writes into the record, and returns the state to go on from and the :class:`Summary` packed.
    """

    def start(fresh: Tensor, state: Inputs, record: Inputs, clock: Tensor, tensors: Inputs, *bounds: Tensor) -> Inputs:
        rhs, chosen = rhs_of(program, Clock(*clock.unbind(0)), tensors), steps.with_tolerances(*bounds[:2])
        begun = begin(rhs, chosen, layout, Clock(*clock.unbind(0)), state[2])
        return tuple(torch.where(fresh, new, old) for new, old in zip(begun, state, strict=True))

    def goes_on(state: Inputs, *inputs: Any) -> Tensor:
        walk, rows, most = Walk(*state), len(inputs[2][0]) - 1, inputs[-1]
        row, attempts = walk.counts.unbind(0)
        going: Tensor = Groups.unpack(walk.groups).active.any() & (row < rows) & (attempts < most)
        return going

    def once(
        state: Inputs, fresh: Tensor, _: Inputs, record: Inputs, clock: Tensor, tensors: Inputs, *bounds: Tensor
    ) -> Inputs:
        rhs, chosen = rhs_of(program, Clock(*clock.unbind(0)), tensors), steps.with_tolerances(*bounds[:2])
        return advance(rhs, chosen, layout, Clock(*clock.unbind(0)), Record(*record), Walk(*state), dense=dense)

    def finish(state: Inputs, *inputs: Any) -> Inputs:
        return (*state, summary(Walk(*state)))

    return Loop(start, goes_on, once, finish, written=2)


class Summary(NamedTuple):
    """What the host looks at between blocks: rows filled, attempts made, and whether any group goes on, has failed or
    is not finite.
    """

    rows: int
    attempts: int
    active: int
    failed: int
    broken: int


def summary(walk: Walk) -> Tensor:
    """Return the :class:`Summary` as a tensor: one look-up gets it all."""
    groups = Groups.unpack(walk.groups)
    flags = groups.active.any(), (groups.status != 0).any(), ~torch.isfinite(walk.y).all()
    return torch.cat([walk.counts, torch.stack(flags).long()])


def advance(
    rhs: Rhs, steps: Adaptive, layout: Layout, clock: Clock, record: Record, walk: Walk, *, dense: bool
) -> Walk:
    """Make one attempt; groups that reject it, have arrived or have failed stay where they are."""
    groups = Groups.unpack(walk.groups)
    t, active, y, k = groups.t, groups.active, layout.view(walk.y), layout.view(walk.k)
    control = Control(groups.size, groups.error_1, groups.error_2, groups.was_rejected)
    tried, h, t_next = _tensors(*next_step(steps, control, t, clock.t1, active))
    step, k_end, error = attempt(rhs, steps, t, y, h, k, EVERY_NODE)
    accepted = steps.controller.accepts(error, tried) & active
    rejected = active & ~accepted
    judged = steps.controller.next(control, error, tried, accepted, steps.tableau.error_order)
    size, error_1, error_2, was_rejected = _tensors(*judged)

    def select(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(expand(accepted, new.ndim), new, old)

    t_new, y_new, taken = select(t_next, t), select(step.y, y), select(h, torch.zeros_like(h))
    if k_end is None:
        k_end = rhs(t_new, y_new)
    rows = [y]
    if dense:
        rows += coefficients(rhs, steps.tableau, t, y, taken, Step(y_new, step.ks), k_end)
    row = walk.counts[:1]
    for block, value in zip(record, (t, taken, t_new, torch.stack([layout.store(x) for x in rows])), strict=True):
        block.index_copy_(0, row, value.unsqueeze(0))

    active = active & (t_new != clock.t1)
    lost, floor = _tensors(*underflow(steps, tried, rejected, active, t_new, clock.t0, clock.t1))
    why = torch.where(torch.isfinite(error), int(Status.STEP_UNDERFLOW), int(Status.NON_FINITE))
    groups = Groups(
        t=t_new,
        size=torch.where(rejected.any(), torch.maximum(size, floor), size),
        error_1=error_1,
        error_2=error_2,
        was_rejected=was_rejected,
        active=active & ~lost,
        status=torch.where(lost, why, groups.status),
        ended=torch.where(lost, t_new, groups.ended),
        accepted=groups.accepted + accepted,
        rejected=groups.rejected + rejected,
    )
    counts = walk.counts + torch.stack([accepted.any(), torch.ones_like(accepted.any())])
    return Walk(counts, groups.pack(), layout.store(y_new), layout.store(select(k_end, k)))


def _tensors(*numbers: Number) -> tuple[Tensor, ...]:
    """Return what the rules for steps made of tensors, which is tensors again."""
    return cast("tuple[Tensor, ...]", numbers)


def grid_walk(program: Program, tableau: Tableau, layout: Layout, *, dense: bool) -> Loop:
    """Return the loop that takes a block's ``count`` steps, whose clock the record holds.

    Its inputs are ``(count, y, record, clock, tensors)``. It writes states and interpolants into the record, and
    returns the state at the end and whether that is finite.
    """

    def start(count: Tensor, y: Tensor, record: Inputs, clock: Tensor, tensors: Inputs) -> Inputs:
        rhs = rhs_of(program, Clock(*clock.unbind(0)), tensors)
        return torch.zeros_like(count), y.clone(), layout.store(rhs(Record(*record).starts[0], layout.view(y)))

    def goes_on(state: Inputs, count: Tensor, *rest: Any) -> Tensor:
        return state[0] < count

    def once(state: Inputs, count: Tensor, _: Tensor, record: Inputs, clock: Tensor, tensors: Inputs) -> Inputs:
        rhs = rhs_of(program, Clock(*clock.unbind(0)), tensors)
        *times, steps = record
        row = state[0].reshape(1)
        t, h, end = (part.index_select(0, row).squeeze(0) for part in times)
        y, k = (layout.view(part) for part in state[1:])
        step = take_step(rhs, tableau, t, y, h, k)
        k_end = rhs(end, step.y)
        rows = [y]
        if dense:
            rows += coefficients(rhs, tableau, t, y, h, step, k_end)
        steps.index_copy_(0, row, torch.stack([layout.store(x) for x in rows]).unsqueeze(0))
        return state[0] + 1, layout.store(step.y), layout.store(k_end)

    def finish(state: Inputs, *inputs: Any) -> Inputs:
        return state[1], torch.isfinite(state[1]).all()

    return Loop(start, goes_on, once, finish, written=2)
