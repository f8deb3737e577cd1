"""ACA's backward pass as one tensor program: each accepted step replayed and pulled back, from last to first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from physode.compiled.build import Layout
from physode.compiled.capture import Program
from physode.compiled.forward import Clock, Inputs, rhs_of
from physode.compiled.loops import Loop
from physode.solvers.runge_kutta import coefficients, end_derivative, take_step
from physode.solvers.tableaus import Tableau

__all__ = ["pull_through", "pulling", "pulling_chunks", "step_of"]


def pulling(
    program: Program, tableau: Tableau, layout: Layout, wanted: Sequence[int], *, dense: bool, clock_too: bool
) -> Loop:
    """Return the loop that pulls cotangents back through a block of ``count`` steps.

    Its inputs are ``(count, starts, sizes, nodes, clock, tensors, cotangents, ahead)``. ``wanted`` are the places,
    among the program's further tensors, of those to differentiate with respect to. It returns dL/dy at the block's
    start, with ``clock_too`` dL/d(starts) and dL/d(sizes), and its part of dL/d(wanted).
    """
    step = step_of(program, tableau, wanted, dense=dense)

    def once(
        state: Inputs,
        count: Tensor,
        starts: Tensor,
        sizes: Tensor,
        nodes: Tensor,
        clock: Tensor,
        tensors: Inputs,
        cotangents: Tensor,
        _: Tensor,
    ) -> Inputs:
        left, ahead, *totals = state
        row = (left - 1).clamp(min=0).reshape(1)  # a turn too many, as replays make, changes nothing
        t, h, node, given = (x.index_select(0, row).squeeze(0) for x in (starts, sizes, nodes, cotangents))
        y = layout.view(node)
        chosen = [tensors[place] for place in wanted]
        outputs = tuple(layout.view(part) for part in (ahead, *given[1:].unbind(0)))
        if clock_too:
            back = pull_through(lambda *given: step(clock, tensors, *given), t, h, y, *chosen)
            d_t, d_h, d_y, *parts = back(outputs)
            found = [total.index_copy(0, row, d.unsqueeze(0)) for total, d in zip(totals, (d_t, d_h), strict=False)]
        else:
            back = pull_through(lambda *given: step(clock, tensors, t, h, *given), y, *chosen)
            found = []
            d_y, *parts = back(outputs)
        found += [total + part for total, part in zip(totals[len(found) :], parts, strict=True)]
        return left - 1, layout.store(d_y) + given[0], *found

    return _from_last_to_first(once, wanted, clock_too=clock_too)


def _from_last_to_first(once: Callable[..., Inputs], wanted: Sequence[int], *, clock_too: bool) -> Loop:
    """Return the loop whose turns, ``once``, take the count of steps that are left down to 0."""

    def start(
        count: Tensor, starts: Tensor, sizes: Tensor, nodes: Tensor, clock: Tensor, tensors: Inputs, *cotangents: Tensor
    ) -> Inputs:
        blank = [torch.zeros_like(starts), torch.zeros_like(sizes)] if clock_too else []
        return count.clone(), cotangents[1].clone(), *blank, *(torch.zeros_like(tensors[place]) for place in wanted)

    def goes_on(state: Inputs, *inputs: Any) -> Tensor:
        return state[0] > 0

    def finish(state: Inputs, *inputs: Any) -> Inputs:
        return state[1:]

    return Loop(start, goes_on, once, finish)


def step_of(program: Program, tableau: Tableau, wanted: Sequence[int], *, dense: bool) -> Callable[..., Inputs]:
    """Return ``step(clock, tensors, t, h, y, *chosen)``: the state at a step's end and, if ``dense``, its
    interpolant's coefficients.

    ``chosen`` stand for the ``tensors`` at the places ``wanted``.
    """

    def step(clock: Tensor, tensors: Inputs, t: Tensor, h: Tensor, y: Tensor, *chosen: Tensor) -> Inputs:
        full = list(tensors)
        for place, tensor in zip(wanted, chosen, strict=True):
            full[place] = tensor
        rhs = rhs_of(program, Clock(*clock.unbind(0)), full)
        one = take_step(rhs, tableau, t, y, h)
        if not dense:
            return (one.y,)
        return one.y, *coefficients(rhs, tableau, t, y, h, one, end_derivative(rhs, t, h, one))

    return step


def pull_through(function: Callable[..., Any], *at: Tensor) -> Callable[..., Inputs]:
    """Return the function that pulls cotangents of ``function``'s value back to the inputs that it is evaluated at."""
    found: Any = torch.func.vjp(function, *at)
    return found[1]  # type: ignore[no-any-return]


