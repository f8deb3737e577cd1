"""A right-hand side's derivative at a point: what is computed once there, and what again for every direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from physode.fused.differentiation import pushforward
from physode.fused.graph import Graph, Node, Program

__all__ = ["VERDICTS", "Linearisation", "linearise"]

VERDICTS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"})
"""Operations that give a verdict instead of a number."""

_CHEAP = ("constant", "shared")  # had again for less than what keeping them costs


@dataclass(frozen=True)
class Linearisation:
    """The derivatives of dy/dt in any direction at one point.

    Attributes
    ----------
    once
        Nodes in an order of evaluation: dy/dt, and what its derivatives are made of.
    outputs
        Those of dy/dt.
    kept
        Those that are handed on; number ``i`` is the leaf ``("kept", place=i)`` of `each`, or ``"kept verdict"``.
    each
        Nodes in an order of evaluation, of the leaves ``kept``, ``shared``, ``tangent`` (of the state) and ``slot``
        (tangents of numbers).
    tangents
        Those of the derivative.
    shared, sample
        Numbers with tangents, in the order of the leaves ``slot``, first the shared ones.
    """

    once: tuple[Node, ...]
    outputs: tuple[int, ...]
    kept: tuple[int, ...]
    each: tuple[Node, ...]
    tangents: tuple[int, ...]
    shared: tuple[int, ...]
    sample: tuple[int, ...]


def linearise(program: Program, *, shared: Sequence[int] = (), sample: Sequence[int] = ()) -> Linearisation:
    """Return a program's derivatives by the state, by some ``shared`` numbers and some of each ``sample``."""
    pushed = pushforward(program, shared=shared, sample=sample)
    nodes, dimension = pushed.nodes, program.dimension
    moved = _moved(nodes)
    behind = [node for node in range(len(nodes)) if node in moved]
    taken = dict.fromkeys(operand for node in behind for operand in nodes[node].operands)
    taken |= dict.fromkeys(node for node in pushed.tangents if node not in moved)
    handed = [node for node in sorted(taken) if node not in moved]
    kept = [node for node in handed if nodes[node].op not in _CHEAP]
    own = {node: i for i, node in enumerate(sorted([*handed, *behind]))}
    place = {node: i for i, node in enumerate(kept)}

    def leaf(node: int) -> Node:
        if node in place:
            return Node("kept verdict" if nodes[node].op in VERDICTS else "kept", place=place[node])
        if nodes[node].op == "tangent" and nodes[node].place >= dimension:
            return Node("slot", place=nodes[node].place - dimension)
        return nodes[node]._replace(operands=tuple(own[x] for x in nodes[node].operands))

    once = Graph.of(nodes).program([*pushed.outputs, *kept])
    return Linearisation(
        once.nodes, once.outputs[:dimension], once.outputs[dimension:], tuple(leaf(node) for node in own),
        tuple(own[node] for node in pushed.tangents), tuple(shared), tuple(sample),
    )  # fmt: skip


def _moved(nodes: Sequence[Node]) -> frozenset[int]:
    """Return the nodes that depend on a direction."""
    moved: set[int] = set()
    for node, entry in enumerate(nodes):
        if entry.op == "tangent" or any(operand in moved for operand in entry.operands):
            moved.add(node)
    return frozenset(moved)
