r"""ACA's backward pass for small states: the steps of a chunk are replayed and differentiated at once.

The states :math:`y_i` are known, so nothing but the adjoint recurrence is sequential. For each step of a chunk the
Jacobian :math:`\partial \psi_i / \partial y_i` comes from one batched pull-back; the recurrence

.. math::
    \lambda_i = J_i^\top \lambda_{i+1} + \big(\partial F_i / \partial y_i\big)^\top g_i + \partial L / \partial y_i

is a chain of small products, and one more batched pull-back gives the gradients in the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from physode.compiled.capture import Program
from physode.compiled.forward import Inputs
from physode.compiled.layout import Layout
from physode.compiled.loops import Loop
from physode.compiled.pullback import pull_through, step_of
from physode.solvers.tableaus import Tableau

__all__ = ["pulling_chunks"]


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

    def start(
        count: Tensor, starts: Tensor, sizes: Tensor, nodes: Tensor, clock: Tensor, tensors: Inputs, *cotangents: Tensor
    ) -> Inputs:
        blank = [torch.zeros_like(starts), torch.zeros_like(sizes)] if clock_too else []
        return count.clone(), cotangents[1].clone(), *blank, *(torch.zeros_like(tensors[place]) for place in wanted)

    def goes_on(state: Inputs, *inputs: Any) -> Tensor:
        return state[0] > 0

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

    def finish(state: Inputs, *inputs: Any) -> Inputs:
        return state[1:]

    return Loop(start, goes_on, once, finish)
