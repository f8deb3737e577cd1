"""Which tensors a right-hand side depends on, found from the graph of one evaluation.

A module's registered parameters are not enough: parameters kept in lists, closures or other modules would lose their
gradients without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["NOTHING", "Leaves", "check_no_new_leaf", "find_leaves", "graph_clock"]


class Leaves(NamedTuple):
    """What a right-hand side depends on.

    ``tensors``: the leaves that require gradients, and tensors made before the solve, by a network that makes weights,
    say, where an evaluation's own graph begins. ``outside``: whether some act through operations done before the solve
    that could not be told apart, whose graph every evaluation shares.
    """

    tensors: tuple[Tensor, ...]
    outside: bool


NOTHING = Leaves((), False)
"""A right-hand side without parameters."""


def graph_clock() -> int:
    """Return a number that every graph node made later exceeds."""
    with torch.enable_grad():
        node = torch.zeros((), requires_grad=True).clone().grad_fn
    assert node is not None
    return int(node._sequence_nr())


def find_leaves(
    value: Tensor, referred: Sequence[Tensor], known: Sequence[Tensor], joints: Sequence[Tensor], since: int
) -> Leaves:
    """Find what an evaluation depends on beside its inputs.

    Parameters
    ----------
    value
        The evaluation's result, with its graph.
    referred
        Leaves that the right-hand side refers to; they are added, used here or not, since another time may use them.
    known
        The inputs that the evaluation was made with: not leaves of ``f``.
    joints
        Tensors made before the evaluation, where its own graph begins.
    since
        :func:`graph_clock` before the evaluation.
    """
    skip = {id(tensor) for tensor in known}
    joints = [tensor for tensor in joints if id(tensor) not in skip]
    found, outside = _walk(value, since, [*known, *joints])
    leaves = {id(leaf): leaf for leaf in [*referred, *found] if id(leaf) not in skip}
    return Leaves(tuple(leaves.values()), outside)


def check_no_new_leaf(values: Iterable[Tensor], known: Sequence[Tensor]) -> None:
    """Raise if a replayed step depends on a leaf that the first evaluation did not show.

    Raises
    ------
    RuntimeError
        Rather than lose the leaf's gradient.
    """
    names = {id(tensor) for tensor in known}
    for value in values:
        for leaf in _walk(value, 0, known)[0]:
            if id(leaf) not in names:
                raise RuntimeError(
                    f"the right-hand side uses a tensor of shape {tuple(leaf.shape)} that requires gradients but that "
                    "its evaluation at the start did not use: register it as a parameter of the module or pass it in "
                    "`args`; where the right-hand side switches at a known time, name that in `jump_t`"
                )


def _walk(value: Tensor, since: int, ends: Sequence[Tensor]) -> tuple[list[Tensor], bool]:
    """Return the leaves and those of the ``ends`` that a graph leads to, and whether it leads behind ``since``."""
    leaves: list[Tensor] = []
    outside = False
    if value.grad_fn is None:
        return ([value] if value.requires_grad else []), False
    stops = {(end.grad_fn, end.output_nr): end for end in ends if end.grad_fn is not None}
    edges: list[tuple[Any, int]] = [(value.grad_fn, value.output_nr)]
    seen = set(edges)
    while edges:
        edge = edges.pop()
        node = edge[0]
        if edge in stops:
            leaves.append(stops[edge])
            continue
        variable = getattr(node, "variable", None)
        if variable is not None:
            leaves.append(variable)
            continue
        outside = outside or int(node._sequence_nr()) < since
        for parent in node.next_functions:
            if parent[0] is not None and parent not in seen:
                seen.add(parent)
                edges.append(parent)
    return leaves, outside
