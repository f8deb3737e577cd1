"""Steps pulled back one by one: one graph at a time, of a replay or kept from the forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from physode.gradients.kept_graphs import KeptGraphs
from physode.gradients.replay import Replay, check_strayed, strayed
from physode.gradients.vjp import Cotangents, Gradients, Steps, add, pull
from physode.problem.parameters import check_no_new_leaf

__all__ = ["pull_back_in_parallel", "pull_back_sequentially"]


_LOOKS = 16  # steps, about, whose replay is held against the record


def pull_back_sequentially(
    replay: Replay,
    steps: Steps,
    given: Cotangents,
    totals: list[Tensor | None],
    *,
    clock_too: bool,
    kept: KeptGraphs | None = None,
) -> Gradients:
    """Go from the last step to the first, replaying each down to those kept: one graph a step, dropped at once.

    Parameters
    ----------
    given
        What outputs ask of the states and interpolants.
    totals
        dL/d(inputs) by later steps.
    clock_too
        Whether gradients in the steps' starts and sizes are asked for.
    kept
        The graphs of the first steps, where they were kept.
    """
    nodes, starts, sizes, ends = steps
    count = len(starts)
    d_starts, d_sizes = torch.zeros_like(starts), torch.zeros_like(sizes)
    state = given.nodes.get(count)
    off, looked_at = torch.zeros((), dtype=torch.float64, device=starts.device), max(1, count // _LOOKS)
    for i in reversed(range(0 if kept is None else len(kept), count)):
        dense = given.dense.get(i)
        if state is not None or dense is not None:
            y = nodes[i].detach().requires_grad_()
            t, h = (part[i].detach().requires_grad_(clock_too) for part in (starts, sizes))
            with torch.enable_grad():
                replayed = replay.step(t, y, h, dense=dense is not None)
            check_no_new_leaf(replayed, [y, t, h, *replay.inputs])
            if i in ends and (count - 1 - i) % looked_at == 0:
                off = torch.maximum(off, strayed(replayed[0][None], ends[i][None], y.detach()[None]))
            ahead = torch.zeros_like(y) if state is None else state
            state, d_t, d_h, *inputs = pull(
                replayed,
                [y, t, h, *replay.inputs],
                [ahead] if dense is None else [ahead, dense],
                keep=replay.outside,
            )
            totals = [add(total, part) for total, part in zip(totals, inputs, strict=True)]
            if d_t is not None:
                d_starts[i] = d_t
            if d_h is not None:
                d_sizes[i] = d_h
        state = add(state, given.nodes.get(i))
    check_strayed(off)
    if kept is not None:
        state, totals = kept.pull_back(state, given, totals)
    first = torch.zeros_like(nodes[0]) if state is None else state
    return Gradients(d_starts, d_sizes, first, totals)


_CHUNK_ELEMENTS = 2**26  # of intermediate results that a batch of steps may hold at a time


def pull_back_in_parallel(
    replay: Replay, steps: Steps, given: Cotangents, totals: list[Tensor | None], *, clock_too: bool
) -> Gradients:
    """Replay a chunk of steps in one batched evaluation; chunks go from the last to the first.

    Parameters as of :func:`~physode.gradients.backward.pull_back_sequentially`.

    Raises
    ------
    RuntimeError
        If the right-hand side cannot be mapped over steps.
    """
    nodes, starts, sizes, ends = steps
    count = len(starts)
    d_starts, d_sizes = torch.zeros_like(starts), torch.zeros_like(sizes)
    state = given.nodes.get(count, torch.zeros_like(nodes[0]))
    off = torch.zeros((), dtype=torch.float64, device=starts.device)
    chunk = _chunk_length(replay, nodes[0], starts.ndim == 2)
    for end in range(count, 0, -chunk):
        rows = range(max(0, end - chunk), end)
        y = torch.stack([nodes[i] for i in rows]).detach().requires_grad_()
        t, h = (part[rows.start : rows.stop].detach().requires_grad_(clock_too) for part in (starts, sizes))
        with_dense = any(i in given.dense for i in rows)
        with torch.enable_grad():
            replayed = torch.func.vmap(lambda t, y, h: replay.step(t, y, h, dense=with_dense))(t, y, h)  # noqa: B023
        if end == count:
            check_no_new_leaf(replayed, [y, t, h, *replay.inputs])
        known = [i for i in rows if i in ends]
        if known:
            place = torch.tensor([i - rows.start for i in known], device=y.device)
            recorded, begun = torch.stack([ends[i] for i in known]), y.detach().index_select(0, place)
            off = torch.maximum(off, strayed(replayed[0].index_select(0, place), recorded, begun))
        jacobians = _jacobians(replayed[0], y, per_sample=starts.ndim == 2)
        arriving = _rows(given.nodes, rows, like=nodes[0])
        dense = []
        if with_dense:
            dense = [_rows(given.dense, rows, like=replayed[1][0])]
            (through_dense,) = pull(replayed[1:], [y], dense, keep=True)
            arriving = arriving if through_dense is None else arriving + through_dense
        ahead = _recur(state, jacobians, arriving)
        state = ahead[0]
        cotangents = [ahead[1:], *dense]
        d_t, d_h, *inputs = pull(replayed, [t, h, *replay.inputs], cotangents, keep=replay.outside)
        totals = [add(total, part) for total, part in zip(totals, inputs, strict=True)]
        if d_t is not None:
            d_starts[rows.start : rows.stop] = d_t
        if d_h is not None:
            d_sizes[rows.start : rows.stop] = d_h
    check_strayed(off)
    return Gradients(d_starts, d_sizes, state, totals)


def _jacobians(y_end: Tensor, y: Tensor, *, per_sample: bool) -> Tensor:
    """Return d(y_end)/dy of each step and group, ``(steps, groups, out, in)``, by one pull-back a component."""
    lead = 1 + int(per_sample)
    state = y.shape[lead:]
    dimension = state.numel()
    basis = torch.eye(dimension, dtype=y.dtype, device=y.device)
    basis = basis.reshape(dimension, *(1,) * lead, *state).expand(dimension, *y.shape)
    (pulled,) = torch.autograd.grad(y_end, y, basis, retain_graph=True, is_grads_batched=True)
    rows = pulled.reshape(dimension, len(y), -1, dimension)
    return rows.permute(1, 2, 0, 3).contiguous()


def _rows(given: Mapping[int, Tensor], rows: Iterable[int], like: Tensor) -> Tensor:
    """Stack what is given for some rows, zeros for those without."""
    blank = torch.zeros_like(like)
    return torch.stack([given.get(i, blank) for i in rows])


def _recur(state: Tensor, jacobians: Tensor, arriving: Tensor) -> Tensor:
    """Run the adjoint recurrence backwards over a chunk; return dL/dy at its ``steps + 1`` nodes.

    ``state`` is dL/dy at the last node, ``arriving`` what reaches each node before it from elsewhere.
    """
    shape = (jacobians.shape[1], 1, jacobians.shape[2])
    adjoint = state.reshape(shape)
    found = [adjoint]
    parts = arriving.reshape(-1, *shape)
    for jacobian, part in zip(reversed(jacobians.unbind(0)), reversed(parts.unbind(0)), strict=True):
        adjoint = torch.baddbmm(part, adjoint, jacobian)
        found.append(adjoint)
    return torch.stack(found[::-1]).reshape(-1, *state.shape)


def _chunk_length(replay: Replay, node: Tensor, per_sample: bool) -> int:
    """Return how many steps fit the memory: a step's graph, pulled back once for each component."""
    dimension = node[0].numel() if per_sample else node.numel()
    operations = 40 * (replay.tableau.stages + len(replay.tableau.c_extra))
    return max(1, _CHUNK_ELEMENTS // max(1, node.numel() * (operations + 4 * dimension * replay.tableau.stages)))
