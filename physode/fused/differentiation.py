"""Derivatives of programs as graphs: from results to inputs, from inputs to results, and the Jacobian.

Derivatives lie in the same graph as what they are derivatives of and share its nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from physode.fused.graph import Graph, Matrix, Node, Program
from physode.fused.scalars import Scalar
from physode.fused.slopes import slopes

__all__ = ["Jacobian", "Outer", "Pullback", "Pushforward", "Slots", "jacobian", "pullback", "pushforward"]

Slots: TypeAlias = frozenset[int] | Literal["all"]
"""Which of a program's shared numbers, or of each sample's own."""

_UNROLLED = 128  # multiplications up to which a column of a derivative is written out


class Outer(NamedTuple):
    """A matrix's share of a gradient: ``rows[i] * columns[k]`` is added to that of its element ``(i, k)``."""

    matrix: Matrix
    rows: tuple[int, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Pullback:
    """Gradients of ``sum_d cotangent[d] * dy/dt[d]``; numbers are those of ``nodes``.

    Attributes
    ----------
    nodes
        In an order of evaluation.
    outputs
        dy/dt itself.
    state
        By each component of the state.
    time
        By the time; None where it was not asked for.
    shared, sample
        By those of the shared numbers, and of each sample's own, that were asked for and have an influence: pairs of
        the number's place and the gradient.
    outer
        Gradients by whole matrices, which are not in ``shared``.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    state: tuple[int, ...]
    time: int | None
    shared: tuple[tuple[int, int], ...]
    sample: tuple[tuple[int, int], ...]
    outer: tuple[Outer, ...]


@dataclass(frozen=True)
class Pushforward:
    """Derivatives of dy/dt in a direction; numbers are those of ``nodes``.

    Attributes
    ----------
    nodes
        In an order of evaluation.
    outputs
        dy/dt itself.
    tangents
        Its derivative.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    tangents: tuple[int, ...]


@dataclass(frozen=True)
class Jacobian:
    """The derivatives of dy/dt by the state, and by the time, where they are not always 0.

    Attributes
    ----------
    nodes
        In an order of evaluation.
    outputs
        dy/dt itself.
    entries
        Of each entry its row, its column and its node, row by row.
    time
        Components of dy/dt, and the nodes of their derivatives by the time.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    entries: tuple[tuple[int, int, int], ...]
    time: tuple[tuple[int, int], ...]


def pullback(
    program: Program, *, time: bool = True, shared: Slots = "all", sample: Slots = "all", state: int | None = None
) -> Pullback:
    """Return the gradients of a program's outputs times the leaves ``cotangent``.

    Parameters
    ----------
    program
        The program.
    time
        Whether the gradient by the time is asked for.
    shared, sample
        By which numbers gradients are asked for.
    state
        The number of components of the state, where the outputs are not its derivative; None: as many.
    """
    graph = Graph.of(program.nodes)
    active = _active(program, time=time, shared=shared, sample=sample)
    terms: dict[int, list[int]] = {}
    elements: dict[int, dict[int, int]] = {}
    outer: list[Outer] = []
    for place, output in enumerate(program.outputs):
        if output in active:
            terms.setdefault(output, []).append(graph.leaf("cotangent", place))
    gradients: dict[int, int] = {}
    for node in reversed(range(len(program.nodes))):
        entry = program.nodes[node]
        if entry.op == "matvec" and node in elements:
            if _touches(entry.matrix, shared):
                outer.append(_outer(graph, entry, elements[node]))
            for operand, term in _by_vector(graph, entry, elements[node], active):
                terms.setdefault(operand, []).append(term)
        if node not in terms:
            continue
        gradient = gradients[node] = graph.total(terms[node])
        if graph.number(gradient) == 0.0:
            continue
        if entry.op == "element":
            elements.setdefault(entry.operands[0], {})[entry.place] = gradient
        g = Scalar(graph, gradient)
        for slope in slopes(graph, node):
            if slope.operand in active:
                term = slope.times(g).node
                if graph.number(term) != 0.0:
                    terms.setdefault(slope.operand, []).append(term)
    dimension = program.dimension if state is None else state
    return _collected(graph, program, gradients, outer, dimension, time=time)


def _outer(graph: Graph, entry: Node, rows: dict[int, int]) -> Outer:
    assert entry.matrix is not None
    zero = graph.constant(0.0)
    return Outer(entry.matrix, tuple(rows.get(row, zero) for row in range(entry.matrix.rows)), entry.operands)


def _by_vector(graph: Graph, entry: Node, rows: dict[int, int], active: set[int]) -> Iterable[tuple[int, int]]:
    """Return the gradients by the vector of a product."""
    assert entry.matrix is not None
    if not any(operand in active for operand in entry.operands):
        return []
    zero = graph.constant(0.0)
    vector = [rows.get(row, zero) for row in range(entry.matrix.rows)]
    terms = _product(graph, entry.matrix.T, vector)
    return [(operand, term) for operand, term in zip(entry.operands, terms, strict=True) if operand in active]


def _product(graph: Graph, matrix: Matrix, vector: Sequence[int]) -> list[int]:
    """Return a product with a vector that may be mostly 0: written out where that is little."""
    there = [k for k, node in enumerate(vector) if graph.number(node) != 0.0]
    if len(there) * matrix.rows > _UNROLLED and len(there) > 1:
        return graph.matvec(matrix, vector)

    def element(i: int, k: int) -> int:
        weight = graph.leaf("shared", matrix.place(i, k))
        return graph.apply("mul", weight, vector[k])

    return [graph.total([element(i, k) for k in there]) for i in range(matrix.rows)]


def _touches(matrix: Matrix | None, shared: Slots) -> bool:
    """Whether elements of a matrix are among some shared numbers."""
    if matrix is None or shared == "all" or not shared:
        return matrix is not None and bool(shared)
    return any(matrix.place(i, k) in shared for i in range(matrix.rows) for k in range(matrix.columns))


def _active(program: Program, *, time: bool, shared: Slots, sample: Slots) -> set[int]:
    """Return the nodes that depend on what is differentiated by."""
    active: set[int] = set()
    for place, node in enumerate(program.nodes):
        if (
            node.op == "state"
            or (node.op == "time" and time)
            or (node.op == "shared" and (shared == "all" or node.place in shared))
            or (node.op == "sample" and (sample == "all" or node.place in sample))
            or _touches(node.matrix, shared)
            or any(operand in active for operand in node.operands)
        ):
            active.add(place)
    return active


def _collected(
    graph: Graph, program: Program, gradients: dict[int, int], outer: Sequence[Outer], dimension: int, *, time: bool
) -> Pullback:
    by_leaf = {(program.nodes[x].op, program.nodes[x].place): node for x, node in gradients.items()}
    zero = graph.constant(0.0)
    state = [by_leaf.get(("state", place), zero) for place in range(dimension)]
    by_time = by_leaf.get(("time", 0), zero) if time else None
    shared = sorted((place, node) for (op, place), node in by_leaf.items() if op == "shared")
    sample = sorted((place, node) for (op, place), node in by_leaf.items() if op == "sample")
    wanted = [*program.outputs, *state, *([] if by_time is None else [by_time])]
    wanted += [node for _, node in (*shared, *sample)]
    wanted += [node for part in outer for node in (*part.rows, *part.columns)]
    nodes, place = _pruned(graph, wanted)
    return Pullback(
        nodes,
        tuple(place[x] for x in program.outputs),
        tuple(place[x] for x in state),
        None if by_time is None else place[by_time],
        tuple((slot, place[x]) for slot, x in shared),
        tuple((slot, place[x]) for slot, x in sample),
        tuple(
            Outer(part.matrix, tuple(place[x] for x in part.rows), tuple(place[x] for x in part.columns))
            for part in outer
        ),
    )


def _pruned(graph: Graph, wanted: Sequence[int]) -> tuple[tuple[Node, ...], dict[int, int]]:
    """Return what some nodes are made of, and the new numbers."""
    distinct = list(dict.fromkeys(wanted))
    program = graph.program(distinct)
    return program.nodes, dict(zip(distinct, program.outputs, strict=True))


def pushforward(
    program: Program, *, shared: Sequence[int] = (), sample: Sequence[int] = (), time: bool = False
) -> Pushforward:
    """Return the derivatives of a program's outputs in the direction of the leaves ``tangent``.

    These are, one after another, the tangents of the state's components, of the ``shared`` numbers named, of the
    ``sample``'s, and of the time.
    """
    dimension = program.dimension
    places: dict[tuple[str, int], int] = {("state", place): place for place in range(dimension)}
    names = [("shared", slot) for slot in shared] + [("sample", slot) for slot in sample] + [("time", 0)] * time
    places.update({name: dimension + i for i, name in enumerate(names)})
    graph = Graph.of(program.nodes)

    def of_leaf(op: str, place: int) -> dict[int, int]:
        direction = places.get((op, place))
        return {} if direction is None else {0: graph.leaf("tangent", direction)}

    tangents = _pushed(graph, program, of_leaf, frozenset(shared))
    zero = graph.constant(0.0)
    found = [tangents.get(output, {}).get(0, zero) for output in program.outputs]
    nodes, place = _pruned(graph, [*program.outputs, *found])
    return Pushforward(nodes, tuple(place[x] for x in program.outputs), tuple(place[x] for x in found))


def jacobian(program: Program) -> Jacobian:
    """Return the derivatives of a program's outputs by the state and by the time."""
    graph = Graph.of(program.nodes)
    one = graph.constant(1.0)
    at_time = program.dimension

    def of_leaf(op: str, place: int) -> dict[int, int]:
        return {place: one} if op == "state" else {at_time: one} if op == "time" else {}

    columns = _pushed(graph, program, of_leaf, frozenset())
    entries = [
        (row, column, node)
        for row, output in enumerate(program.outputs)
        for column, node in sorted(columns.get(output, {}).items())
        if graph.number(node) != 0.0
    ]
    nodes, place = _pruned(graph, [*program.outputs, *(node for *_, node in entries)])
    return Jacobian(
        nodes,
        tuple(place[x] for x in program.outputs),
        tuple((row, column, place[node]) for row, column, node in entries if column != at_time),
        tuple((row, place[node]) for row, column, node in entries if column == at_time),
    )


Directions: TypeAlias = dict[int, int]
"""Derivatives of one node by several directions, those that are 0 left out."""


def _pushed(
    graph: Graph, program: Program, of_leaf: Callable[[str, int], Directions], shared: frozenset[int]
) -> dict[int, Directions]:
    """Carry derivatives from the leaves to all nodes."""
    tangents: dict[int, Directions] = {}
    products: dict[int, list[Directions]] = {}
    for node, entry in enumerate(program.nodes):
        if entry.op in ("state", "time", "shared", "sample"):
            tangents[node] = of_leaf(entry.op, entry.place)
        elif entry.op == "matvec":
            products[node] = _pushed_product(graph, entry, of_leaf, shared, tangents)
        elif entry.op == "element":
            tangents[node] = products[entry.operands[0]][entry.place]
        else:
            terms: dict[int, list[int]] = {}
            for slope in slopes(graph, node):
                for way, tangent in tangents.get(slope.operand, {}).items():
                    terms.setdefault(way, []).append(slope.times(Scalar(graph, tangent)).node)
            tangents[node] = _totals(graph, terms)
    return tangents


def _pushed_product(
    graph: Graph,
    entry: Node,
    of_leaf: Callable[[str, int], Directions],
    shared: frozenset[int],
    tangents: dict[int, Directions],
) -> list[Directions]:
    """Return the derivatives of each component of a product: by the vector, and by elements of the matrix."""
    matrix = entry.matrix
    assert matrix is not None
    zero = graph.constant(0.0)
    rows: list[dict[int, list[int]]] = [{} for _ in range(matrix.rows)]
    for way in sorted({way for operand in entry.operands for way in tangents.get(operand, {})}):
        vector = [tangents.get(operand, {}).get(way, zero) for operand in entry.operands]
        for row, term in zip(rows, _product(graph, matrix, vector), strict=True):
            row.setdefault(way, []).append(term)
    if shared:
        for i, row in enumerate(rows):
            for k, operand in enumerate(entry.operands):
                for way, tangent in of_leaf("shared", matrix.place(i, k)).items():
                    row.setdefault(way, []).append(graph.apply("mul", tangent, operand))
    return [_totals(graph, row) for row in rows]


def _totals(graph: Graph, terms: dict[int, list[int]]) -> Directions:
    sums = {way: graph.total(parts) for way, parts in terms.items()}
    return {way: node for way, node in sums.items() if graph.number(node) != 0.0}