def pulling_chunks(
    program: Program,
    tableau: Tableau,
    layout: Layout,
    wanted: Sequence[int],
    *,
    dense: bool,
    clock_too: bool,
    chunk: int,
) -> Loop:
    """Return the loop of :func:`~physode.compiled.pullback.pulling`, ``chunk`` steps a turn; for one shared clock."""
    step = step_of(program, tableau, wanted, dense=dense)

    def once(
        state: Inputs,
        count: Tensor,
        starts: Tensor,
        sizes: Tensor,
        nodes: Tensor,
        clock: Tensor,
        tensors: Inputs,
        cotangents: Tensor,
        _: Tensor,
    ) -> Inputs:
        left, ahead, *totals = state
        place = left - chunk + torch.arange(chunk, device=left.device)
        rows, known = place.clamp(min=0), place >= 0
        t, h, y, given = (x.index_select(0, rows) for x in (starts, sizes, nodes, cotangents))
        y, given = layout.view(y, 1), layout.view(given, 2)
        # A step of size 0 is the identity, and without cotangents it adds nothing: it fills the last chunk.
        h = torch.where(known, h, 0.0)
        given = torch.where(known.reshape(-1, *(1,) * (given.ndim - 1)), given, 0.0)
        chosen = [tensors[at] for at in wanted]
        shape, dimension = y.shape[1:], y[0].numel()
        basis = torch.eye(dimension, dtype=y.dtype, device=y.device).reshape(dimension, *shape)

        def derivatives(t: Tensor, h: Tensor, y: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
            back = pull_through(lambda y: step(clock, tensors, t, h, y, *chosen), y)
            if not dense:
                return torch.func.vmap(lambda e: back((e,))[0])(basis), torch.zeros_like(y)
            none = tuple(torch.zeros_like(part) for part in given[1:].unbind(0))
            (through,) = back((torch.zeros_like(y), *given[1:].unbind(0)))
            return torch.func.vmap(lambda e: back((e, *none))[0])(basis), through

        last = -1
        columns = [x.movedim(0, last).contiguous() for x in (y, given)]
        jacobians, through = torch.func.vmap(derivatives, in_dims=(0, 0, last, last), out_dims=0)(t, h, *columns)
        jacobians = jacobians.reshape(chunk, dimension, dimension)
        direct = through.reshape(chunk, dimension) + given[:, 0].reshape(chunk, dimension)
        adjoint = layout.view(ahead).reshape(dimension)
        behind: list[Tensor] = []
        for i in reversed(range(chunk)):
            behind.insert(0, adjoint)
            adjoint = (adjoint.unsqueeze(1) * jacobians[i]).sum(0) + direct[i]
        outputs = torch.stack(behind, -1).reshape(*shape, chunk), *given[:, 1:].movedim(0, last).unbind(0)

        def mapped(t: Tensor, h: Tensor, *chosen: Tensor) -> Inputs:
            one = lambda t, h, y: step(clock, tensors, t, h, y, *chosen)  # noqa: E731
            found: Inputs = torch.func.vmap(one, in_dims=(0, 0, last), out_dims=last)(t, h, columns[0])
            return found

        if clock_too:
            back = pull_through(mapped, t, h, *chosen)
            d_t, d_h, *parts = back(outputs)
            into = torch.where(known, rows, len(starts) - 1)  # the row to spare takes what fills the chunk
            found = [total.index_copy(0, into, d) for total, d in zip(totals, (d_t, d_h), strict=False)]
        elif chosen:
            back = pull_through(lambda *chosen: mapped(t, h, *chosen), *chosen)
            found, parts = [], list(back(outputs))
        else:
            found, parts = [], []
        found += [total + part for total, part in zip(totals[len(found) :], parts, strict=True)]
        return left - chunk, layout.store(adjoint.reshape(shape)), *found

    return _from_last_to_first(once, wanted, clock_too=clock_too)
