"""Steps pulled back one by one: one graph at a time, of a replay or kept from the forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.gradients.kept import Kept
from physode.gradients.pulling import Cotangents, Gradients, Steps, add, pull
from physode.gradients.replay import Replay, check_strayed, strayed
from physode.leaves import check_no_new_leaf

__all__ = ["pull_one_by_one"]

_LOOKS = 16  # steps, about, whose replay is held against the record


def pull_one_by_one(
    replay: Replay,
    steps: Steps,
    given: Cotangents,
    totals: list[Tensor | None],
    *,
    clock_too: bool,
    kept: Kept | None = None,
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
