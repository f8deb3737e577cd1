"""A right-hand side's derivative at a point: what is computed once there, and what again for every direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from physode.fused.differentiation import pushforward
from physode.fused.graph import Graph, Node, Program

__all__ = ["TangentMap", "tangent_map"]

_VERDICTS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"})
_CHEAP = ("constant", "shared")  # had again for less than what keeping them costs


@dataclass(frozen=True)
class TangentMap:
    """The derivatives of dy/dt in any direction at one point.

    Attributes
    ----------
    once
        Nodes in an order of evaluation: dy/dt, and what its derivatives are made of.
    outputs
        Those of dy/dt.
    kept
        Those that are handed on; number ``i`` is the leaf ``("kept", place=i)`` of `each`. Verdicts are 1 and 0.
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


def tangent_map(program: Program, *, shared: Sequence[int] = (), sample: Sequence[int] = ()) -> TangentMap:
    """Return a program's derivatives by the state, by some ``shared`` numbers and some of each ``sample``."""
    pushed = pushforward(program, shared=shared, sample=sample)
    nodes, dimension = pushed.nodes, program.dimension
    moved = _moved(nodes)
    taken = {operand for node in moved for operand in nodes[node].operands} | set(pushed.tangents)
    graph = Graph.of(nodes)
    one, zero = graph.constant(1.0), graph.constant(0.0)
    kept: list[int] = []
    each = Graph()
    own: dict[int, int] = {}
    for node in sorted(taken | moved):
        entry = nodes[node]
        if entry.op == "tangent" and entry.place >= dimension:
            own[node] = each.leaf("slot", entry.place - dimension)
        elif node in moved or entry.op in _CHEAP:
            own[node] = each.copied(entry, [own[operand] for operand in entry.operands])
        else:
            verdict = entry.op in _VERDICTS
            leaf = each.leaf("kept", len(kept))
            kept.append(graph.apply("where", node, one, zero) if verdict else node)
            own[node] = each.apply("ne", leaf, each.constant(0.0)) if verdict else leaf
    once = graph.program([*pushed.outputs, *kept])
    return TangentMap(
        once.nodes, once.outputs[:dimension], once.outputs[dimension:], tuple(each.nodes),
        tuple(own[node] for node in pushed.tangents), tuple(shared), tuple(sample),
    )  # fmt: skip


def _moved(nodes: Sequence[Node]) -> frozenset[int]:
    """Return the nodes that depend on a direction."""
    moved: set[int] = set()
    for node, entry in enumerate(nodes):
        if entry.op == "tangent" or any(operand in moved for operand in entry.operands):
            moved.add(node)
    return frozenset(moved)
