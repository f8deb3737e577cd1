"""Loops found again in straight lines: nodes that do the same to successive elements become one array.

A program of scalars is what differentiation and simplification work on; a network's layers are thousands of such lines,
which compilers take minutes over. Nodes of one operation are an array where their operands are, in step, elements of
arrays or the same scalar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from physode.fused.graph import Node

__all__ = ["Array", "Element", "rolled"]

_SHORTEST = 8  # elements of an array
_MEMORY = ("state", "sample", "cotangent", "tangent", "slot", "kept", "shared")  # leaves that lie in arrays as they are


class Element(NamedTuple):
    """A number's place: the array of a node, or of a kind of leaf, and which element it is."""

    array: int | str
    place: int


@dataclass(frozen=True)
class Array:
    """Nodes computed in one loop.

    Attributes
    ----------
    nodes
        In the order of the elements.
    first
        The first of them, by which the array is known.
    """

    nodes: tuple[int, ...]

    @property
    def first(self) -> int:
        """The node that the array is known by."""
        return self.nodes[0]


@dataclass
class _Classes:
    """Nodes sorted by what they do, whatever the element that they do it to."""

    nodes: Sequence[Node]
    numbers: dict[object, int] = field(default_factory=dict)
    members: dict[int, dict[int, int]] = field(default_factory=dict)
    places: dict[int, tuple[int, int] | None] = field(default_factory=dict)

    def enter(self, number: int) -> None:
        """Find the class of a node and its place in it; of a scalar there is none."""
        node = self.nodes[number]
        if node.op in _MEMORY or node.op == "element":
            key: object = (node.op, node.operands)
            place = node.place
        else:
            operands = [self.places[operand] for operand in node.operands]
            first = next((entry for entry in operands if entry is not None), None)
            if node.op in ("constant", "time", "matvec") or first is None:
                self.places[number] = None
                return
            place = first[1]
            key = node.op, tuple(
                ("scalar", operand) if entry is None else (entry[0], entry[1] - place)
                for operand, entry in zip(node.operands, operands, strict=True)
            )  # fmt: skip
        kind = self.numbers.setdefault(key, len(self.numbers))
        members = self.members.setdefault(kind, {})
        members.setdefault(place, number)
        self.places[number] = kind, place


def rolled(nodes: Sequence[Node], used: Sequence[int]) -> tuple[list[int | Array], dict[int, Element]]:
    """Return what is to be computed of the nodes ``used``, in an order of evaluation, and where numbers in arrays lie.

    Scalars and matrix products are given by their nodes' numbers; leaves that lie in memory and the elements of
    products are not computed.
    """
    classes = _Classes(nodes)
    for number in used:
        classes.enter(number)
    homes: dict[int, Element] = {}
    arrays: dict[int, Array] = {}
    for number in used:
        node = nodes[number]
        if node.op in _MEMORY:
            homes[number] = Element(node.op, node.place)
        elif node.op == "element":
            homes[number] = Element(node.operands[0], node.place)
    for members in classes.members.values():
        for run in _runs(members):
            if nodes[run[0]].op in _MEMORY or nodes[run[0]].op == "element":
                continue
            if len(run) >= _SHORTEST and _in_step(nodes, run, homes):
                arrays[run[0]] = Array(tuple(run))
                homes |= {number: Element(run[0], place) for place, number in enumerate(run)}
    while True:
        order = _scheduled(nodes, used, arrays)
        if order is not None:
            return order, homes
        last = max(arrays)  # loops that wait for one another: take one apart
        for number in arrays.pop(last).nodes:
            del homes[number]
        for first in [first for first, array in arrays.items() if not _in_step(nodes, array.nodes, homes)]:
            for number in arrays.pop(first).nodes:
                del homes[number]


def _runs(members: dict[int, int]) -> list[list[int]]:
    """Return the nodes of a class in unbroken rows of their places."""
    runs: list[list[int]] = []
    before = None
    for place in sorted(members):
        if before is None or place != before + 1:
            runs.append([])
        runs[-1].append(members[place])
        before = place
    return runs


def _in_step(nodes: Sequence[Node], run: Sequence[int], homes: dict[int, Element]) -> bool:
    """Whether the operands of successive nodes are successive elements of an array, or the same number."""
    first = nodes[run[0]].operands
    for side, operand in enumerate(first):
        home = homes.get(operand)
        others = [nodes[number].operands[side] for number in run]
        if all(other == operand for other in others):
            continue
        if home is None or any(
            homes.get(other) != Element(home.array, home.place + step) for step, other in enumerate(others)
        ):
            return False
    return True


def _scheduled(nodes: Sequence[Node], used: Sequence[int], arrays: dict[int, Array]) -> list[int | Array] | None:
    """Return scalars, products and arrays in an order of evaluation; None where arrays wait for one another."""
    unit = {number: array.first for array in arrays.values() for number in array.nodes}
    computed = [number for number in used if nodes[number].op not in _MEMORY and nodes[number].op != "element"]
    waits: dict[int, set[int]] = {}
    for number in computed:
        mine = unit.get(number, number)
        needs = waits.setdefault(mine, set())
        for operand in nodes[number].operands:
            source = nodes[operand].operands[0] if nodes[operand].op == "element" else operand
            if nodes[source].op not in _MEMORY:
                needs.add(unit.get(source, source))
    followers: dict[int, list[int]] = {}
    for mine, needs in waits.items():
        for need in needs:
            followers.setdefault(need, []).append(mine)
    left = {mine: len(needs) for mine, needs in waits.items()}
    ready = sorted(mine for mine, count in left.items() if count == 0)
    order: list[int | Array] = []
    while ready:
        mine = heappop(ready)
        order.append(arrays.get(mine, mine))
        for follower in followers.get(mine, ()):
            left[follower] -= 1
            if left[follower] == 0:
                heappush(ready, follower)
    return order if len(order) == len(waits) else None
