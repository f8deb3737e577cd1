"""Which tensors a right-hand side depends on, found from the graph of one evaluation.

A module's registered parameters are not enough: parameters kept in lists, closures or other modules would lose their
gradients without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.modules import modules_of

__all__ = ["NOTHING", "Leaves", "check_no_new_leaf", "find_leaves", "graph_clock"]


class Leaves(NamedTuple):
    """What a right-hand side depends on.

    ``tensors``: the leaves that require gradients. ``outside``: whether they act through operations done before the
    solve (a network that makes the weights, say), whose graph every evaluation shares.
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


def find_leaves(value: Tensor, f: Callable[..., Any], known: Sequence[Tensor], since: int) -> Leaves:
    """Find what an evaluation depends on beside its inputs.

    Parameters
    ----------
    value
        The evaluation's result, with its graph.
    f
        The right-hand side; parameters of the modules it calls upon are added, used here or not, since another time
        may use them.
    known
        The inputs that the evaluation was made with: not leaves of ``f``.
    since
        :func:`graph_clock` before the evaluation.
    """
    found, outside = _walk(value, since)
    registered = [p for module in modules_of(f) for p in module.parameters() if p.requires_grad]
    skip = {id(tensor) for tensor in known}
    leaves = {id(leaf): leaf for leaf in [*registered, *found] if id(leaf) not in skip}
    return Leaves(tuple(leaves.values()), outside)


def check_no_new_leaf(values: Iterable[Tensor], known: Iterable[Tensor]) -> None:
    """Raise if a replayed step depends on a leaf that the first evaluation did not show.

    Raises
    ------
    RuntimeError
        Rather than lose the leaf's gradient.
    """
    names = {id(tensor) for tensor in known}
    for value in values:
        for leaf in _walk(value, 0)[0]:
            if id(leaf) not in names:
                raise RuntimeError(
                    f"the right-hand side uses a tensor of shape {tuple(leaf.shape)} that requires gradients but that "
                    "its evaluation at the start did not use: register it as a parameter of the module, pass it in "
                    "`args`, or use gradient='naive'"
                )


def _walk(value: Tensor, since: int) -> tuple[list[Tensor], bool]:
    leaves: list[Tensor] = []
    outside = False
    if value.grad_fn is None:
        return ([value] if value.requires_grad else []), False
    seen, stack = {value.grad_fn}, [value.grad_fn]
    while stack:
        node = stack.pop()
        variable = getattr(node, "variable", None)
        if variable is not None:
            leaves.append(variable)
            continue
        outside = outside or int(node._sequence_nr()) < since
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return leaves, outside
